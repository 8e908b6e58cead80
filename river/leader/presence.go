package leader

import (
	"context"
	"errors"
	"sync"
)

// ErrPresenceLost is the cause with which [Presence.Context] ends: the replica
// cannot prove any more that it is alive, and what it runs will be handed to
// others.
var ErrPresenceLost = errors.New("the replica lost its presence lock")

// Presence says whether the replica holds its presence lock. It is safe for
// concurrent use.
type Presence struct {
	mu     sync.Mutex
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func newPresence() *Presence {
	p := &Presence{}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	p.cancel(ErrPresenceLost)
	return p
}

// Context ends, with the cause [ErrPresenceLost], when the presence lock is lost.
// While it is not held, the context has ended already. Ask for it anew for every
// piece of work.
func (p *Presence) Context() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ctx
}

func (p *Presence) gained() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		p.ctx, p.cancel = context.WithCancelCause(context.Background())
	}
}

func (p *Presence) lost() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel(ErrPresenceLost)
}
