package testdb

import (
	"context"
	"errors"
	"sync"
)

// ErrInterrupted is why nothing is started any more: the process is being ended, and
// everything that it has started is being removed.
var ErrInterrupted = errors.New("interrupted")

// gate is held for reading while something is made that has to be removed.
var gate struct {
	sync.RWMutex

	closed bool
}

var interrupted, interrupt = context.WithCancel(context.Background())

// Guard does something that leaves something behind, such as a container. When the
// process is interrupted, [Main] waits for it before it removes what there is, and
// ends its context. From then on Guard does nothing and returns [ErrInterrupted].
// It must not be called within itself.
func Guard(ctx context.Context, do func(ctx context.Context) error) error {
	gate.RLock()
	defer gate.RUnlock()
	if gate.closed {
		return ErrInterrupted
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(interrupted, cancel)()
	return do(ctx)
}

// closeGate returns when nothing more is being made.
func closeGate() {
	interrupt()
	gate.Lock()
	defer gate.Unlock()
	gate.closed = true
}
