package web

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/systempromptio/scheduler"
)

// source opens what the pages read from when it is first needed: a replica answers
// while it waits for its database.
type source struct {
	// client is for pages and the API. probe has a connection of its own, so that what
	// takes long on a page does not make the replica unready.
	client, probe *shared[*scheduler.Client]
	// answers is whether the database answers at all.
	answers   *shared[struct{}]
	openRiver *shared[*River]

	connectFunc func(ctx context.Context) (*scheduler.Client, error)
	riverFunc   func(ctx context.Context) (*River, error)
}

func newSource(c Config) *source {
	return &source{
		client: newShared[*scheduler.Client](), probe: newShared[*scheduler.Client](), answers: newShared[struct{}](), openRiver: newShared[*River](),
		connectFunc: c.ConnectFunc, riverFunc: c.RiverFunc,
	}
}

const (
	// probeTimeout is how long the database may take to answer the shortest question;
	// answersInterval is how old that may be.
	probeTimeout    = 2 * time.Second
	answersInterval = time.Second
)

var errClosed = errors.New("the server stops")

// get gives the client. A database that hangs is found out once for all who ask, and
// soon.
func (s *source) get(ctx context.Context) (*scheduler.Client, error) {
	_, err := s.answers.get(ctx, func(ctx context.Context) (struct{}, time.Duration, error) {
		err := s.probed(ctx, func(ctx context.Context, probe *scheduler.Client) error {
			_, err := probe.Now(ctx)
			return err
		})
		return struct{}{}, answersInterval, err
	})
	if err != nil {
		return nil, err
	}
	return opened(ctx, s.client, s.connectFunc)
}

// probed asks the probe something short.
func (s *source) probed(ctx context.Context, ask func(context.Context, *scheduler.Client) error) error {
	probe, err := opened(ctx, s.probe, s.connectFunc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return ask(ctx, probe)
}

// river gives River UI.
func (s *source) river(ctx context.Context) (*River, error) {
	return opened(ctx, s.openRiver, s.riverFunc)
}

func opened[T any](ctx context.Context, in *shared[T], open func(context.Context) (T, error)) (T, error) {
	return in.get(ctx, func(ctx context.Context) (T, time.Duration, error) {
		value, err := open(ctx)
		return value, far, err
	})
}

// close closes what is open. What is asked for afterwards is refused. It gives up after
// five seconds: a database that hangs does not hold up the end.
func (s *source) close() error {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		var all sync.WaitGroup
		all.Go(func() { closeShared(s.client) })
		all.Go(func() { closeShared(s.probe) })
		all.Go(func() { closeShared(s.openRiver) })
		all.Wait()
	}()
	select {
	case <-closed:
		return nil
	case <-time.After(closeTimeout):
		return fmt.Errorf("connections of the HTTP surface are left open: the database does not answer within %v", closeTimeout)
	}
}

func closeShared[T interface {
	comparable
	Close()
}](in *shared[T],
) {
	var none T
	if value, err := in.end(errClosed); err == nil && value != none {
		value.Close()
	}
}
