package leader

import (
	"context"
	"errors"
	"sync"

	"github.com/systempromptio/scheduler/internal/metrics"
)

// ErrPresenceLost is the cause with which the context of [Presence.Held] ends:
// the replica cannot prove any more that it is alive, and what it runs will be
// handed to others.
var ErrPresenceLost = errors.New("the replica lost its presence lock")

// Presence says whether the replica holds its presence lock. It is safe for
// concurrent use.
type Presence struct {
	mu sync.Mutex
	// ctx is nil before the lock was held for the first time.
	ctx    context.Context //nolint:containedctx // it is what the type hands out
	cancel context.CancelCauseFunc
	// regained is closed when a lock that was lost is held again.
	regained chan struct{}
	metrics  *metrics.Metrics
}

func newPresence(m *metrics.Metrics) *Presence {
	return &Presence{regained: make(chan struct{}), metrics: m}
}

// Held waits until the lock is held and returns a context that ends, with the
// cause [ErrPresenceLost], when it is lost. It fails when ctx ends first.
func (p *Presence) Held(ctx context.Context) (context.Context, error) {
	for {
		p.mu.Lock()
		held, regained := p.ctx, p.regained
		p.mu.Unlock()
		if held != nil && held.Err() == nil {
			return held, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-regained:
		}
	}
}

// gained is told that the lock is held. What Held returns has ctx's values, not
// its end: runs outlive the participation in the election.
func (p *Presence) gained(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx == nil || p.ctx.Err() != nil {
		p.ctx, p.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
		close(p.regained)
		p.metrics.Present(true)
	}
}

func (p *Presence) lost() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx != nil && p.ctx.Err() == nil {
		p.cancel(ErrPresenceLost)
		p.regained = make(chan struct{})
		p.metrics.Present(false)
	}
}
