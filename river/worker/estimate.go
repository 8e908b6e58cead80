package worker

import (
	"math"
	"sync"
	"time"

	"github.com/systempromptio/scheduler/jobs"
)

// estimateWindow is over about what time the rate of a run is averaged: what is
// older by so much counts e times less.
const estimateWindow = 10 * time.Second

// estimate says how fast an attempt's batches go, and so when the run will be done.
type estimate struct {
	mu   sync.Mutex
	last time.Time
	// rows and seconds are weighted sums over the batches; their quotient is the rate.
	rows, seconds float64
	// total is that of the last batch.
	total int64
}

// begin starts the clock before the first batch. What was prepared for it does not
// count: it may take long, and says nothing of the batches.
func (e *estimate) begin(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.last.IsZero() {
		e.last = now
	}
}

// add counts a batch that is done now, and fills in what follows of it. The batch
// has lasted since the one before, with all that was between the two.
func (e *estimate) add(now time.Time, rows int64, progress *jobs.Progress) {
	e.mu.Lock()
	defer e.mu.Unlock()
	took := max(now.Sub(e.last), time.Microsecond).Seconds()
	window := estimateWindow.Seconds()
	kept := math.Exp(-took / window)
	weight := window * (1 - kept)
	e.rows = e.rows*kept + float64(rows)/took*weight
	e.seconds = e.seconds*kept + weight
	e.last, e.total = now, progress.Total
	e.fill(progress)
}

// complete fills in what a report of the job leaves open. A total of its own stands
// for itself: it may count something else.
func (e *estimate) complete(progress *jobs.Progress) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if progress.Total == 0 && progress.Rate == 0 {
		progress.Total = e.total
		e.fill(progress)
	}
}

func (e *estimate) fill(progress *jobs.Progress) {
	if e.seconds <= 0 || e.rows <= 0 {
		return
	}
	progress.Rate = e.rows / e.seconds
	progress.SecondsLeft = max(float64(progress.Total-progress.Done), 0) / progress.Rate
}
