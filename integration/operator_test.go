package integration

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

const waitRun = 20 * time.Second

// started is a database with one replica on it.
func started(t *testing.T, config scheduler.Config) *testdb.DB {
	t.Helper()
	db := testdb.New(t, migrated)
	config.DatabaseURL = db.URL
	runScheduler(t, config)
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs) AND EXISTS (SELECT FROM scheduler.leader)")
	return db
}

func waitStatus(t *testing.T, db *testdb.DB, run int64, want jobs.Status) {
	t.Helper()
	waitValue(t, db, waitRun, string(want), "SELECT status FROM scheduler.runs WHERE id = $1", run)
}

func TestRunNowBySQL(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{})
	run := scalar[int64](t, db, `SELECT scheduler.run_now('yearly_hit', '{"size": 7}')`)
	waitStatus(t, db, run, jobs.StatusSuccess)
	if got := scalar[string](t, db, "SELECT parameters ->> 'size' || (parameters ->> 'mode') FROM scheduler.runs WHERE id = $1", run); got != "7fast" {
		t.Errorf("the run has the parameters %q, want those asked for over the defaults", got)
	}
	if n := scalar[int64](t, db, "SELECT count(*) FROM hits WHERE run_id = $1", run); n != 1 {
		t.Errorf("the run left %d effects, want 1", n)
	}
	const columns = `SELECT last_status = 'success' AND last_run IS NOT NULL AND last_error IS NULL AND run_count = 1 AND next_run > now()
		FROM scheduler.scheduled_jobs WHERE job_name = 'yearly_hit'`
	if !scalar[bool](t, db, columns) {
		t.Error("scheduled_jobs does not say what happened")
	}
}

// refused asserts that a statement fails with a SQLSTATE and names things.
func refused(t *testing.T, db *testdb.DB, code, statement string, mentions ...string) {
	t.Helper()
	_, err := db.Pool(t).Exec(t.Context(), statement)
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != code {
		t.Errorf("%s: got %v, want SQLSTATE %s", statement, err, code)
		return
	}
	for _, mention := range mentions {
		if !strings.Contains(pgErr.Message+pgErr.Hint, mention) {
			t.Errorf("%s: %q (hint %q) does not mention %q", statement, pgErr.Message, pgErr.Hint, mention)
		}
	}
}

func TestRunNowRefusesBadParameters(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{})
	refused(t, db, "SC001", `SELECT scheduler.run_now('nobody')`, "nobody", "yearly_hit")
	for parameters, mention := range map[string]string{
		`{"sice": 1}`:         "sice",
		`{"size": "1"}`:       "size",
		`{"size": 0}`:         "size",
		`{"size": -3}`:        "size",
		`{"size": 1.5}`:       "size",
		`{"size": 101}`:       "100",
		`{"size": null}`:      "size",
		`{"mode": "medium"}`:  "fast",
		`{"mode": 1}`:         "mode",
		`{"names": "a"}`:      "names",
		`{"names": ["a", 1]}`: "names",
		`{"wait": "soon"}`:    "wait",
		`{"wait": 5}`:         "wait",
		`{"hard": "yes"}`:     "hard",
		`[1]`:                 "object",
		`"x"`:                 "object",
	} {
		refused(t, db, "SC002", `SELECT scheduler.run_now('yearly_hit', '`+parameters+`')`, "yearly_hit", mention)
	}
	if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.job_runs WHERE job_name = 'yearly_hit'"); n != 0 {
		t.Errorf("refused runs left %d rows", n)
	}
	// What only Go can judge, the leader refuses, before anything is enqueued.
	run := scalar[int64](t, db, `SELECT scheduler.run_now('yearly_hit', '{"wait": "0s"}')`)
	waitStatus(t, db, run, jobs.StatusFailed)
	if !scalar[bool](t, db, "SELECT river_job_id IS NULL AND error LIKE '%wait%' FROM scheduler.runs WHERE id = $1", run) {
		t.Error("the leader's refusal does not name the parameter, or a job was enqueued")
	}
}

func TestPauseAndResumeBySQL(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	refused(t, db, "SC004", "SELECT scheduler.pause_job('each_second', ' ')", "reason")
	exec1(t, db, "SELECT scheduler.pause_job('each_second', 'the disk is full')")
	if !scalar[bool](t, db, `SELECT state = 'paused' AND paused_by = current_user AND paused_reason = 'the disk is full' AND next_run IS NULL
		FROM scheduler.jobs WHERE job_name = 'each_second'`) {
		t.Error("the view jobs does not say that, why and by whom the job is paused")
	}
	refused(t, db, "SC003", "SELECT scheduler.run_now('each_second')", "paused", "the disk is full", "resume_job")
	waitValue(t, db, waitRun, int64(0), "SELECT count(*) FROM scheduler.job_runs WHERE status IN ('pending', 'running')")
	last := scalar[time.Time](t, db, "SELECT max(tick) FROM scheduler.job_runs")
	waitValue(t, db, waitRun, true, "SELECT clock_timestamp() > $1::timestamptz + interval '4 seconds'", last)
	if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.job_runs WHERE tick > $1", last); n != 0 {
		t.Errorf("%d ticks were decided while the job was paused", n)
	}
	resumed := scalar[time.Time](t, db, "SELECT clock_timestamp() FROM scheduler.resume_job('each_second')")
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits WHERE tick > $1)", resumed)
	if n := scalar[int64](t, db, "SELECT count(*) FROM hits WHERE tick > $1 AND tick <= $2", last, resumed); n != 0 {
		t.Errorf("%d ticks of the pause were made up for", n)
	}
	const accounted = `SELECT count(*) = 1 AND bool_and(status = 'missed' AND reason = 'the job was paused' AND missed_count BETWEEN 4 AND 20
		AND extract(epoch FROM last_missed_tick - tick) = missed_count - 1) FROM scheduler.runs WHERE tick > $1 AND tick <= $2`
	if !scalar[bool](t, db, accounted, last, resumed) {
		t.Error("the ticks of the pause are not one row of missed ones")
	}
}

func TestOverlapIsSkipped(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{})
	first := scalar[int64](t, db, "SELECT scheduler.run_now('endless')")
	waitStatus(t, db, first, jobs.StatusRunning)
	second := scalar[int64](t, db, "SELECT scheduler.run_now('endless')")
	waitStatus(t, db, second, jobs.StatusSkipped)
	if got := scalar[string](t, db, "SELECT reason FROM scheduler.runs WHERE id = $1", second); got != "the run before had not ended" {
		t.Errorf("the reason is %q", got)
	}
	waitValue(t, db, waitRun, true, "SELECT details -> 'progress' ->> 'total' = '2' FROM scheduler.job_runs WHERE id = $1", first)
}

func TestCancelByRiversRow(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{})
	run := scalar[int64](t, db, "SELECT scheduler.run_now('endless')")
	waitStatus(t, db, run, jobs.StatusRunning)
	exec1(t, db, "UPDATE scheduler.river_job SET state = 'cancelled', finalized_at = now() WHERE id = (SELECT river_job_id FROM scheduler.runs WHERE id = $1)", run)
	// In the same transaction.
	if got := scalar[string](t, db, "SELECT status FROM scheduler.runs WHERE id = $1", run); got != "cancelled" {
		t.Errorf("the ledger says %q right after the cancellation", got)
	}
	// The work stops, too: the next run is not skipped, and its predecessor's
	// effect is gone.
	next := scalar[int64](t, db, "SELECT scheduler.run_now('endless')")
	waitStatus(t, db, next, jobs.StatusRunning)
	exec1(t, db, "DELETE FROM scheduler.river_job WHERE state <> 'running'")
	if got := scalar[string](t, db, "SELECT status FROM scheduler.runs WHERE id = $1", run); got != "cancelled" {
		t.Errorf("the ledger says %q after River's row was deleted", got)
	}
	if n := scalar[int64](t, db, "SELECT count(*) FROM hits WHERE run_id = $1", run); n != 0 {
		t.Errorf("the cancelled run left %d effects", n)
	}
}

func TestAttemptsAndTheirEnds(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{})
	for name, want := range map[string]struct {
		status  jobs.Status
		attempt int
		err     string
		hits    int64
	}{
		"fails_once": {jobs.StatusSuccess, 2, "the first attempt fails", 1},
		"panics":     {jobs.StatusFailed, 2, "panic: attempt 2 went wrong", 0},
		"hopeless":   {jobs.StatusFailed, 1, "another attempt would not help", 0},
		"times_out":  {jobs.StatusFailed, 1, "timed out after 300ms", 0},
		"needs_app":  {jobs.StatusFailed, 1, "application value", 0},
	} {
		t.Run(name, func(t *testing.T) {
			run := scalar[int64](t, db, "SELECT scheduler.run_now($1)", name)
			waitStatus(t, db, run, want.status)
			type row struct {
				attempt int
				err     string
				hits    int64
			}
			var got row
			err := db.Pool(t).QueryRow(t.Context(), "SELECT attempt, error, (SELECT count(*) FROM hits WHERE run_id = $1) FROM scheduler.runs WHERE id = $1", run).
				Scan(&got.attempt, &got.err, &got.hits)
			if err != nil {
				t.Fatal(err)
			}
			if got.attempt != want.attempt || !strings.Contains(got.err, want.err) || got.hits != want.hits {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if name == "panics" && !strings.Contains(got.err, "replica_test.go") {
				t.Errorf("the error lacks the panic's stack: %s", got.err)
			}
		})
	}
}

func TestAppReachesTheJob(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{App: time.Minute})
	run := scalar[int64](t, db, "SELECT scheduler.run_now('needs_app')")
	waitStatus(t, db, run, jobs.StatusSuccess)
	if got := scalar[string](t, db, "SELECT message FROM scheduler.runs WHERE id = $1", run); got != "1m0s" {
		t.Errorf("the job got %q of its application", got)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{})
	exec1(t, db, "INSERT INTO sweep_rows SELECT g FROM generate_series(1, 100) g")
	for _, job := range []string{"yearly_hit", "sweep"} {
		run := scalar[int64](t, db, "SELECT scheduler.run_now($1, dry_run => true)", job)
		waitStatus(t, db, run, jobs.StatusSuccess)
		if !scalar[bool](t, db, "SELECT dry_run AND rows_affected IN (1, 100) FROM scheduler.runs WHERE id = $1", run) {
			t.Errorf("%s: the dry run does not report what would be affected", job)
		}
	}
	if n := scalar[int64](t, db, "SELECT (SELECT count(*) FROM hits JOIN scheduler.runs r ON r.id = run_id WHERE r.dry_run) + (SELECT count(*) FROM sweep_rows WHERE swept_by IS NOT NULL)"); n != 0 {
		t.Errorf("dry runs changed %d rows", n)
	}
}

func TestBootstrapJobsRunOnceAFleet(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	config := scheduler.Config{DatabaseURL: db.URL, BootstrapJobs: []string{"yearly_hit"}}
	first := runScheduler(t, config)
	waitValue(t, db, waitRun, int64(1), "SELECT count(*) FROM scheduler.runs WHERE trigger = 'bootstrap' AND status = 'success'")
	second := runScheduler(t, config)
	waitValue(t, db, waitRun, int64(2), "SELECT count(*) FROM scheduler.replicas")
	// The second takes over: the fleet goes on, nothing is run again.
	first()
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.leader)")
	run := scalar[int64](t, db, "SELECT scheduler.run_now('fails_once')")
	waitStatus(t, db, run, jobs.StatusSuccess)
	if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.runs WHERE trigger = 'bootstrap'"); n != 1 {
		t.Errorf("after a take-over there are %d bootstrap runs, want 1", n)
	}
	second()
	waitValue(t, db, waitRun, int64(0), "SELECT count(*) FROM scheduler.replicas")
	third := runScheduler(t, config)
	waitValue(t, db, waitRun, int64(2), "SELECT count(*) FROM scheduler.runs WHERE trigger = 'bootstrap' AND status = 'success'")
	third()
}

func TestPlainSQLSteersTheSchedule(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{})
	exec1(t, db, "UPDATE scheduler.scheduled_jobs SET schedule_override = '* * * * * *' WHERE job_name = 'yearly_hit'")
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.runs WHERE job_name = 'yearly_hit' AND trigger = 'schedule' AND status = 'success')")
	exec1(t, db, "UPDATE scheduler.scheduled_jobs SET schedule_override = 'every now and then' WHERE job_name = 'yearly_hit'")
	waitValue(t, db, waitRun, true, "SELECT problem LIKE '%every now and then%' AND schedule = '* * * * * *' AND next_run > now() - interval '1 second' FROM scheduler.jobs WHERE job_name = 'yearly_hit'")
	set := scalar[time.Time](t, db, "SELECT updated_at FROM scheduler.scheduled_jobs WHERE job_name = 'yearly_hit'")
	waitValue(t, db, waitRun, true, "SELECT count(*) >= 2 FROM scheduler.runs WHERE job_name = 'yearly_hit' AND trigger = 'schedule' AND status = 'success' AND tick > $1", set)
	if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.runs WHERE status = 'missed'"); n != 0 {
		t.Errorf("the former schedule did not stay in force: %d rows of missed ticks", n)
	}
	exec1(t, db, "UPDATE scheduler.scheduled_jobs SET enabled = false WHERE job_name = 'each_second'")
	if got := scalar[string](t, db, "SELECT state || coalesce(next_run::text, '') FROM scheduler.jobs WHERE job_name = 'each_second'"); got != "disabled" {
		t.Errorf("a disabled job is shown as %q", got)
	}
}

// An operator's open transaction on one job holds up neither the other jobs nor
// the next leader.
func TestLockedJobHoldsUpNobody(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	stop := runScheduler(t, scheduler.Config{DatabaseURL: db.URL})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	tx, err := db.Conn(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var run int64
	err = tx.QueryRow(t.Context(), "UPDATE scheduler.scheduled_jobs SET dry_run = true WHERE job_name = 'yearly_hit' RETURNING id").Scan(&run)
	if err != nil {
		t.Fatal(err)
	}
	blocked := scalar[int64](t, db, "SELECT scheduler.run_now('yearly_hit')")
	other := scalar[int64](t, db, "SELECT scheduler.run_now('fails_once')")
	waitStatus(t, db, other, jobs.StatusSuccess)
	stop()
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL})
	begin := scalar[time.Time](t, db, "SELECT clock_timestamp()")
	waitValue(t, db, waitRun, true, "SELECT count(*) >= 3 FROM hits WHERE tick > $1", begin)
	if got := scalar[string](t, db, "SELECT status FROM scheduler.runs WHERE id = $1", blocked); got != "requested" {
		t.Errorf("the run of the locked job is %q, want that it waits", got)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, db, blocked, jobs.StatusSuccess)
}

// A change by SQL outlives a take-over; a deployment that declares something else
// is in force; operators' settings are never overwritten; a job whose code is gone
// is kept and not enqueued.
func TestWhoDecidesWhat(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	stop := runScheduler(t, scheduler.Config{DatabaseURL: db.URL})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	exec1(t, db, "UPDATE scheduler.scheduled_jobs SET parameters = '{\"size\": 9}', schedule_override = '@weekly' WHERE job_name = 'yearly_hit'")
	exec1(t, db, "SELECT scheduler.pause_job('sweep', 'not now')")
	stop()
	epoch := scalar[int64](t, db, "SELECT epoch FROM scheduler.leadership")
	stop = runScheduler(t, scheduler.Config{DatabaseURL: db.URL})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.leader WHERE epoch > $1)", epoch)
	run := scalar[int64](t, db, "SELECT scheduler.run_now('yearly_hit')")
	waitStatus(t, db, run, jobs.StatusSuccess)
	if got := scalar[string](t, db, "SELECT parameters ->> 'size' FROM scheduler.runs WHERE id = $1", run); got != "9" {
		t.Errorf("after a take-over the parameter is %s, want what was set by SQL", got)
	}
	stop()
	stop = runScheduler(t, scheduler.Config{DatabaseURL: db.URL, Jobs: []scheduler.JobConfig{
		{Name: "yearly_hit", Schedule: "@monthly", Parameters: map[string]any{"size": 4}},
	}})
	waitValue(t, db, waitRun, "@weekly", "SELECT schedule FROM scheduler.jobs WHERE job_name = 'yearly_hit' AND parameters = '{\"size\": 4}'")
	if got := scalar[string](t, db, "SELECT state FROM scheduler.jobs WHERE job_name = 'sweep'"); got != "paused" {
		t.Errorf("after a deployment the paused job is %s", got)
	}
	stop()
	few := &jobs.Registry{}
	if err := few.Add(sweep{}); err != nil {
		t.Fatal(err)
	}
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, Registry: few})
	waitValue(t, db, waitRun, "unregistered", "SELECT state FROM scheduler.jobs WHERE job_name = 'each_second' AND next_run IS NULL AND run_count > 0")
	refused(t, db, "SC003", "SELECT scheduler.run_now('each_second')", "registered")
}

func TestDisabledSchedulerEnqueuesNothing(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{Disabled: true})
	run := scalar[int64](t, db, "SELECT scheduler.run_now('yearly_hit')")
	waitStatus(t, db, run, jobs.StatusSkipped)
	if got := scalar[string](t, db, "SELECT reason FROM scheduler.runs WHERE id = $1", run); got != "the scheduler is disabled by its configuration" {
		t.Errorf("the reason is %q", got)
	}
	if n := scalar[int64](t, db, "SELECT (SELECT count(*) FROM scheduler.river_job) + (SELECT count(*) FROM scheduler.jobs WHERE next_run IS NOT NULL)"); n != 0 {
		t.Errorf("%d jobs were enqueued or planned", n)
	}
}
