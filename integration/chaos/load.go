package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// opTimeout bounds one operation of the application.
	opTimeout = 15 * time.Second
	// opPause is between two operations of one goroutine.
	opPause = 20 * time.Millisecond
	// churnPause is between two larger changes.
	churnPause = 3 * time.Second
	// churnRows are inserted at once, to expire soon.
	churnRows = 500
	// unmarkRows are given back to the job mark before it is asked for again.
	unmarkRows = 10_000
)

const (
	// loadItems are the rows at the beginning. One in twenty has expired already.
	loadItems = `INSERT INTO items (customer_id, amount, expires_at)
		SELECT g % 1000, g % 97, CASE WHEN g % 20 = 0 THEN clock_timestamp() - interval '1 minute' END
		FROM generate_series(1, $1::int) g`
	insertItems = `INSERT INTO items (customer_id, amount, expires_at)
		SELECT g % 1000, g % 97, clock_timestamp() + make_interval(secs => $2::int) FROM generate_series(1, $1::int) g`
	// A row that is changed has to be marked again.
	updateItem = "UPDATE items SET amount = amount + 1, updated_at = clock_timestamp(), marked_by = NULL WHERE id = $1"
	readItems  = "SELECT count(*) FROM items WHERE customer_id = $1 % 1000 AND created_at > clock_timestamp() - interval '1 hour'"
)

// load is the application: it inserts, changes, reads and deletes what the jobs
// clean, and asks for a run of mark and of long whenever none is under way. It goes
// on through every fault.
type load struct {
	pool *pgxpool.Pool
	rows int

	writes, failed, reads atomic.Int64

	mu           sync.Mutex
	longest      time.Duration // of a write that succeeded, ever
	longestSince time.Duration // the same, since the last call of takeLongest
	cancel       context.CancelFunc
	wg           sync.WaitGroup
	stopOnce     sync.Once
}

func startLoad(ctx context.Context, url func() string, rows int, seed uint64) (*load, error) {
	pool, err := newFollower(ctx, url, 10, map[string]string{"application_name": "application"})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l := &load{pool: pool, rows: rows, cancel: cancel}
	for i, job := range []struct {
		pause time.Duration
		do    func(ctx context.Context, rng *rand.Rand)
	}{
		{opPause, l.insert},
		{opPause, l.update},
		{opPause, l.update},
		{opPause, l.read},
		{10 * opPause, l.remove},
		{churnPause, l.churn},
		{10 * opPause, l.askMark},
		{10 * opPause, l.askLong},
	} {
		rng := rand.New(rand.NewPCG(seed, 1<<48+uint64(i)))
		l.wg.Go(func() {
			for pause(ctx, job.pause) == nil {
				job.do(ctx, rng)
			}
		})
	}
	return l, nil
}

// stop ends the application. A second call does nothing.
func (l *load) stop() {
	l.stopOnce.Do(func() {
		l.cancel()
		l.wg.Wait()
		l.pool.Close()
	})
}

// write does one thing and keeps count.
func (l *load) write(ctx context.Context, statement string, args ...any) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	begin := time.Now()
	if _, err := l.pool.Exec(ctx, statement, args...); err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) { // by stop
			l.failed.Add(1)
		}
		return
	}
	took := time.Since(begin)
	l.writes.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.longest, l.longestSince = max(l.longest, took), max(l.longestSince, took)
}

// takeLongest is how long the longest write took since the last call.
func (l *load) takeLongest() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	took := l.longestSince
	l.longestSince = 0
	return took
}

func (l *load) insert(ctx context.Context, rng *rand.Rand) {
	l.write(ctx, insertItems, 1, rng.IntN(30))
}

func (l *load) churn(ctx context.Context, rng *rand.Rand) {
	l.write(ctx, insertItems, churnRows, rng.IntN(10))
}

func (l *load) update(ctx context.Context, rng *rand.Rand) {
	l.write(ctx, updateItem, rng.IntN(l.rows)+1)
}

func (l *load) remove(ctx context.Context, rng *rand.Rand) {
	l.write(ctx, "DELETE FROM items WHERE id = $1", rng.IntN(l.rows)+1)
}

func (l *load) read(ctx context.Context, rng *rand.Rand) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	if _, err := ask[int64](ctx, l.pool, readItems, rng.IntN(l.rows)+1); err == nil {
		l.reads.Add(1)
	}
}

// idle says whether no run of a job is under way.
func (l *load) idle(ctx context.Context, job string) bool {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	idle, err := ask[bool](ctx, l.pool, `SELECT NOT EXISTS (SELECT FROM scheduler.job_runs
		WHERE job_name = $1 AND status IN ('requested', 'waiting', 'pending', 'running', 'retrying'))`, job)
	return err == nil && idle
}

// askLong asks for a run that takes some seconds, in one transaction.
func (l *load) askLong(ctx context.Context, rng *rand.Rand) {
	if l.idle(ctx, "long") {
		l.write(ctx, "SELECT scheduler.run_now('long', jsonb_build_object('seconds', $1::int))", 1+rng.IntN(4))
	}
}

// askMark asks for a run of mark, with something to do.
func (l *load) askMark(ctx context.Context, rng *rand.Rand) {
	if !l.idle(ctx, "mark") {
		return
	}
	low := rng.IntN(max(l.rows-unmarkRows, 1)) + 1
	l.write(ctx, "UPDATE items SET marked_by = NULL WHERE id BETWEEN $1 AND $2", low, low+unmarkRows-1)
	l.write(ctx, "SELECT scheduler.run_now('mark')")
}
