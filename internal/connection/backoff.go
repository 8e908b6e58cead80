package connection

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	backoffMin = 50 * time.Millisecond
	backoffMax = time.Second
)

// Backoff is the wait between two tries to connect: longer after each, up to a
// second, and never twice the same, so that a fleet does not come back all at once.
// The zero value is ready.
type Backoff struct{ next time.Duration }

// Reset makes the next wait a short one.
func (b *Backoff) Reset() { b.next = 0 }

// Wait waits, or returns when ctx ends.
func (b *Backoff) Wait(ctx context.Context) {
	b.next = min(max(2*b.next, backoffMin), backoffMax)
	timer := time.NewTimer(b.next/2 + rand.N(b.next/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
