package retention

import (
	"math"
	"time"
)

const (
	// batchRowsFirst is the first size of a batch; batchRowsDear that where foreign keys or
	// triggers may do anything for each row.
	batchRowsFirst = 100
	batchRowsDear  = 8
	// wavesRowsMax is the most rows of a batch of waves: if one that was meant to be
	// cheap finds no room on the pages, it is felt for no longer than that takes.
	wavesRowsMax = 1000
	// batchRowsRange is the first size where rows are as cheap as they can be.
	batchRowsRange = 1000
)

// sizer adapts the number of rows of a batch to the time that the last one took.
type sizer struct {
	target time.Duration
	max    int
	rows   int
}

// sizers are two: rows that have to go to another page cost many times what rows cost
// that can stay, and one size for both is far off for one of them.
type sizers struct {
	dear, cheap sizer
	max         int
}

func newSizers(target time.Duration, rowsMax int) sizers {
	s := sizer{target: target, max: rowsMax, rows: min(batchRowsFirst, rowsMax)}
	return sizers{dear: s, cheap: s, max: rowsMax}
}

// of is the sizer for rows of a wave.
func (s *sizers) of(isCheap bool) *sizer {
	if isCheap {
		return &s.cheap
	}
	return &s.dear
}

// startAt begins anew, for other rows, with so many; most, if not 0, bounds them.
func (s *sizers) startAt(rows, most int) {
	for _, one := range []*sizer{&s.dear, &s.cheap} {
		one.max = s.max
		if most > 0 {
			one.max = min(s.max, most)
		}
		one.rows = min(one.max, rows)
	}
}

// shrink makes the next batches smaller.
func (s *sizers) shrink(factor float64) {
	s.dear.rows, s.cheap.rows = max(int(float64(s.dear.rows)*factor), 1), max(int(float64(s.cheap.rows)*factor), 1)
}

// size is the number of rows of the next batch.
func (s *sizer) size() int { return s.rows }

// took tells how long a batch took. One that was not full says little: it is not taken
// as a reason to grow.
func (s *sizer) took(isFull bool, d time.Duration) {
	factor := 1.5
	if d > 0 {
		factor = min(max(float64(s.target)/float64(d), 0.2), 1.5)
	}
	if !isFull && factor > 1 {
		return
	}
	s.rows = min(max(int(math.Ceil(float64(s.rows)*factor)), 1), s.max)
}

// undone tells of a batch of so many rows that could not be done: smaller batches find
// the row, down to a batch of one.
func (s *sizer) undone(rows int) { s.rows = max(rows/8, 1) }
