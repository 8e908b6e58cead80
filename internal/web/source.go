package web

import (
	"context"
	"sync"
	"time"

	"github.com/systempromptio/scheduler"
)

// source opens what the pages read from when it is first needed: a replica answers
// while it waits for its database.
type source struct {
	connectFunc func(ctx context.Context) (*scheduler.Client, error)
	riverFunc   func(ctx context.Context) (*River, error)

	mu     sync.Mutex // one request connects, the others wait for it
	client *scheduler.Client
	river  *River
	closed bool
	failed error
	retry  time.Time
}

// retryInterval is how long a connection that failed is not tried again: whoever
// asks gets the same error.
const retryInterval = 500 * time.Millisecond

// get gives the client.
func (s *source) get(ctx context.Context) (*scheduler.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, context.Canceled
	case s.client != nil:
		return s.client, nil
	case time.Now().Before(s.retry):
		return nil, s.failed
	}
	client, err := s.connectFunc(ctx)
	if err != nil {
		s.failed, s.retry = err, time.Now().Add(retryInterval)
		return nil, err
	}
	s.client = client
	return client, nil
}

// getRiver gives River UI.
func (s *source) getRiver(ctx context.Context) (*River, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, context.Canceled
	case s.river != nil:
		return s.river, nil
	}
	river, err := s.riverFunc(ctx)
	if err != nil {
		return nil, err
	}
	s.river = river
	return river, nil
}

// close closes both. What is asked for afterwards has ended.
func (s *source) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.client != nil {
		s.client.Close()
	}
	if s.river != nil {
		s.river.Close()
	}
}
