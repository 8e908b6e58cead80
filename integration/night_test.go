package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// What somebody asks at three in the morning.
func TestViewsForTheNight(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	stop := runScheduler(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "one", BootstrapJobs: []string{}, Jobs: []scheduler.JobConfig{{Name: "each_second", Schedule: "@yearly"}}})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs WHERE job_name = 'yearly_hit')")

	// What runs, and how far.
	endless := runNow(t, db, "endless")
	waitValue(t, db, waitRun, "endless one 1 1/2 waiting", `SELECT concat_ws(' ', job_name, replica_id, attempt, progress_done || '/' || progress_total, progress_message)
		FROM scheduler.running WHERE run_id = $1 AND running_for > interval '0' AND timeout = interval '1 hour' AND trigger = 'manual'`, endless)

	// What failed last, of each job, and whether it is over.
	waitStatus(t, db, runNow(t, db, "hopeless"), jobs.StatusFailed)
	second := runNow(t, db, "hopeless")
	waitStatus(t, db, second, jobs.StatusFailed)
	waitStatus(t, db, runNow(t, db, "times_out"), jobs.StatusFailed)
	exec1(t, db, `INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, started_at, finished_at)
		VALUES ('times_out', now(), 'manual', 'success', clock_timestamp(), clock_timestamp())`)
	exec1(t, db, "SELECT scheduler.pause_job('hopeless', 'it is')")
	require.Equal(t, []string{"hopeless false true", "times_out true false"},
		listed(t, db, "SELECT concat_ws(' ', job_name, succeeded_since::text, paused::text) FROM scheduler.failures ORDER BY job_name"))
	require.Equal(t, second, scalar[int64](t, db, "SELECT run_id FROM scheduler.failures WHERE job_name = 'hopeless' AND error LIKE '%would not help%'"))

	// Cancelling all of a job's.
	require.Equal(t, int64(1), scalar[int64](t, db, "SELECT scheduler.cancel_runs('endless', 'enough')"))
	waitStatus(t, db, endless, jobs.StatusCancelled)
	require.Zero(t, scalar[int64](t, db, "SELECT scheduler.cancel_runs('endless')"))
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM scheduler.running"))

	// What is late: nobody decides it.
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM scheduler.overdue"))
	stop()
	exec1(t, db, "UPDATE scheduler.job_definitions SET next_run = now() - interval '1 minute' WHERE job_name = 'yearly_hit'")
	require.Equal(t, "yearly_hit 00:01 @yearly false", scalar[string](t, db, "SELECT concat_ws(' ', job_name, to_char(late_by, 'HH24:MI'), schedule, has_leader::text) FROM scheduler.overdue"))

	// What was cleaned each day; not what a dry run would have.
	exec1(t, db, `INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, started_at, finished_at, rows_affected, dry_run)
		SELECT job, now(), 'manual', 'success', day, day + interval '1 minute', rows, dry
		FROM (SELECT date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS today) t CROSS JOIN LATERAL (VALUES
			('a', today, 10, false), ('a', today, 20, false), ('a', today, 70, true), ('b', today, 0, false),
			('a', today - interval '1 day', 5, false), ('a', today - interval '40 days', 7, false)) v (job, day, rows, dry)`)
	require.Equal(t, []string{"0 a 2 30 20 00:02:00", "1 a 1 5 5 00:01:00"}, listed(t, db, `
		SELECT concat_ws(' ', (now() AT TIME ZONE 'UTC')::date - day, job_name, runs, rows_affected, most_rows, duration) FROM scheduler.cleaned_by_day WHERE job_name IN ('a', 'b')`))
}

// Who did what is recorded, by whichever way it was done; what a deployment declares is
// not.
func TestOperationsAreRecorded(t *testing.T) {
	t.Parallel()
	db := declaredDB(t)
	// Another deployment declares other things.
	stop := runScheduler(t, scheduler.Config{DatabaseURL: db.URL, BootstrapJobs: []string{}, Jobs: []scheduler.JobConfig{{Name: "each_second", Schedule: "@monthly"}}})
	waitValue(t, db, waitRun, "@monthly", "SELECT schedule FROM scheduler.scheduled_jobs WHERE job_name = 'each_second'")
	stop()
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM scheduler.operations"))

	operator := connectAs(t, db, roles.Operator)
	for _, call := range []string{
		"SET application_name = 'the test'",
		"SELECT scheduler.pause_job('yearly_hit', 'the disk is full')", "SELECT scheduler.pause_job('yearly_hit', 'again, which changes nothing')",
		"SELECT scheduler.resume_job('yearly_hit')",
		"SELECT scheduler.pause_scheduler('all of it')", "SELECT scheduler.resume_scheduler()",
		"SELECT scheduler.reschedule_job('yearly_hit', '@hourly')",
		"SELECT scheduler.cancel_run(scheduler.run_now('yearly_hit'), 'a mistake')",
		"SELECT scheduler.cancel_run(scheduler.run_at('yearly_hit', now() + interval '1 hour'))",
		"SELECT scheduler.cancel_backfill(scheduler.backfill('yearly_hit', now() - interval '1 hour', now()), 'no need')",
		"SELECT scheduler.end_dry_run('in_rollout')",
	} {
		_, err := operator.conn.Exec(t.Context(), call)
		require.NoError(t, err, call)
	}
	exec1(t, db, "UPDATE scheduler.scheduled_jobs SET overlap = 'queue', enabled = false WHERE job_name = 'yearly_hit'")
	require.Equal(t, []string{
		"pause_job yearly_hit the disk is full", "resume_job yearly_hit", "pause_scheduler all of it", "resume_scheduler",
		"reschedule_job yearly_hit", "run_now yearly_hit", "cancel_run yearly_hit a mistake", "run_at yearly_hit", "cancel_run yearly_hit",
		"backfill yearly_hit", "cancel_backfill yearly_hit no need", "end_dry_run in_rollout", "change_job yearly_hit",
	}, listed(t, db, "SELECT concat_ws(' ', action, job_name, reason) FROM scheduler.operations ORDER BY at"))
	require.Equal(t, []string{"postgres", roles.Operator}, listed(t, db, "SELECT DISTINCT who FROM scheduler.operations ORDER BY who"))
	require.JSONEq(t, `{"enabled": {"to": false, "from": true}, "overlap": {"to": "queue", "from": "skip"}}`,
		scalar[string](t, db, "SELECT details::text FROM scheduler.operations WHERE action = 'change_job'"))
	require.Equal(t, "the test", scalar[string](t, db, "SELECT application FROM scheduler.operations WHERE action = 'pause_job' AND client_addr IS NOT NULL"))

	// Kept for a year.
	exec1(t, db, "UPDATE scheduler.operation_log SET at = at - interval '366 days' WHERE action = 'pause_job'")
	exec1(t, db, "SELECT scheduler.pause_job('yearly_hit', 'once more'), scheduler.resume_job('yearly_hit') FROM generate_series(1, 10)")
	require.Equal(t, "once more", scalar[string](t, db, "SELECT string_agg(DISTINCT reason, ', ') FROM scheduler.operations WHERE action = 'pause_job'"))
}

// The views wait for nobody who writes, and nobody who writes waits for them.
func TestViewsLockNobodyOut(t *testing.T) {
	t.Parallel()
	db := declaredDB(t)
	writer, reader := db.Conn(t), connectAs(t, db, roles.Reader).conn
	for _, lock := range []string{"EXCLUSIVE", "ROW EXCLUSIVE"} {
		err := pgx.BeginFunc(t.Context(), writer, func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), "LOCK TABLE scheduler.job_runs, scheduler.job_definitions, scheduler.river_job, scheduler.leadership IN "+lock+" MODE")
			require.NoError(t, err)
			for _, view := range listed(t, db, viewsQuery) {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				err := pgx.BeginFunc(ctx, reader, func(tx pgx.Tx) error {
					if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '2s'; SELECT count(*) FROM "+view); err != nil {
						return fmt.Errorf("%s: %w", view, err)
					}
					var locks string
					err := tx.QueryRow(ctx, "SELECT coalesce(string_agg(DISTINCT mode, ', '), '') FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND mode <> 'AccessShareLock'").Scan(&locks)
					require.Empty(t, locks, view)
					return err
				})
				require.NoError(t, err)
			}
			return nil
		})
		require.NoError(t, err)
	}
}
