package web

import (
	"context"
	"errors"
	"time"

	"github.com/systempromptio/scheduler"
)

// source opens what the pages read from when it is first needed: a replica answers
// while it waits for its database.
type source struct {
	connectFunc func(ctx context.Context) (*scheduler.Client, error)
	riverFunc   func(ctx context.Context) (*River, error)
	client      *shared[*scheduler.Client]
	openRiver   *shared[*River]
}

func newSource(c Config) *source {
	return &source{connectFunc: c.ConnectFunc, riverFunc: c.RiverFunc, client: newShared[*scheduler.Client](), openRiver: newShared[*River]()}
}

// retryInterval is how long a connection that failed is not tried again: whoever asks
// gets the same error.
const retryInterval = 500 * time.Millisecond

var errClosed = errors.New("the server stops")

// get gives the client.
func (s *source) get(ctx context.Context) (*scheduler.Client, error) {
	return s.client.get(ctx, func(ctx context.Context) (*scheduler.Client, time.Duration, error) { return opened(ctx, s.connectFunc) })
}

// river gives River UI.
func (s *source) river(ctx context.Context) (*River, error) {
	return s.openRiver.get(ctx, func(ctx context.Context) (*River, time.Duration, error) { return opened(ctx, s.riverFunc) })
}

func opened[T any](ctx context.Context, open func(context.Context) (T, error)) (T, time.Duration, error) {
	value, err := open(ctx)
	if err != nil {
		return value, retryInterval, err
	}
	return value, far, nil
}

// close closes what is open. What is asked for afterwards is refused.
func (s *source) close() {
	if client, err := s.client.end(errClosed); err == nil && client != nil {
		client.Close()
	}
	if river, err := s.openRiver.end(errClosed); err == nil && river != nil {
		river.Close()
	}
}
