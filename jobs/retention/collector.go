package retention

import (
	"slices"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/systempromptio/scheduler/sql"
)

const (
	// segmentPages is the number of pages of a segment, within which the waves go. They
	// are in memory when the next wave comes, and the next one begins soon.
	segmentPages = 2048
	// waveRows is the fewest rows of a wave: to let fewer stay on their pages saves less
	// than the transaction of their own costs.
	waveRows = 32
	// chunkRows is the most rows of a list that is kept.
	chunkRows = 1000
	// rangePages is the number of pages of a range that is kept, and rangeDensity the
	// rows a page above which it is not kept as a list.
	rangePages   = 32
	rangeDensity = 8
	// storeChunks is how many chunks are written at a time.
	storeChunks = 64
	// metMax bounds how many transactions above the horizon a pass takes note of. What
	// others wrote waits for the next run.
	metMax = 1000
)

// collector cuts the candidates of a pass, which come in the order of the table, into
// chunks. It holds a segment of them at most.
type collector struct {
	way   way
	store func(chunks []sql.Chunk) error

	total int64
	pages int64
	waves int
	met   []string

	// rows are those of the segment, or range, that is being read, on so many pages; last
	// is the last page, with so many rows.
	rows     []pgtype.TID
	segment  int
	last     int64
	lastRows int
	// list are rows that are to become a chunk.
	list   []pgtype.TID
	chunks []sql.Chunk
}

// reset begins anew. What was stored of the pass is overwritten or left to be cleared.
func (c *collector) reset() { *c = collector{way: c.way, store: c.store, last: -1} }

// add takes the next candidate. writer, if not nil, is a transaction above the horizon.
func (c *collector) add(ctid pgtype.TID, writer *string) error {
	if writer != nil && !slices.Contains(c.met, *writer) {
		if len(c.met) == metMax {
			return nil
		}
		c.met = append(c.met, *writer)
	}
	block := int64(ctid.BlockNumber)
	if block != c.last {
		isFull := c.segment == segmentPages
		if c.way != wayWaves {
			isFull = len(c.rows) > 0 && block/rangePages != c.last/rangePages
		}
		if isFull {
			if err := c.cut(); err != nil {
				return err
			}
		}
		c.pages++
		c.segment++
		c.last, c.lastRows = block, 0
	}
	c.lastRows++
	c.waves = max(c.waves, c.lastRows)
	c.rows = append(c.rows, ctid)
	return nil
}

// finish stores what is left.
func (c *collector) finish() error {
	if err := c.cut(); err != nil {
		return err
	}
	if err := c.flush(0); err != nil {
		return err
	}
	return c.write()
}

// cut makes chunks of the rows of a segment, or range.
func (c *collector) cut() error {
	rows := c.rows
	c.rows, c.segment = c.rows[:0], 0
	switch {
	case len(rows) == 0:
		return nil
	case c.way == wayWaves:
		return c.cutWaves(rows)
	case c.way == wayRanges:
		first, last := int64(rows[0].BlockNumber), int64(rows[len(rows)-1].BlockNumber)
		if int64(len(rows)) >= (last-first+1)*rangeDensity {
			if err := c.flush(0); err != nil {
				return err
			}
			return c.emit(sql.Chunk{Rows: int64(len(rows)), FirstBlock: first, LastBlock: last})
		}
	}
	for _, ctid := range rows {
		c.list = append(c.list, ctid)
		if len(c.list) == chunkRows {
			if err := c.flush(0); err != nil {
				return err
			}
		}
	}
	return nil
}

// cutWaves takes the first row of every page, then the second, and so on. Each wave has no
// more rows than the one before; those that have too few are none, but one list.
func (c *collector) cutWaves(rows []pgtype.TID) error {
	waves := make([][]pgtype.TID, 0, c.waves)
	n := 0
	for i, ctid := range rows {
		if i > 0 && rows[i-1].BlockNumber != ctid.BlockNumber {
			n = 0
		}
		if n == len(waves) {
			waves = append(waves, nil)
		}
		waves[n] = append(waves[n], ctid)
		n++
	}
	for n, wave := range waves {
		if len(wave) < waveRows {
			return c.flushAll(slices.Concat(waves[n:]...), 0)
		}
		if err := c.flushAll(wave, n+1); err != nil {
			return err
		}
	}
	return nil
}

// flushAll makes chunks of rows.
func (c *collector) flushAll(rows []pgtype.TID, wave int) error {
	for part := range slices.Chunk(rows, chunkRows) {
		c.list = append(c.list, part...)
		if err := c.flush(wave); err != nil {
			return err
		}
	}
	return nil
}

// flush makes a chunk of the list.
func (c *collector) flush(wave int) error {
	if len(c.list) == 0 {
		return nil
	}
	chunk := sql.Chunk{Rows: int64(len(c.list)), Wave: wave, CTIDs: c.list}
	c.list = nil
	return c.emit(chunk)
}

func (c *collector) emit(chunk sql.Chunk) error {
	chunk.N = c.total + 1
	c.total += chunk.Rows
	c.chunks = append(c.chunks, chunk)
	if len(c.chunks) == storeChunks {
		return c.write()
	}
	return nil
}

func (c *collector) write() error {
	if len(c.chunks) == 0 {
		return nil
	}
	chunks := c.chunks
	c.chunks = nil
	return c.store(chunks)
}
