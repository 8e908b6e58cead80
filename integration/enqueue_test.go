package integration

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

var errNoSale = errors.New("the customer has changed their mind")

// A run that is asked for in a transaction exists if that commits, and then once.
func TestRunNowTx(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	pool := shopPool(t, db, nil)
	var worked sync.Map
	registry := only(t, "bill", 1, func(_ context.Context, run *jobs.Run) (jobs.Result, error) {
		times, _ := worked.LoadOrStore(run.ID, new(atomic.Int64))
		times.(*atomic.Int64).Add(1)
		return jobs.Result{}, nil
	})
	s, _ := embed(t, scheduler.Config{Pool: pool, Registry: registry, Jobs: []scheduler.JobConfig{{Name: "bill", Overlap: "allow"}}})
	client := ready(t, s)
	exec1(t, db, "CREATE TABLE sales (n int, run_id bigint); GRANT ALL ON sales TO PUBLIC")

	var sales errgroup.Group
	var mu sync.Mutex
	var sold []int64
	for n := range 20 {
		sales.Go(func() error {
			err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
				id, err := s.RunNowTx(t.Context(), tx, "bill", nil, nil)
				if err != nil {
					return err
				}
				if _, err := tx.Exec(t.Context(), "INSERT INTO sales VALUES ($1, $2)", n, id); err != nil || n%2 == 0 {
					return errors.Join(err, errNoSale)
				}
				mu.Lock()
				defer mu.Unlock()
				sold = append(sold, id)
				return nil
			})
			if n%2 == 0 && errors.Is(err, errNoSale) {
				return nil
			}
			return err
		})
	}
	require.NoError(t, sales.Wait())
	for _, id := range sold {
		run, err := client.Wait(t.Context(), id, nil)
		require.NoError(t, err)
		require.Equal(t, jobs.StatusSuccess, run.Status)
		times, ok := worked.Load(id)
		require.True(t, ok)
		require.EqualValues(t, 1, times.(*atomic.Int64).Load())
	}
	require.Len(t, sold, 10)
	require.EqualValues(t, 10, scalar[int64](t, db, "SELECT count(*) FROM scheduler.runs WHERE job_name = 'bill'"), "what was rolled back was never asked for")
	require.EqualValues(t, 10, scalar[int64](t, db, "SELECT count(*) FROM sales"))
}

// A refusal leaves the caller's transaction as it was, and so does somebody's name.
func TestRunNowTxLeavesTheTransactionAlone(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	pool := shopPool(t, db, nil)
	s, _ := embed(t, scheduler.Config{Pool: pool})
	client := ready(t, s)
	ctx := scheduler.WithActor(t.Context(), "till 3")
	var later, id int64
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := s.RunNowTx(ctx, tx, "nobody", nil, nil)
		require.ErrorIs(t, err, jobs.ErrUnknownJob)
		_, err = client.RunNowTx(ctx, tx, "yearly_hit", map[string]any{"size": 0}, nil)
		require.ErrorIs(t, err, jobs.ErrInvalidParameter)
		_, err = client.RunAtTx(ctx, tx, "yearly_hit", time.Now().Add(-time.Hour), nil, nil)
		require.ErrorIs(t, err, scheduler.ErrBadArgument)
		if id, err = client.RunNowTx(ctx, tx, "yearly_hit", map[string]any{"size": 3}, new(true)); err != nil {
			return err
		}
		if later, err = s.RunAtTx(ctx, tx, "yearly_hit", time.Now().Add(time.Hour), nil, nil); err != nil {
			return err
		}
		var name string
		require.NoError(t, tx.QueryRow(ctx, "SELECT current_setting('application_name')").Scan(&name))
		require.Equal(t, "shop", name)
		return nil
	})
	require.NoError(t, err)
	run, err := client.Wait(ctx, id, nil)
	require.NoError(t, err)
	require.Equal(t, jobs.StatusSuccess, run.Status)
	require.True(t, run.DryRun)
	require.Equal(t, "till 3", scalar[string](t, db, "SELECT requested_application FROM scheduler.job_runs WHERE id = $1", id))
	run, err = client.Run(ctx, later)
	require.NoError(t, err)
	require.Equal(t, jobs.StatusScheduled, run.Status)
}

// A transaction that has asked for a run and stays open holds nobody up.
func TestRunNowTxThatStaysOpen(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	pool := shopPool(t, db, nil)
	s, _ := embed(t, scheduler.Config{Pool: pool})
	client := ready(t, s)
	var id int64
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) (err error) {
		if id, err = s.RunNowTx(t.Context(), tx, "yearly_hit", nil, nil); err != nil {
			return err
		}
		require.Equal(t, jobs.StatusSuccess, runAndWait(t, client, "yearly_hit").Status)
		require.NoError(t, client.Pause(t.Context(), "panics", "for now", false))
		return nil
	})
	require.NoError(t, err)
	// After the commit, it is a matter of milliseconds.
	began := time.Now()
	run, err := client.Wait(t.Context(), id, nil)
	require.NoError(t, err)
	require.Equal(t, jobs.StatusSuccess, run.Status)
	require.Less(t, time.Since(began), 2*time.Second)
}

// A subscriber hears of each end in the fleet once, however late it listens.
func TestSubscribe(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	pool := shopPool(t, db, nil)
	s, _ := embed(t, scheduler.Config{Pool: pool, Jobs: []scheduler.JobConfig{{Name: "each_second", Enabled: new(false)}}})
	client := ready(t, s)
	before := runAndWait(t, client, "yearly_hit")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	all, err := client.Subscribe(ctx, scheduler.Subscription{})
	require.NoError(t, err)
	some, err := client.Subscribe(ctx, scheduler.Subscription{JobName: "hopeless", Since: time.Now().Add(-time.Hour)})
	require.NoError(t, err)
	_, err = client.Subscribe(ctx, scheduler.Subscription{JobName: "nobody"})
	require.ErrorIs(t, err, jobs.ErrUnknownJob)

	var asked, heard []int64
	for _, name := range []string{"yearly_hit", "hopeless", "yearly_hit", "panics", "needs_app"} {
		asked = append(asked, runAndWait(t, client, name).ID)
	}
	for run, err := range all {
		require.NoError(t, err)
		require.True(t, run.Status.Ended())
		if heard = append(heard, run.ID); len(heard) == len(asked) {
			break
		}
	}
	slices.Sort(heard)
	require.Equal(t, asked, heard, "all of them, and not %d, which had ended before", before.ID)
	for run, err := range some {
		require.NoError(t, err)
		require.Equal(t, "hopeless failed", run.JobName+" "+string(run.Status))
		break
	}
	// It goes on where it was, through an outage, and ends with its context.
	last := make(chan int64)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for run, err := range all {
			if err == nil {
				last <- run.ID
			}
		}
	}()
	exec1(t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'shop'")
	testdb.WaitFor(t, "the client is back", waitRun, func(ctx context.Context) (bool, any, error) {
		_, err := client.Now(ctx)
		return err == nil, nil, err
	})
	run := runAndWait(t, client, "yearly_hit")
	require.Equal(t, run.ID, <-last)
	cancel()
	<-ended
}

// Ends that are committed late, and many at once, are heard of all the same.
func TestSubscribeToManyAtOnce(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	client, err := scheduler.NewClient(t.Context(), db.URL, "")
	require.NoError(t, err)
	t.Cleanup(client.Close)
	const end = `INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, finished_at)
		SELECT 'j', now() + n * interval '1 second', 'manual', 'success', clock_timestamp() FROM generate_series(1, $1) n`
	exec1(t, db, end, 700)
	ctx, cancel := context.WithTimeout(t.Context(), 3*waitRun)
	defer cancel()
	all, err := client.Subscribe(ctx, scheduler.Subscription{})
	require.NoError(t, err)
	late, err := db.Conn(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = late.Exec(t.Context(), end, 3)
	require.NoError(t, err)
	exec1(t, db, end, 1200)
	seen := make(map[int64]bool)
	for run, err := range all {
		require.NoError(t, err)
		require.False(t, seen[run.ID], "run %d is heard of twice", run.ID)
		if seen[run.ID] = true; len(seen) == 1200 {
			require.NoError(t, late.Commit(t.Context()))
		}
		if len(seen) == 1203 {
			break
		}
	}
	require.Len(t, seen, 1203)
}

// A time that is finer than the ledger's gives no run twice.
func TestSubscribeFromWithinAMicrosecond(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	client, err := scheduler.NewClient(t.Context(), db.URL, "")
	require.NoError(t, err)
	t.Cleanup(client.Close)
	const end = `INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, finished_at)
		VALUES ('j', clock_timestamp(), 'manual', 'success', clock_timestamp()) RETURNING finished_at`
	first := scalar[time.Time](t, db, end)
	scalar[time.Time](t, db, end)
	all, err := client.Subscribe(t.Context(), scheduler.Subscription{Since: first.Add(500 * time.Nanosecond)})
	require.NoError(t, err)
	heard := make(map[int64]bool)
	for run, err := range all {
		require.NoError(t, err)
		require.False(t, heard[run.ID], "run %d is heard of twice", run.ID)
		if heard[run.ID] = true; len(heard) == 2 {
			scalar[time.Time](t, db, end)
		}
		if len(heard) == 3 {
			break
		}
	}
}
