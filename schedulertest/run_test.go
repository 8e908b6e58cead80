package schedulertest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cleanup"
	"github.com/systempromptio/scheduler/sql/platform"
)

func count(t *testing.T, pool *pgxpool.Pool, from string) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM "+from).Scan(&n))
	return n
}

func TestRunOnce(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	tick := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var seen jobs.Run
	job := jobs.Func(definition, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		seen = *run
		run.Logger.InfoContext(ctx, "finishing", "most", run.Parameters.Int("most"))
		run.Progress(ctx, jobs.Progress{Done: 1, Total: 2})
		var inserted string
		if err := run.Tx.QueryRow(ctx, "SELECT note FROM notes").Scan(&inserted); err != nil {
			return jobs.Result{}, err
		}
		result, err := good(ctx, run)
		result.Message = inserted
		return result, err
	})
	result := RunOnce(t, pool, job, Options{
		Tick: tick, Now: tick.Add(time.Hour), Trigger: jobs.TriggerBackfill, Attempt: 3, RunID: 77, App: "app",
		Parameters: map[string]any{"most": 7},
		SetUpFunc: func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO notes VALUES ('set up')")
			return err
		},
		CheckFunc: func(ctx context.Context, tx pgx.Tx, result *Result) error {
			var done int
			if err := tx.QueryRow(ctx, "SELECT count(*) FROM items WHERE done_at = $1", tick.Add(time.Hour)).Scan(&done); err != nil {
				return err
			}
			if done != 10 || result.RowsAffected != 10 {
				return fmt.Errorf("%d items are done, %d reported", done, result.RowsAffected)
			}
			return nil
		},
	})
	require.NoError(t, result.Err)
	require.True(t, result.Complete)
	require.Equal(t, "set up", result.Message)
	require.Equal(t, []jobs.Progress{{Done: 1, Total: 2}}, result.Progress)
	require.Equal(t, "finishing", result.Log[0].Message)
	require.InDelta(t, 7, result.Log[0].Attributes["most"], 0)
	require.Empty(t, result.Misuse)
	require.Equal(t, []any{int64(77), "finish_items", tick, jobs.TriggerBackfill, 3, 5, "app"}, []any{seen.ID, seen.Job, seen.Tick, seen.Trigger, seen.Attempt, seen.MaxAttempts, seen.App})
	require.Equal(t, 10, count(t, pool, "items WHERE done_at IS NULL"), "nothing stays")
	require.Zero(t, count(t, pool, "notes"), "nor what was set up")
}

func TestRunOnceFails(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	run := func(fn body, options Options) error {
		result := RunOnce(t, pool, jobs.Func(definition, fn), options)
		require.False(t, result.Complete)
		return result.Err
	}
	require.ErrorIs(t, run(good, Options{Parameters: map[string]any{"most": -1}}), jobs.ErrInvalidParameter)
	panicked, ok := errors.AsType[*PanicError](run(func(context.Context, *jobs.Run) (jobs.Result, error) { panic("oh") }, Options{}))
	require.True(t, ok)
	require.Contains(t, panicked.Stack, "run_test.go")
	require.ErrorContains(t, run(func(context.Context, *jobs.Run) (jobs.Result, error) {
		runtime.Goexit()
		return jobs.Result{}, nil
	}, Options{}), "runtime.Goexit")
	require.ErrorContains(t, run(func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		_, _ = run.Tx.Exec(ctx, "SELECT 1/0")
		return jobs.Result{}, nil
	}, Options{}), "commit: ", "as on a server")
	short := definition
	short.Timeout = time.Millisecond
	result := RunOnce(t, pool, jobs.Func(short, func(ctx context.Context, _ *jobs.Run) (jobs.Result, error) {
		<-ctx.Done()
		return jobs.Result{}, ctx.Err()
	}), Options{})
	require.ErrorIs(t, result.Err, context.DeadlineExceeded)
	needy := definition
	needy.Needs = []jobs.Need{jobs.Needs[fmt.Stringer]("says something")}
	require.ErrorIs(t, RunOnce(t, pool, jobs.Func(needy, good), Options{}).Err, jobs.ErrAppValue)
	require.Contains(t, record(t, func(t testing.TB) { RunOnce(t, pool, jobs.Func(jobs.Definition{}, good), Options{}) }), "empty name")
	closed := testdb.New(t).Pool(t)
	closed.Close()
	require.Contains(t, record(t, func(t testing.TB) { RunOnce(t, closed, jobs.Func(definition, good), Options{}) }), "begin the test's transaction")
}

// A statement that ends the transaction would end the test's, and leave in the database what
// the test has made.
func TestRunOnceEndsNoTransaction(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	for _, end := range []string{"COMMIT", " commit;", "-- done\nEND", "/* done */ COMMIT AND CHAIN", "ROLLBACK", "rollback work;", "ABORT", "PREPARE TRANSACTION 'x'"} {
		result := RunOnce(t, pool, jobs.Func(definition, then(func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
			_, err := run.Tx.Exec(ctx, end)
			require.ErrorIs(t, err, jobs.ErrTxOfRun)
			return nil // as a job that does not look
		})), Options{})
		require.ErrorIs(t, result.Err, jobs.ErrTxOfRun, end)
		require.True(t, jobs.IsPermanent(result.Err), end)
		require.Equal(t, []string{misuseEnded}, result.Misuse, end)
	}
	result := RunOnce(t, pool, jobs.Func(definition, then(func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
		_, err := run.Tx.Exec(ctx, "SAVEPOINT mine; UPDATE items SET done_at = NULL")
		if err == nil {
			_, err = run.Tx.Exec(ctx, "ROLLBACK TO SAVEPOINT mine")
		}
		return err
	})), Options{})
	require.NoError(t, result.Err, "savepoints are the job's")
	setUp := Options{SetUpFunc: func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "COMMIT")
		return err
	}}
	require.Contains(t, record(t, func(t testing.TB) { RunOnce(t, pool, jobs.Func(definition, good), setUp) }), "leave the statement out")
	require.Equal(t, 10, count(t, pool, "items WHERE done_at IS NULL"), "nothing stays")

	inTheMiddle := then(func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
		_, err := run.Tx.Exec(ctx, "INSERT INTO notes VALUES ('x'); COMMIT")
		return err
	})
	require.Contains(t, record(t, func(t testing.TB) { RunOnce(t, pool, jobs.Func(definition, inTheMiddle), Options{}) }), "the job has ended the test's transaction")
	setUp.SetUpFunc = func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "SELECT 1; COMMIT")
		return err
	}
	require.Contains(t, record(t, func(t testing.TB) { RunOnce(t, pool, jobs.Func(definition, good), setUp) }), "SetUpFunc has ended the test's transaction")
}

// picky looks at what it needs, and is not content.
type picky struct{ jobs.TxJob }

func (picky) Check(_ context.Context, run *jobs.Run) error {
	if run.Tx == nil || run.Now.IsZero() || run.Parameters.Int("most") != 7 {
		return errors.New("the run lacks something")
	}
	return errors.New("not content")
}

// A job looks at what it needs before it runs, as before a replica starts.
func TestRunOnceChecks(t *testing.T) {
	t.Parallel()
	result := RunOnce(t, newPool(t), picky{jobs.Func(definition, good)}, Options{Parameters: map[string]any{"most": 7}})
	require.ErrorContains(t, result.Err, "not content")
	require.Zero(t, result.RowsAffected)
}

// A run in batches can be stopped and gone on with, in transactions of their own.
func TestRunOnceInBatches(t *testing.T) {
	t.Parallel()
	tx, err := newPool(t).Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	first := RunOnce(t, tx, &finisher{}, Options{BatchesMax: 2})
	require.NoError(t, first.Err)
	require.False(t, first.Complete)
	require.Equal(t, 2, first.Batches)
	require.Equal(t, int64(8), first.RowsAffected)
	require.JSONEq(t, "8", string(first.Cursor))
	second := RunOnce(t, tx, &finisher{}, Options{Cursor: first.Cursor, Done: first.Targets, Attempt: 2})
	require.True(t, second.Complete)
	require.Equal(t, 1, second.Batches)
	require.Equal(t, int64(10), second.RowsAffected, "with what the first has done, though that is undone")
	dry := RunOnce(t, tx, &finisher{}, Options{DryRun: true})
	require.Equal(t, int64(10), dry.RowsAffected)
}

// A retention job needs the scheduler's schema, and says so.
func TestRunOnceWithoutTheSchema(t *testing.T) {
	t.Parallel()
	tx, err := testdb.New(t).Pool(t).Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	require.NoError(t, platform.Create(t.Context(), tx))
	require.NoError(t, platform.Seed(t.Context(), tx, 1))
	result := RunOnce(t, tx, cleanup.InactiveSessions(), Options{})
	require.ErrorContains(t, result.Err, `the schema "scheduler" is not in this database`)
	require.ErrorContains(t, result.Err, "scheduler.MigrateUp")
	require.Empty(t, result.Misuse)
}
