package connection

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Quiet is how long nothing must have been lost before an outage is over. A
// connection that is there and lost again ten times a second is one outage.
const Quiet = 3 * time.Second

// Outage says in the log that something was lost, once, and that it is back, once.
// It is safe for concurrent use.
type Outage struct {
	// Logger is required.
	Logger *slog.Logger
	// What was lost, with its consequence, and what is back.
	LostText, BackText string

	mu    sync.Mutex
	began time.Time
	last  time.Time
	// well is when it was there for the first time since it was last lost.
	well  time.Time
	times int
}

// Lost tells of a loss, or of another try that failed. It returns true for the first.
func (o *Outage) Lost(ctx context.Context, err error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last, o.well = time.Now(), time.Time{}
	o.times++
	if o.times == 1 {
		o.began = o.last
		o.Logger.WarnContext(ctx, o.LostText, slog.Any("error", err)) //nolint:sloglint // one of two
	}
	return o.times == 1
}

// Well tells that it is there. It returns true when an outage is over by that.
func (o *Outage) Well(ctx context.Context) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.times == 0 {
		return false
	}
	if o.well.IsZero() {
		o.well = time.Now()
	}
	if time.Since(o.last) < Quiet {
		return false
	}
	o.Logger.InfoContext(ctx, o.BackText, //nolint:sloglint // one of two
		slog.Duration("outage", o.well.Sub(o.began).Round(time.Millisecond)), slog.Int("errors", o.times))
	o.times = 0
	return true
}

// Ongoing says whether it is lost, or was a moment ago.
func (o *Outage) Ongoing() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.times > 0
}
