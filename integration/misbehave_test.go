package integration

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// logBuffer keeps a log for a look.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// runUntil runs a replica and returns how it is ended, and its error.
func runUntil(t *testing.T, config scheduler.Config) (stop func() error) {
	t.Helper()
	config.DatabaseURL, config.BootstrapJobs = testdb.ServeURL(config.DatabaseURL), []string{}
	s, err := scheduler.New(config)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return stop
}

func registryOf(t *testing.T, list ...jobs.Job) *jobs.Registry {
	t.Helper()
	registry := &jobs.Registry{}
	require.NoError(t, registry.Add(list...))
	return registry
}

// ask asks for a run of a job, once it is declared.
func ask(t *testing.T, db *testdb.DB, job string) int64 {
	t.Helper()
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs WHERE job_name = $1)", job)
	return scalar[int64](t, db, "SELECT scheduler.run_now($1)", job)
}

const runErrors = "SELECT coalesce((SELECT string_agg(e ->> 'error', E'\\n') FROM unnest(j.errors) e), '') FROM scheduler.river_job j JOIN scheduler.job_runs r ON r.river_job_id = j.id WHERE r.id = $1"

// A job that ignores the end of its context: the attempt fails, its transaction is rolled
// back, another attempt goes on, other jobs run, and the replica can be ended.
func TestJobThatIgnoresItsContext(t *testing.T) {
	t.Parallel()
	for name, hang := range map[string]func(ctx context.Context, run *jobs.Run, until <-chan struct{}){
		"in Go": func(_ context.Context, _ *jobs.Run, until <-chan struct{}) { <-until },
		"in a statement": func(ctx context.Context, run *jobs.Run, until <-chan struct{}) {
			_, _ = run.Tx.Exec(context.WithoutCancel(ctx), "SELECT pg_sleep(3600)")
			<-until
		},
		"in a transaction beside": func(ctx context.Context, run *jobs.Run, until <-chan struct{}) {
			if tx, err := run.Beginner.Begin(ctx); err == nil {
				_, _ = tx.Exec(context.WithoutCancel(ctx), "LOCK TABLE sweep_rows; SELECT pg_sleep(3600)")
			}
			<-until
		},
		"on a connection of its own": func(ctx context.Context, run *jobs.Run, until <-chan struct{}) {
			if conn, err := run.Connect(ctx); err == nil {
				_, _ = conn.Exec(context.WithoutCancel(ctx), "SELECT pg_sleep(3600)")
			}
			<-until
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testdb.New(t, migrated)
			until, back := make(chan struct{}), make(chan error, 1)
			var hung atomic.Bool
			deaf := jobs.Func(jobs.Definition{Name: "deaf", Schedule: "@yearly", MaxAttempts: 10, Timeout: 2 * time.Second, BackoffFunc: shortBackoff},
				func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
					result, err := hit(ctx, run)
					if err != nil || hung.Swap(true) {
						return result, err
					}
					hang(ctx, run, until)
					_, err = hit(context.WithoutCancel(ctx), run)
					back <- err
					return result, nil
				})
			other := jobs.Func(jobs.Definition{Name: "other", Schedule: "@yearly"}, hit)
			log, metrics := &logBuffer{}, prometheus.NewRegistry()
			stop := runUntil(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "patient", Registry: registryOf(t, deaf, other), ShutdownTimeout: 100 * time.Millisecond, Logger: log.logger(), Metrics: metrics})
			run := ask(t, db, "deaf")
			waitStatus(t, db, run, jobs.StatusSuccess)
			waitStatus(t, db, ask(t, db, "other"), jobs.StatusSuccess)
			require.Contains(t, scalar[string](t, db, runErrors, run), "timed out after 2s: the job ignores the end of its context and is still running in replica patient")
			require.Equal(t, int64(1), scalar[int64](t, db, "SELECT count(*) FROM hits WHERE run_id = $1", run), "what that attempt did is undone")
			waitValue(t, db, waitRun, int64(0), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%pg_sleep(3600)' AND pid <> pg_backend_pid()")
			waitValue(t, db, waitRun, int64(0), "SELECT count(*) FROM pg_locks WHERE relation = 'sweep_rows'::regclass")
			require.Contains(t, log.String(), `job=deaf`)
			n, err := testutil.GatherAndCount(metrics, "scheduler_runs_stuck")
			require.NoError(t, err)
			require.Equal(t, 1, n)
			require.Contains(t, log.String(), "does not return; its attempt is over")

			begin := time.Now()
			err = stop()
			require.ErrorIs(t, err, scheduler.ErrJobStuck)
			require.Contains(t, err.Error(), fmt.Sprintf(`job "deaf" (run %d)`, run))
			require.Less(t, time.Since(begin), 20*time.Second)
			close(until)
			require.Error(t, <-back, "it can do nothing more")
			require.Equal(t, int64(1), scalar[int64](t, db, "SELECT count(*) FROM hits WHERE run_id = $1", run))
		})
	}
}

// One that does so when its replica ends: others go on with it.
func TestJobThatIgnoresAShutdown(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	until, begun := make(chan struct{}), make(chan struct{})
	defer close(until)
	deaf := jobs.Func(jobs.Definition{Name: "deaf", Schedule: "@yearly", MaxAttempts: 1}, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		result, err := hit(ctx, run)
		close(begun)
		<-until
		return result, err
	})
	stop := runUntil(t, scheduler.Config{DatabaseURL: db.URL, Registry: registryOf(t, deaf), ShutdownTimeout: 100 * time.Millisecond, Logger: discard()})
	run := ask(t, db, "deaf")
	<-begun
	err := stop()
	require.ErrorIs(t, err, scheduler.ErrJobStuck)
	require.ErrorIs(t, err, scheduler.ErrRunsLeft)
	require.Equal(t, "pending 0", scalar[string](t, db, "SELECT status || ' ' || attempt FROM scheduler.job_runs WHERE id = $1", run), "the attempt does not count")
	heeding := jobs.Func(deaf.Definition(), hit)
	runUntil(t, scheduler.Config{DatabaseURL: db.URL, Registry: registryOf(t, heeding), Logger: discard()})
	waitStatus(t, db, run, jobs.StatusSuccess)
	require.Equal(t, int64(1), scalar[int64](t, db, "SELECT count(*) FROM hits"))
}

// nilError is an error whose text cannot be had.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

// twoFaced has another definition, or none, once it is in use.
type twoFaced struct {
	jobs.TxJob

	mu    sync.Mutex
	asked int
}

func (f *twoFaced) Definition() jobs.Definition {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.asked > 50 {
		panic("it has had enough")
	}
	d := f.TxJob.Definition()
	d.Timeout = time.Duration(f.asked) * time.Minute
	return d
}

// Whatever a job does and says, its run has an end and a record, and what is in the
// database is what the record says.
func TestOddJobs(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	odd := "zero \x00, half \xff, long " + strings.Repeat("é", 1<<20)
	type want struct {
		status jobs.Status
		says   string
		hits   int64
	}
	wants := make(map[string]want)
	var list []jobs.Job
	add := func(name string, w want, fn func(ctx context.Context, run *jobs.Run, result *jobs.Result) error) {
		wants[name] = w
		list = append(list, jobs.Func(jobs.Definition{Name: name, Schedule: "@yearly", MaxAttempts: 1}, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			result, err := hit(ctx, run)
			if err == nil {
				err = fn(ctx, run, &result)
			}
			return result, err
		}))
	}
	add("exits", want{jobs.StatusFailed, "has ended its goroutine", 0}, func(context.Context, *jobs.Run, *jobs.Result) error {
		runtime.Goexit()
		return nil
	})
	add("commits", want{jobs.StatusSuccess, "", 1}, func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
		if err := run.Tx.Commit(ctx); err == nil {
			return fmt.Errorf("the commit was not refused")
		}
		return nil
	})
	add("rolls_back", want{jobs.StatusSuccess, "", 1}, func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
		_ = run.Tx.Rollback(ctx)
		return nil
	})
	add("commits_in_sql", want{jobs.StatusFailed, "has ended the transaction of its run by a statement", 1}, func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
		_, err := run.Tx.Exec(ctx, "COMMIT")
		return err
	})
	add("rolls_back_in_sql", want{jobs.StatusFailed, "has ended the transaction of its run by a statement", 0}, func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
		_, err := run.Tx.Exec(ctx, "ROLLBACK")
		return err
	})
	add("swallows", want{jobs.StatusFailed, "returned no error, but a statement of it has failed", 0}, func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
		_, _ = run.Tx.Exec(ctx, "SELECT 1/0")
		return nil
	})
	for name, statement := range map[string]string{
		"deletes_its_row": "DELETE FROM scheduler.river_job", "ends_its_row": "UPDATE scheduler.river_job SET state = 'available', attempt = 0 WHERE state = 'running'",
	} {
		add(name, want{jobs.StatusFailed, "is not in charge of the run any more, though nobody else is", 0}, func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
			_, err := run.Tx.Exec(ctx, statement)
			return err
		})
	}
	add("odd_message", want{jobs.StatusSuccess, "", 1}, func(_ context.Context, _ *jobs.Run, result *jobs.Result) error {
		result.Message = odd
		return nil
	})
	add("odd_targets", want{jobs.StatusSuccess, "", 1}, func(_ context.Context, _ *jobs.Run, result *jobs.Result) error {
		result.Targets = jobs.Targets{odd: {Rows: 1, Note: odd, Plan: odd}}
		return nil
	})
	add("odd_error", want{jobs.StatusFailed, "zero , half", 0}, func(context.Context, *jobs.Run, *jobs.Result) error { return fmt.Errorf("%s", odd) })
	add("odd_panic", want{jobs.StatusFailed, "panic: zero , half", 0}, func(context.Context, *jobs.Run, *jobs.Result) error { panic(odd) })
	add("odd_progress", want{jobs.StatusSuccess, "", 1}, func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
		run.Progress(ctx, jobs.Progress{Done: -1, Message: odd})
		run.Logger.InfoContext(ctx, odd, slog.String(odd, odd)) //nolint:sloglint // a job may log anything
		return nil
	})
	add("nil_error", want{jobs.StatusFailed, "PANIC|nil", 0}, func(context.Context, *jobs.Run, *jobs.Result) error {
		var err *nilError
		return err
	})
	add("negative", want{jobs.StatusFailed, "reports -7 rows", 0}, func(_ context.Context, _ *jobs.Run, result *jobs.Result) error {
		result.RowsAffected = -7
		return nil
	})
	add("negative_target", want{jobs.StatusFailed, "reports -7 rows in 0 batches for the target", 0}, func(_ context.Context, _ *jobs.Run, result *jobs.Result) error {
		result.Targets = jobs.Targets{"a": {Rows: 8}, "b": {Rows: -7}}
		return nil
	})
	add("two_faced", want{jobs.StatusSuccess, "", 1}, func(context.Context, *jobs.Run, *jobs.Result) error { return nil })
	list[len(list)-1] = &twoFaced{TxJob: list[len(list)-1].(jobs.TxJob)}
	late := make(chan error, 4)
	add("keeps_its_transaction", want{jobs.StatusSuccess, "", 1}, func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
		ctx = context.WithoutCancel(ctx)
		go func() {
			waitValue(t, db, waitRun, "success", "SELECT status FROM scheduler.job_runs WHERE id = $1", run.ID)
			_, err := run.Tx.Exec(ctx, "INSERT INTO hits SELECT * FROM hits")
			late <- err
			_, err = run.Tx.Begin(ctx)
			late <- err
			late <- run.Tx.Commit(ctx)
			_, err = run.Beginner.Begin(ctx)
			late <- err
			run.Progress(ctx, jobs.Progress{Message: "too late"})
		}()
		return nil
	})
	add("leaves_transactions", want{jobs.StatusSuccess, "", 1}, func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
		for range 3 {
			tx, err := run.Beginner.Begin(ctx)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "INSERT INTO sweep_rows VALUES (1) ON CONFLICT DO NOTHING; LOCK TABLE sweep_audit IN SHARE MODE"); err != nil {
				return err
			}
			if err := tx.Rollback(ctx); err != nil {
				return err
			}
			if tx, err = run.Beginner.Begin(ctx); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "LOCK TABLE sweep_audit IN SHARE MODE"); err != nil {
				return err
			}
		}
		return nil
	})
	runUntil(t, scheduler.Config{DatabaseURL: db.URL, Registry: registryOf(t, list...), Logger: discard()})
	for name, want := range wants {
		t.Run(name, func(t *testing.T) {
			run := ask(t, db, name)
			waitStatus(t, db, run, want.status)
			require.Regexp(t, want.says, scalar[string](t, db, runErrors, run))
			require.Equal(t, want.hits, scalar[int64](t, db, "SELECT count(*) FROM hits WHERE run_id = $1", run))
			require.Less(t, scalar[int64](t, db, "SELECT length(details::text) FROM scheduler.job_runs WHERE id = $1", run), int64(20_000))
			require.LessOrEqual(t, scalar[int64](t, db, "SELECT count(*) FROM scheduler.job_runs WHERE status = 'running'"), int64(0))
		})
	}
	for range cap(late) {
		require.Error(t, <-late, "after the end of the run")
	}
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM scheduler.job_runs WHERE details::text LIKE '%too late%'"))
	waitValue(t, db, waitRun, int64(0), "SELECT count(*) FROM pg_locks WHERE relation = 'sweep_audit'::regclass")
}

// oddCursor stores a cursor that Postgres cannot.
type oddCursor struct{}

func (oddCursor) Definition() jobs.Definition {
	return jobs.Definition{Name: "odd_cursor", Schedule: "@yearly", MaxAttempts: 1}
}

func (oddCursor) Start(context.Context, *jobs.Run) (jobs.Batches, error) { return oddCursor{}, nil }

func (oddCursor) Next(_ context.Context, batch *jobs.Batch) (bool, error) {
	batch.Cursor = "\x00"
	return false, nil
}

func TestOddCursor(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	runUntil(t, scheduler.Config{DatabaseURL: db.URL, Registry: registryOf(t, oddCursor{}), Logger: discard()})
	run := ask(t, db, "odd_cursor")
	waitStatus(t, db, run, jobs.StatusFailed)
	require.Contains(t, scalar[string](t, db, runErrors, run), "batch.Cursor holds a text that Postgres cannot store")
}

// What a job sets for its session is not in force for those after it.
func TestJobsLeaveNothingInTheirSession(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	set := func(end error) func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		return func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			_, err := run.Tx.Exec(ctx, "SET search_path = nowhere; SET TIME ZONE 'Asia/Tokyo'; SET statement_timeout = '10min'; SET row_security = off; SELECT pg_advisory_lock(4711)")
			if err == nil {
				err = end
			}
			return jobs.Result{}, err
		}
	}
	var session string
	tell := func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		err := run.Tx.QueryRow(ctx, `SELECT concat_ws(' ', current_setting('search_path'), current_setting('TimeZone'), current_setting('statement_timeout'), current_setting('row_security'),
			(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()))`).Scan(&session)
		return jobs.Result{Message: session}, err
	}
	registry := registryOf(t,
		jobs.Func(jobs.Definition{Name: "sets", Schedule: "@yearly"}, set(nil)),
		jobs.Func(jobs.Definition{Name: "sets_and_fails", Schedule: "@yearly", MaxAttempts: 1}, set(pgx.ErrNoRows)),
		jobs.Func(jobs.Definition{Name: "tells", Schedule: "@yearly"}, tell))
	runUntil(t, scheduler.Config{DatabaseURL: db.URL, Registry: registry, MaxWorkers: 1, Logger: discard()})
	tells := func() string {
		run := ask(t, db, "tells")
		waitStatus(t, db, run, jobs.StatusSuccess)
		return scalar[string](t, db, "SELECT details ->> 'message' FROM scheduler.job_runs WHERE id = $1", run)
	}
	before := tells()
	require.NotContains(t, before, "nowhere")
	for range 3 {
		waitStatus(t, db, ask(t, db, "sets"), jobs.StatusSuccess)
		waitStatus(t, db, ask(t, db, "sets_and_fails"), jobs.StatusFailed)
		for range 3 {
			require.Equal(t, before, tells())
		}
	}
	waitValue(t, db, waitRun, int64(0), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711")
}

// A panic in a goroutine that a job has started ends the process; nobody can recover from
// it but that goroutine. Such a run does not take down the fleet for ever.
func TestPoisonJob(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	r := startReplica(t, db, "poisoned-0")
	run := ask(t, db, "poison")
	deaths := 0
	for ; scalar[string](t, db, "SELECT status FROM scheduler.job_runs WHERE id = $1", run) != "failed"; deaths++ {
		testdb.WaitFor(t, "the replica dies, or the run is given up", waitRun, func(ctx context.Context) (bool, any, error) {
			select {
			case <-r.exited:
				return true, nil, nil
			default:
			}
			var status string
			err := db.Pool(t).QueryRow(ctx, "SELECT status FROM scheduler.job_runs WHERE id = $1", run).Scan(&status)
			return status == "failed", status, err
		})
		select {
		case <-r.exited:
			require.Contains(t, r.log(t), "nobody can recover from this")
			r = startReplica(t, db, fmt.Sprintf("poisoned-%d", deaths+1))
		default:
		}
		require.Less(t, deaths, 10, "the run is given up some time")
	}
	require.LessOrEqual(t, deaths, 2+3+1, "its attempts, and three times the benefit of the doubt")
	require.Contains(t, scalar[string](t, db, runErrors, run), "given up after its last attempt")
	hits := scalar[int64](t, db, "SELECT count(*) FROM hits")
	waitValue(t, db, waitRun, true, "SELECT count(*) > $1 FROM hits", hits)
	t.Logf("the run has ended %d replicas", deaths)
	r.stop(t)
}
