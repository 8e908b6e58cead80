package web

import (
	"context"
	"time"
)

// shared is a value that is read once for all who ask at about the same time.
type shared[T any] struct {
	// turn holds one token: whoever has it may look at the rest.
	turn  chan struct{}
	value T
	err   error
	// read is when the value was begun to be read, until when it is too old.
	read, until time.Time
}

func newShared[T any]() *shared[T] { return &shared[T]{turn: make(chan struct{}, 1)} }

// retryInterval is how long an error is good: whoever asks meanwhile gets the same.
const retryInterval = 500 * time.Millisecond

// far is how long anything is good at most; a time.Time has its limits.
const far = 100 * 365 * 24 * time.Hour

// get gives the value, or reads it if it is too old. read says for how long the value
// is good; it is not interrupted when the one for whom it is read has gone.
func (s *shared[T]) get(ctx context.Context, read func(context.Context) (T, time.Duration, error)) (T, error) {
	return s.since(ctx, time.Time{}, read)
}

// since is get for one who knows what was at a time, and wants nothing older.
func (s *shared[T]) since(ctx context.Context, t time.Time, read func(context.Context) (T, time.Duration, error)) (value T, err error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return value, ctx.Err()
	}
	defer func() { <-s.turn }()
	if time.Now().Before(s.until) && !s.read.Before(t) {
		return s.value, s.err
	}
	s.read = time.Now()
	reading, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	var good time.Duration
	if s.value, good, s.err = read(reading); s.err != nil {
		good = retryInterval
	}
	s.until = time.Now().Add(min(good, far))
	return s.value, s.err
}

// end waits for its turn, gives the last value, and makes it an error for whoever asks
// afterwards.
func (s *shared[T]) end(because error) (value T, err error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	value, err = s.value, s.err
	s.err, s.read, s.until = because, time.Now().Add(far), time.Now().Add(far)
	return value, err
}
