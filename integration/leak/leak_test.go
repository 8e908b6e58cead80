// Package leak looks, alone in its process, for what a replica leaves behind.
package leak

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }

// A replica that has returned has left no goroutine and no connection, however it
// was made to.
func TestNothingIsLeftRunning(t *testing.T) { //nolint:paralleltest // others would be in the way
	db := testdb.New(t)
	quiet := slog.New(slog.DiscardHandler)
	_, err := scheduler.MigrateUp(t.Context(), scheduler.MigrateConfig{DatabaseURL: db.URL, Logger: quiet})
	require.NoError(t, err)
	require.NoError(t, testdb.MakeRoles(t.Context(), db.URL, scheduler.SchemaDefault))
	registry := &jobs.Registry{}
	running := make(chan struct{}, 1)
	require.NoError(t, registry.Add(
		jobs.Func(jobs.Definition{Name: "quick", Schedule: "@yearly"},
			func(context.Context, *jobs.Run) (jobs.Result, error) { return jobs.Result{}, nil }),
		jobs.Func(jobs.Definition{Name: "endless", Schedule: "@yearly"}, func(ctx context.Context, _ *jobs.Run) (jobs.Result, error) {
			running <- struct{}{}
			<-ctx.Done()
			return jobs.Result{}, ctx.Err()
		})))
	pool := db.Pool(t)
	for name, round := range map[string]struct {
		job  string
		left bool
	}{"runs have finished": {job: "quick"}, "a run is left": {job: "endless", left: true}} {
		before := goleak.IgnoreCurrent()
		s, err := scheduler.New(scheduler.Config{
			DatabaseURL: testdb.ServeURL(db.URL), Registry: registry, BootstrapJobs: []string{}, ReplicaID: "leaver", ShutdownTimeout: 100 * time.Millisecond, Logger: quiet,
		})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		count := func(statement string) func(ctx context.Context) (bool, any, error) {
			return func(ctx context.Context) (bool, any, error) {
				var n int
				err := pool.QueryRow(ctx, statement).Scan(&n)
				return n > 0, n, err
			}
		}
		testdb.WaitFor(t, "the jobs are declared", 20*time.Second, count("SELECT count(*) FROM scheduler.jobs"))
		_, err = pool.Exec(t.Context(), "SELECT scheduler.run_now($1)", round.job)
		require.NoError(t, err)
		if round.left {
			<-running
		} else {
			testdb.WaitFor(t, "the run", 20*time.Second, count("SELECT count(*) FROM scheduler.runs WHERE status = 'success'"))
		}
		cancel()
		if err := <-done; round.left {
			require.ErrorIs(t, err, scheduler.ErrRunsLeft, name)
		} else {
			require.NoError(t, err, name)
		}
		goleak.VerifyNone(t, before)
		testdb.WaitFor(t, "its connections are gone", 20*time.Second, func(ctx context.Context) (bool, any, error) {
			var n int
			err := pool.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'scheduler%leaver'").Scan(&n)
			return n == 0, n, err
		})
		_, err = pool.Exec(t.Context(), "SELECT scheduler.cancel_run(id) FROM scheduler.runs WHERE status IN ('pending', 'running', 'retrying')")
		require.NoError(t, err)
	}
}
