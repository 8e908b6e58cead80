package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// stuckAfter is how long a job may go on after the end of its context before its
	// attempt is given up: a batch that is under way may still commit.
	stuckAfter = batchGrace + time.Second

	// stuckSayEvery is how often the log hears of a job that does not return.
	stuckSayEvery = time.Minute
)

var (
	// ErrStuck: a job has not returned, though its context had ended long ago. Go cannot end
	// a goroutine: it goes on until the process ends.
	ErrStuck = errors.New("a job ignores the end of its context and goes on until the process ends")

	// errExited: the job has ended its goroutine.
	errExited = errors.New("the job has ended its goroutine (runtime.Goexit, as the FailNow of a test does): return an error instead")
)

// stuckError ends an attempt whose job does not return.
type stuckError struct{ replica string }

func (e *stuckError) Error() string {
	return fmt.Sprintf("the job ignores the end of its context and is still running in replica %s: its transaction was rolled back, and a worker of that replica stays occupied until the job returns or the process ends", e.replica)
}

// Unwrap makes errors.Is with [ErrStuck] hold.
func (*stuckError) Unwrap() error { return ErrStuck }

// outcome is how a job's part of an attempt has ended.
type outcome struct {
	trace string
	err   error
}

// attended runs the job's part, and waits until it has returned; or, if it ignores the end
// of its context, only for so long: then what it has open is ended, and returned is where
// it will be heard of.
func (a *attempt) attended(ctx context.Context) (outcome, <-chan outcome) {
	returned := make(chan outcome, 1)
	go func() {
		ended := outcome{err: errExited}
		defer func() {
			a.txs.end(errReturned)
			a.beside.end(ctx, a.logger)
			a.closeConns(ctx)
			returned <- ended
		}()
		ended.trace, ended.err = a.guarded(ctx)
	}()
	select {
	case ended := <-returned:
		return ended, nil
	case <-ctx.Done():
	}
	timer := time.NewTimer(stuckAfter)
	defer timer.Stop()
	select {
	case ended := <-returned:
		return ended, nil
	case <-timer.C:
	}
	a.txs.end(errAbandoned)
	a.txs.cut(ctx)
	a.conns.cut()
	return outcome{err: &stuckError{a.config.ReplicaID}}, returned
}

// guarded turns a panic of the job into an error with its stack.
func (a *attempt) guarded(ctx context.Context) (trace string, err error) {
	defer func() {
		if recovered := recover(); recovered != nil {
			trace, err = string(debug.Stack()), fmt.Errorf("panic: %v", recovered)
		}
	}()
	return "", a.work(ctx)
}

// stuck are the jobs that do not return.
type stuck struct {
	mu   sync.Mutex
	jobs map[*attempt]bool
}

func (s *stuck) set(a *attempt, isStuck bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobs == nil {
		s.jobs = make(map[*attempt]bool)
	}
	if s.jobs[a] = true; !isStuck {
		delete(s.jobs, a)
	}
}

// err is the error of a replica that ends before its jobs.
func (s *stuck) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.jobs) == 0 {
		return nil
	}
	texts := make([]string, 0, len(s.jobs))
	for a := range s.jobs {
		texts = append(texts, fmt.Sprintf("job %q (run %d)", a.riverJob.Kind, a.id.RunID))
	}
	slices.Sort(texts)
	return fmt.Errorf("%w: %s", ErrStuck, strings.Join(texts, ", "))
}

// awaitReturn keeps the worker's place for a job that does not return, so that a replica
// has no more goroutines than it may have runs, and says so. It gives up when the replica
// ends.
func (a *attempt) awaitReturn(ctx context.Context, returned <-chan outcome) {
	since := time.Now()
	a.stuck.set(a, true)
	a.metrics.Stuck(true)
	ticker := time.NewTicker(stuckSayEvery)
	defer ticker.Stop()
	for {
		a.logger.ErrorContext(ctx, "the job ignores the end of its context and does not return; its attempt is over, its place among the workers stays taken: correct the job, and restart the replica",
			slog.Duration("for", time.Since(since).Round(time.Second)+stuckAfter))
		select {
		case ended := <-returned:
			a.stuck.set(a, false)
			a.metrics.Stuck(false)
			a.logger.WarnContext(ctx, "the job has returned after all", slog.Duration("after", time.Since(since)+stuckAfter), slog.Any("error", ended.err))
			return
		case <-a.ending.Done():
			return
		case <-ticker.C:
		}
	}
}
