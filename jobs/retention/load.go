package retention

import (
	"context"
	"errors"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/systempromptio/scheduler/sql"
)

const (
	// loadChunks is how many chunks are read at a time.
	loadChunks = 16
	// goneMax is how often an attempt looks for candidates again that have gone.
	goneMax = 5
)

// piece is what one batch works: a list of rows, or a range of blocks.
type piece struct {
	// rows is how many candidates it has; 0: it is none.
	rows int64
	// wave is that of its first row; 0: of none.
	wave int
	// ctids are its rows; empty for a range.
	ctids []pgtype.TID
	// first is the first block of the range, after the one after the last.
	first, after int64
	// next and block are the cursor's after the batch.
	next, block int64
	// chunks is how many chunks are done with after it.
	chunks int
	// isFull: it could have had more rows, had it been meant to.
	isFull bool
	// isWhole: it is a partition, to be taken out of its table.
	isWhole bool
	// skipsLocked: rows that are locked, or have one below them that is, are left out.
	skipsLocked bool
}

// isCheap: rows that find room on their page, and touch no index.
func (p piece) isCheap() bool { return p.wave > 1 }

func (p piece) isRange() bool { return len(p.ctids) == 0 && !p.isWhole }

// isPage: it is a range that cannot be made smaller.
func (p piece) isPage() bool { return p.isRange() && p.after-p.first <= 1 }

// load takes the candidates of the next batch. It makes the pass again if its
// candidates have gone: their table is not logged, a crash of the server empties it.
// When the candidates of an update are done with and some were not found where they
// had been, one more pass looks where the application has moved them.
func (a *attempt) load(ctx context.Context) error {
	for {
		u := a.cursor.Units[0]
		if a.cursor.Next == 0 {
			a.cursor.Next = 1
		}
		if a.cursor.Next > u.Total {
			if !u.wantsAnotherPass(a.work.Set != "") {
				return nil
			}
			if err := a.again(ctx, u.Round+1); err != nil {
				return err
			}
			continue
		}
		size := int64(1)
		if len(a.chunks) > 0 {
			size = int64(a.sizers.of(a.chunks[0].Wave > 1).size())
		}
		if end := a.loadedEnd(); end < min(a.cursor.Next+size, u.Total+1) {
			err := a.inTx(ctx, func(tx pgx.Tx) (err error) {
				a.chunks, err = a.sql.NextCandidates(ctx, tx, a.run.ID, u.Pass, a.cursor.Next, loadChunks+size/rangePages)
				return err
			})
			if err != nil {
				return err
			}
		}
		if len(a.chunks) > 0 {
			a.piece = cut(a.chunks, a.cursor.Next, a.cursor.Block, a.sizers.of(a.chunks[0].Wave > 1).size())
			a.piece.skipsLocked = a.skipsLocked
			return nil
		}
		if a.gone++; a.gone == goneMax {
			return errors.New("the candidates have gone again and again while they were being read: is the table retention_candidates being emptied?")
		}
		a.run.Logger.InfoContext(ctx, "candidates are gone, looking for them again", slog.String("target", u.Target))
		if err := a.again(ctx, u.Round); err != nil {
			return err
		}
	}
}

// loadedEnd is the number of the first candidate that is not loaded.
func (a *attempt) loadedEnd() int64 {
	if len(a.chunks) == 0 {
		return a.cursor.Next
	}
	last := a.chunks[len(a.chunks)-1]
	return last.N + last.Rows
}

// cut takes the next batch, of about so many rows, from chunks of which the first
// holds candidate number next. It takes chunks of one kind, and of one wave: rows of one
// page do not change in the same batch then.
func cut(chunks []sql.Chunk, next, block int64, size int) piece {
	p := piece{wave: chunks[0].Wave, next: next}
	isRange := chunks[0].IsRange()
	for i, c := range chunks {
		want := int64(size) - p.rows
		left := c.N + c.Rows - p.next
		if want <= 0 {
			p.isFull = true
			break
		}
		if c.IsRange() != isRange || c.Wave != p.wave || c.N > p.next {
			break
		}
		if isRange {
			first := max(c.FirstBlock, block)
			if i == 0 {
				p.first = first
			} else if p.after != first {
				break
			}
			pages := c.LastBlock + 1 - first
			if take := max(pages*want/max(left, 1), 1); left > want && take < pages {
				p.isFull = true
				if i > 0 {
					break
				}
				rows := min(left*take/pages, left-1)
				p.rows, p.next, p.after, p.block = max(rows, 1), p.next+rows, first+take, first+take
				return p
			}
			p.after = c.LastBlock + 1
			block = 0
		} else {
			from := p.next - c.N
			take := min(left, want)
			p.ctids = append(p.ctids, c.CTIDs[from:from+take]...)
			if take < left {
				p.isFull = true
				p.rows, p.next = p.rows+take, p.next+take
				return p
			}
		}
		p.rows, p.next, p.chunks = p.rows+left, p.next+left, p.chunks+1
	}
	p.isFull = p.isFull || p.rows >= int64(size)
	return p
}
