package retention

import "time"

const (
	batchRowsFirst = 100
	batchRowsMin   = 8
)

// sizer adapts the number of rows of a batch to the time that the last one took.
type sizer struct {
	target time.Duration
	max    int
	rows   int
}

func newSizer(target time.Duration, rowsMax int) sizer {
	return sizer{target: target, max: rowsMax, rows: min(batchRowsFirst, rowsMax)}
}

// size is the number of rows of the next batch.
func (s *sizer) size() int { return s.rows }

// took tells of a batch of so many rows. A batch that was not full says little: it
// is not taken as a reason to grow.
func (s *sizer) took(rows int, d time.Duration) {
	factor := 1.5
	if d > 0 {
		factor = min(max(float64(s.target)/float64(d), 0.2), 1.5)
	}
	if rows < s.rows && factor > 1 {
		return
	}
	s.rows = min(max(int(float64(s.rows)*factor), batchRowsMin), s.max)
}

// blocked tells of a batch of so many rows that had to give way to a lock that
// somebody holds: smaller batches find the row, down to a batch of one.
func (s *sizer) blocked(rows int) { s.rows = max(rows/8, 1) }
