package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// takeOverLimit is how long a run that was asked for may take to be enqueued, once
// the fault is over.
const takeOverLimit = 30 * time.Second

// blockedAfter so much time between a fault and the request, that had to wait: for a
// table that was locked, say. Nobody could have acted on it.
const blockedAfter = 500 * time.Millisecond

// takeOver measures the time from a fault until a leader acts: until it enqueues a
// run that was asked for right after the fault had struck. It begins anew whenever
// nobody could have acted, because Postgres was away.
type takeOver struct {
	w *world

	once   sync.Once
	cancel context.CancelFunc
	asked  chan struct{} // closed when the run was asked for, or never will be
	ended  chan struct{} // closed when nobody looks at Postgres any more

	waited sync.Once
	took   time.Duration
	known  bool
	err    error

	mu     sync.Mutex
	begins []time.Time // moments by this machine's clock, which is the servers', too
	run    int64       // zero: not asked for
}

func newTakeOver(w *world) *takeOver {
	return &takeOver{w: w, asked: make(chan struct{}), ended: make(chan struct{})}
}

// struck begins the measurement. Further calls do nothing.
func (t *takeOver) struck(ctx context.Context) {
	t.once.Do(func() {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		t.cancel = cancel
		t.possible(time.Now())
		go func() {
			defer close(t.ended)
			t.askUntil(ctx)
			close(t.asked)
			for pause(ctx, 10*time.Millisecond) == nil {
				if begin := time.Now(); t.ping(ctx) != nil && ctx.Err() == nil {
					t.possible(begin)
				}
			}
		}()
	})
}

// askUntil asks for the run until somebody takes the request.
func (t *takeOver) askUntil(ctx context.Context) {
	for ctx.Err() == nil {
		begin := time.Now()
		run, err := t.ask(ctx)
		if err == nil {
			t.mu.Lock()
			t.run = run
			t.mu.Unlock()
			return
		}
		// Postgres is away, or takes nothing: nobody can lead.
		t.possible(begin)
		_ = pause(ctx, 5*time.Millisecond) // the loop's condition
	}
}

// possible notes that nobody could lead before that moment.
func (t *takeOver) possible(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begins = append(t.begins, at)
}

// since is the last moment before the decision from which on somebody could lead.
func (t *takeOver) since(decided time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	since := t.begins[0]
	for _, begin := range t.begins {
		if begin.After(since) && begin.Before(decided) {
			since = begin
		}
	}
	return since
}

func (t *takeOver) ask(ctx context.Context) (run int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	err = once(ctx, t.w.fleet.URL(), map[string]string{"application_name": "chaos asks"}, func(conn *pgx.Conn) error {
		run, err = ask[int64](ctx, conn, "SELECT scheduler.run_now('noop')")
		return err
	})
	return run, err
}

func (t *takeOver) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	return once(ctx, t.w.fleet.URL(), map[string]string{"application_name": "chaos looks"}, func(conn *pgx.Conn) error {
		return conn.Ping(ctx)
	})
}

// result waits for the run and returns the time; false if the fault has none, or
// the run was lost with a server. Further calls return the same.
func (t *takeOver) result(ctx context.Context) (took time.Duration, known bool, err error) {
	t.waited.Do(func() { t.took, t.known, t.err = t.wait(ctx) })
	return t.took, t.known, t.err
}

func (t *takeOver) wait(ctx context.Context) (time.Duration, bool, error) {
	if t.cancel == nil {
		return 0, false, nil
	}
	defer func() {
		t.cancel()
		<-t.ended
	}()
	select {
	case <-t.asked:
	case <-time.After(takeOverLimit):
		return 0, false, fmt.Errorf("no run could be asked for within %v of the fault's end", takeOverLimit)
	case <-ctx.Done():
		return 0, false, context.Cause(ctx)
	}
	t.mu.Lock()
	run := t.run
	t.mu.Unlock()
	var decided, created time.Time
	err := until(ctx, takeOverLimit, fmt.Sprintf("run %d of noop is enqueued", run), func(ctx context.Context) (bool, error) {
		// Somebody must be there to act.
		if err := t.w.refill(ctx); err != nil {
			return false, err
		}
		var at *time.Time
		// One that was skipped was decided, too.
		err := t.w.admin.QueryRow(ctx, "SELECT created_at, coalesce(enqueued_at, finished_at) FROM scheduler.job_runs WHERE id = $1", run).Scan(&created, &at)
		if errors.Is(err, pgx.ErrNoRows) {
			return true, nil
		}
		if at != nil {
			decided = *at
		}
		return at != nil, err
	})
	if err != nil || decided.IsZero() {
		return 0, false, err
	}
	clock := t.w.clockOffset()
	since := t.since(decided.Add(-clock)).Add(clock)
	if created.Sub(since) > blockedAfter {
		since = created
	}
	return max(decided.Sub(since), 0), true, nil
}
