package metrics

import (
	"sync"
	"time"
)

// Working is an attempt under way. Its methods may be called on nil.
type Working struct {
	m        *Metrics
	job      string
	deadline time.Time

	mu sync.Mutex
	// started is when the run began, by this process's monotonic clock.
	started time.Time
}

// Work tells that an attempt begins, which ends by itself after a timeout. Call End
// on what it returns.
func (m *Metrics) Work(job string, timeout time.Duration) *Working {
	if m == nil {
		return nil
	}
	now := time.Now()
	w := &Working{m: m, job: m.job(job), started: now, deadline: now.Add(timeout)}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.working[w] = true
	return w
}

// Started tells for how long the run has been going on, with earlier attempts and the
// time in between, and how long after its tick the first of them began: nil if this
// is another one, or the tick lies in the past on purpose.
func (w *Working) Started(trigger string, age time.Duration, lag *time.Duration) {
	if w == nil {
		return
	}
	w.mu.Lock()
	w.started = time.Now().Add(-max(age, 0))
	w.mu.Unlock()
	if lag != nil {
		w.m.startLag.WithLabelValues(one(trigger, triggers())).Observe(max(lag.Seconds(), 0))
	}
}

func (w *Working) startedAt() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.started
}

// Rows counts rows that were changed, once what did so has committed.
func (w *Working) Rows(n int64) {
	if w != nil && n > 0 {
		w.m.rows.WithLabelValues(w.job).Add(float64(n))
	}
}

// Batch tells for how long the transaction of a batch has held its locks.
func (w *Working) Batch(held time.Duration) {
	if w != nil {
		w.m.batchLock.WithLabelValues(w.job).Observe(held.Seconds())
	}
}

// Stuck tells that the job does not return, though its attempt is over, or that it has
// after all.
func (w *Working) Stuck(is bool) {
	if w == nil {
		return
	}
	if is {
		w.m.stuck.WithLabelValues(w.job).Inc()
	} else {
		w.m.stuck.WithLabelValues(w.job).Dec()
	}
}

// End tells how the attempt has ended. An outcome that is a status ends the run.
func (w *Working) End(outcome string) {
	if w == nil {
		return
	}
	w.m.mu.Lock()
	delete(w.m.working, w)
	w.m.mu.Unlock()
	w.m.attempts.WithLabelValues(w.job, one(outcome, outcomes())).Inc()
	if one(outcome, statuses()) == Other {
		return
	}
	w.m.runs.WithLabelValues(w.job, outcome).Inc()
	w.m.duration.WithLabelValues(w.job, outcome).Observe(time.Since(w.startedAt()).Seconds())
	if outcome == StatusSuccess {
		w.m.lastSuccess.WithLabelValues(w.job).SetToCurrentTime()
	}
}
