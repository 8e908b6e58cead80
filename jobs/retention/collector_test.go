package retention

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/sql"
)

func tid(block uint32, offset uint16) pgtype.TID {
	return pgtype.TID{BlockNumber: block, OffsetNumber: offset, Valid: true}
}

// collected is what a collector makes of rows, of which counts[i] are on page i.
func collected(t *testing.T, way way, counts []int) (*collector, []sql.Chunk) {
	t.Helper()
	var chunks []sql.Chunk
	c := &collector{way: way, store: func(some []sql.Chunk) error {
		chunks = append(chunks, some...)
		return nil
	}}
	c.reset()
	total := 0
	for block, n := range counts {
		total += n
		for offset := range n {
			require.NoError(t, c.add(tid(uint32(block), uint16(offset+1)), nil))
		}
	}
	require.NoError(t, c.finish())
	require.Equal(t, int64(total), c.total)
	next := int64(1)
	for _, chunk := range chunks {
		require.Equal(t, next, chunk.N, "numbered without a gap")
		require.LessOrEqual(t, len(chunk.CTIDs), chunkRows)
		next += chunk.Rows
	}
	require.Equal(t, int64(total)+1, next)
	return c, chunks
}

func repeat(n, count int) []int { return slices.Repeat([]int{n}, count) }

func TestWavesTakeOneRowOfEveryPage(t *testing.T) {
	t.Parallel()
	c, chunks := collected(t, wayWaves, slices.Concat(repeat(3, segmentPages), []int{0}, repeat(2, waveRows)))
	require.Equal(t, 3, c.waves)
	require.Equal(t, int64(segmentPages+waveRows), c.pages)
	seen := map[pgtype.TID]bool{}
	for _, chunk := range chunks {
		pages := map[uint32]bool{}
		for _, ctid := range chunk.CTIDs {
			require.False(t, pages[ctid.BlockNumber], "two rows of a page in one chunk")
			require.False(t, seen[ctid])
			pages[ctid.BlockNumber], seen[ctid] = true, true
			require.Equal(t, chunk.Wave, int(ctid.OffsetNumber))
		}
	}
	require.Len(t, seen, 3*segmentPages+2*waveRows)
	// The first segment is done when the second begins.
	require.Equal(t, 1, chunks[0].Wave)
	require.Equal(t, []int{1, 2}, []int{chunks[len(chunks)-2].Wave, chunks[len(chunks)-1].Wave})
}

// A transaction of its own is not worth while for a few rows.
func TestWavesOfFewRowsAreOneList(t *testing.T) {
	t.Parallel()
	_, chunks := collected(t, wayWaves, repeat(100, waveRows-1))
	require.Len(t, chunks, (100*(waveRows-1)+chunkRows-1)/chunkRows)
	require.Zero(t, chunks[0].Wave)
	// The rows of many pages go in waves, what a few pages have more of does not.
	_, chunks = collected(t, wayWaves, slices.Concat(repeat(2, waveRows), []int{50}))
	require.Len(t, chunks, 3)
	require.Equal(t, []int{1, 2, 0}, []int{chunks[0].Wave, chunks[1].Wave, chunks[2].Wave})
	require.Len(t, chunks[0].CTIDs, waveRows+1)
	require.Len(t, chunks[2].CTIDs, 48)
}

func TestRangesWhereMostRowsGo(t *testing.T) {
	t.Parallel()
	// Dense, with a gap; then too few rows a page.
	_, chunks := collected(t, wayRanges, slices.Concat(repeat(rangeDensity, 2*rangePages), repeat(0, 10*rangePages), repeat(1, 2*rangePages)))
	require.Len(t, chunks, 3)
	require.Equal(t, sql.Chunk{N: 1, Rows: rangeDensity * rangePages, FirstBlock: 0, LastBlock: rangePages - 1}, chunks[0])
	require.Equal(t, int64(2*rangePages-1), chunks[1].LastBlock)
	require.False(t, chunks[2].IsRange())
	require.Len(t, chunks[2].CTIDs, 2*rangePages)
}

func TestRowsInOrder(t *testing.T) {
	t.Parallel()
	_, chunks := collected(t, wayRows, repeat(20, 120))
	require.Len(t, chunks, 3)
	var all []pgtype.TID
	for _, chunk := range chunks {
		all = append(all, chunk.CTIDs...)
	}
	require.True(t, slices.IsSortedFunc(all, func(a, b pgtype.TID) int { return int(a.BlockNumber) - int(b.BlockNumber) }))
}

// What transactions beyond the limit wrote is left out.
func TestCollectorBoundsWhatItHasMet(t *testing.T) {
	t.Parallel()
	c := &collector{way: wayRows, store: func([]sql.Chunk) error { return nil }}
	c.reset()
	for i := range metMax + 5 {
		writer := string(rune('a'+i%26)) + string(rune(0x100+i))
		require.NoError(t, c.add(tid(0, uint16(i+1)), &writer))
		require.NoError(t, c.add(tid(0, uint16(i+1)), &writer))
	}
	require.NoError(t, c.finish())
	require.Len(t, c.met, metMax)
	require.Equal(t, int64(2*metMax), c.total)
}

// Every candidate is in one batch, whatever the sizes.
func TestCutLosesNothing(t *testing.T) {
	t.Parallel()
	for _, way := range []way{wayRows, wayWaves, wayRanges} {
		for _, size := range []int{1, 7, 100, 1500, 1_000_000} {
			_, chunks := collected(t, way, slices.Concat(repeat(12, 200), repeat(0, 50), repeat(1, 100), repeat(30, 70)))
			total := chunks[len(chunks)-1].N + chunks[len(chunks)-1].Rows - 1
			rows := map[pgtype.TID]bool{}
			blocks := map[int64]bool{}
			next, block, batches := int64(1), int64(0), 0
			for left := chunks; len(left) > 0; batches++ {
				p := cut(left, next, block, size)
				require.Positive(t, p.rows)
				require.LessOrEqual(t, batches, 20_000, "it ends")
				pages := map[uint32]bool{}
				for _, ctid := range p.ctids {
					require.False(t, rows[ctid])
					require.False(t, way == wayWaves && pages[ctid.BlockNumber], "two rows of a page in one batch")
					rows[ctid], pages[ctid.BlockNumber] = true, true
				}
				for b := p.first; b < p.after; b++ {
					require.False(t, blocks[b])
					blocks[b] = true
				}
				require.LessOrEqual(t, len(p.ctids), size)
				next, block, left = p.next, p.block, left[p.chunks:]
			}
			require.Equal(t, total+1, next)
			inRanges := 0
			for _, chunk := range chunks {
				if chunk.IsRange() {
					inRanges += int(chunk.Rows)
					for b := chunk.FirstBlock; b <= chunk.LastBlock; b++ {
						require.True(t, blocks[b], "block %d, size %d", b, size)
					}
				}
			}
			require.Len(t, rows, int(total)-inRanges)
		}
	}
}
