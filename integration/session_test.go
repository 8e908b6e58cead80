package integration

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// What the server's configuration changes is no job's doing, and comes into force on
// connections that are there already.
func TestTheServersConfigurationIsLoadedAnew(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated, testdb.On(testdb.Start(t, testdb.Options{})))
	tells := jobs.Func(jobs.Definition{Name: "tells", Schedule: "@yearly"}, func(ctx context.Context, run *jobs.Run) (result jobs.Result, err error) {
		err = run.Tx.QueryRow(ctx, "SELECT concat_ws(' ', current_setting('work_mem'), pg_backend_pid())").Scan(&result.Message)
		return result, err
	})
	sets := jobs.Func(jobs.Definition{Name: "sets", Schedule: "@yearly"}, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		_, err := run.Tx.Exec(ctx, "SET work_mem = '9MB'")
		return jobs.Result{}, err
	})
	log := &logBuffer{}
	runUntil(t, scheduler.Config{DatabaseURL: db.URL, Registry: registryOf(t, tells, sets), MaxWorkers: 1, Logger: log.logger()})
	told := func() string {
		run := ask(t, db, "tells")
		waitStatus(t, db, run, jobs.StatusSuccess)
		return scalar[string](t, db, "SELECT split_part(details ->> 'message', ' ', 1) FROM scheduler.job_runs WHERE id = $1", run)
	}
	for range 3 {
		require.Equal(t, "4MB", told())
	}
	exec1(t, db, "ALTER SYSTEM SET work_mem = '7MB'")
	exec1(t, db, "SELECT pg_reload_conf()")
	waitValue(t, db, waitRun, "7MB", "SHOW work_mem")
	for range 5 {
		require.Equal(t, "7MB", told())
	}
	require.NotContains(t, log.String(), "the job has changed settings")
	waitStatus(t, db, ask(t, db, "sets"), jobs.StatusSuccess)
	for range 5 {
		require.Equal(t, "7MB", told())
	}
	require.Contains(t, log.String(), "the job has changed settings")
}

// The next attempt at a run whose job does not return may be handed to the same replica,
// and the answer lost: that it is still at the one before does not hide it.
func TestLostHandOutOfAStuckRun(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	until, calls := make(chan struct{}), make(chan int, 10)
	deaf := jobs.Func(jobs.Definition{Name: "deaf", Schedule: "@yearly", MaxAttempts: 5, Timeout: time.Second, BackoffFunc: func(int) time.Duration { return time.Hour }},
		func(_ context.Context, run *jobs.Run) (jobs.Result, error) {
			if calls <- run.Attempt; run.Attempt == 1 {
				<-until
			}
			return jobs.Result{}, nil
		})
	runUntil(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "receiver", Registry: registryOf(t, deaf), MaxWorkers: 2, Logger: discard()})
	t.Cleanup(func() { close(until) })
	run := ask(t, db, "deaf")
	waitStatus(t, db, run, jobs.StatusRetrying)
	exec1(t, db, `UPDATE scheduler.river_job j SET state = 'running', attempt = 2, attempted_at = clock_timestamp() - interval '10 seconds', attempted_by = array_append(attempted_by, 'receiver')
		FROM scheduler.job_runs r WHERE r.id = $1 AND j.id = r.river_job_id`, run)
	exec1(t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'scheduler worker receiver'")
	waitStatus(t, db, run, jobs.StatusSuccess)
	require.Equal(t, 1, <-calls)
	require.Equal(t, 2, <-calls)
}
