package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cron"
)

func TestPauseTheScheduler(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	few := &jobs.Registry{}
	if err := few.Add(jobs.Func(jobs.Definition{Name: "each_second", Schedule: "* * * * * *"}, hit), jobs.Func(jobs.Definition{Name: "endless", Schedule: "@yearly"}, endless)); err != nil {
		t.Fatal(err)
	}
	stop := runScheduler(t, scheduler.Config{DatabaseURL: db.URL, Registry: few})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	running := runNow(t, db, "endless")
	waitStatus(t, db, running, jobs.StatusRunning)
	exec1(t, db, "SELECT scheduler.pause_job('endless', 'by itself')")
	refused(t, db, "SC004", "SELECT scheduler.pause_scheduler('')", "reason")
	exec1(t, db, "SELECT scheduler.pause_scheduler('the disk is full')")
	last := scalar[time.Time](t, db, "SELECT max(tick) FROM scheduler.job_runs WHERE trigger = 'schedule'")
	if !scalar[bool](t, db, "SELECT paused_by = current_user AND paused_reason = 'the disk is full' AND paused_at > now() - interval '1 minute' FROM scheduler.scheduler_state") {
		t.Error("scheduler_state does not say that, why and by whom the scheduler is paused")
	}
	if got := scalar[string](t, db, "SELECT string_agg(state || ' ' || paused_reason || ' ' || (next_run IS NULL), ', ' ORDER BY job_name) FROM scheduler.jobs"); got != "paused the disk is full true, paused by itself true" {
		t.Errorf("the jobs are %s", got)
	}
	refused(t, db, "SC003", "SELECT scheduler.run_now('each_second')", "scheduler", "the disk is full", "resume_scheduler")
	refused(t, db, "SC003", "SELECT scheduler.backfill('each_second', now() - interval '1 hour', now())", "scheduler is paused")
	refused(t, db, "SC003", "SELECT scheduler.resume_job('each_second')", "scheduler is paused", "resume_scheduler")
	stop()
	// It outlives the leader, and holds for jobs that come later.
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL})
	waitValue(t, db, waitRun, true, "SELECT count(*) > 5 AND bool_and(state = 'paused' AND next_run IS NULL) FROM scheduler.jobs")
	waitValue(t, db, waitRun, true, "SELECT clock_timestamp() > $1::timestamptz + interval '4 seconds'", last)
	resumed := scalar[time.Time](t, db, "SELECT clock_timestamp() FROM scheduler.resume_scheduler()")
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits WHERE tick > $1)", resumed)
	if n := scalar[int64](t, db, "SELECT count(*) FROM hits WHERE tick > $1 AND tick <= $2", last, resumed); n != 0 {
		t.Errorf("%d ticks of the pause were run", n)
	}
	if got := scalar[string](t, db, "SELECT string_agg(job_name || ' ' || paused_reason, ', ') FROM scheduler.jobs WHERE state = 'paused'"); got != "endless by itself" {
		t.Errorf("after the resumption these are paused: %s", got)
	}
	checkTicks(t, db, scalar[time.Time](t, db, "SELECT min(tick) FROM scheduler.job_runs WHERE job_name = 'each_second'"))
}

func TestPauseCancelsRunning(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{Jobs: []scheduler.JobConfig{{Name: "endless", Overlap: "queue"}}})
	first := runNow(t, db, "endless")
	waitStatus(t, db, first, jobs.StatusRunning)
	second := runNow(t, db, "endless")
	waitStatus(t, db, second, jobs.StatusWaiting)
	later := scalar[int64](t, db, "SELECT scheduler.run_at('endless', now() + interval '1 hour')")
	exec1(t, db, "SELECT scheduler.pause_job('endless', 'just so')")
	waitStatus(t, db, first, jobs.StatusRunning)
	exec1(t, db, "SELECT scheduler.pause_job('endless', 'it does harm', cancel_running => true)")
	for _, run := range []int64{first, second} {
		if got := scalar[string](t, db, "SELECT status || ', ' || reason FROM scheduler.runs WHERE id = $1", run); got != "cancelled, cancelled by postgres: it does harm" {
			t.Errorf("right after the pause run %d is: %s", run, got)
		}
	}
	// What is for later may find the job resumed.
	waitStatus(t, db, later, jobs.StatusScheduled)
	exec1(t, db, "SELECT scheduler.resume_job('endless')")
	third := runNow(t, db, "endless")
	waitStatus(t, db, third, jobs.StatusRunning)
	exec1(t, db, "SELECT scheduler.pause_scheduler('all of it', true)")
	waitStatus(t, db, third, jobs.StatusCancelled)
}

func TestRunAt(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	config := scheduler.Config{DatabaseURL: db.URL}
	stop := runScheduler(t, config)
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs)")
	refused(t, db, "SC004", "SELECT scheduler.run_at('yearly_hit', now() - interval '1 second')", "future", "run_now")
	refused(t, db, "SC004", "SELECT scheduler.run_at('yearly_hit', 'infinity')", "2200")
	refused(t, db, "SC001", "SELECT scheduler.run_at('nobody', now() + interval '1 hour')", "nobody")
	refused(t, db, "SC002", "SELECT scheduler.run_at('yearly_hit', now() + interval '1 hour', '{\"size\": 0}')", "size")

	run := scalar[int64](t, db, `SELECT scheduler.run_at('yearly_hit', clock_timestamp() + interval '2.5 seconds', '{"size": 7}')`)
	never := scalar[int64](t, db, `SELECT scheduler.run_at('yearly_hit', clock_timestamp() + interval '2 seconds')`)
	if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.agenda WHERE run_id IN ($1, $2) AND status = 'scheduled' AND requested_by = current_user AND run_at > now()", run, never); n != 2 {
		t.Errorf("the agenda shows %d of the 2 runs", n)
	}
	exec1(t, db, "SELECT scheduler.cancel_run($1, 'changed my mind')", never)
	waitStatus(t, db, run, jobs.StatusSuccess)
	if !scalar[bool](t, db, "SELECT started_at BETWEEN tick AND tick + interval '400 milliseconds' AND parameters ->> 'size' = '7' FROM scheduler.runs WHERE id = $1", run) {
		t.Error("it did not run at its time, with its parameters")
	}
	// Durable: nobody leads when the time comes.
	late := scalar[int64](t, db, "SELECT scheduler.run_at('yearly_hit', clock_timestamp() + interval '1 second')")
	stop()
	waitValue(t, db, waitRun, true, "SELECT clock_timestamp() > tick + interval '1 second' FROM scheduler.runs WHERE id = $1", late)
	stop = runScheduler(t, config)
	waitStatus(t, db, late, jobs.StatusSuccess)
	stop()
	runScheduler(t, config)
	waitStatus(t, db, runNow(t, db, "fails_once"), jobs.StatusSuccess)
	if n := scalar[int64](t, db, "SELECT count(*) FROM hits WHERE run_id IN ($1, $2, $3)", run, late, never); n != 2 {
		t.Errorf("the runs left %d effects, want one each of the 2 that were not cancelled", n)
	}
}

func TestBackfill(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{Jobs: []scheduler.JobConfig{{Name: "yearly_hit", Schedule: "0 3 * * *", TimeZone: "Europe/Berlin"}}})
	backfill := func(arguments string, args ...any) int64 {
		t.Helper()
		id := scalar[int64](t, db, "SELECT scheduler.backfill('yearly_hit', "+arguments+")", args...)
		waitValue(t, db, waitRun, true, "SELECT status IN ('done', 'refused') FROM scheduler.backfills WHERE id = $1", id)
		return id
	}
	state := func(id int64) string {
		t.Helper()
		return scalar[string](t, db, "SELECT concat_ws(' ', status, runs, left_out, remaining, success, cancelled, error) FROM scheduler.backfills WHERE id = $1", id)
	}
	const march = "'2026-03-27 03:00 Europe/Berlin', '2026-03-31 03:00 Europe/Berlin'"
	expect := func(id int64, want string) {
		t.Helper()
		if got := state(id); got != want {
			t.Errorf("backfill %d is %q, want %q", id, got, want)
		}
	}
	first := backfill(march + ", run_limit => 2")
	expect(first, "done 2 0 3 2 0")
	second := backfill(march)
	expect(second, "done 3 2 0 3 0")
	// Both ends, the change of the clock on the 29th, each with its tick, oldest first.
	const ticks = `SELECT string_agg(to_char(h.tick AT TIME ZONE 'UTC', 'DD HH24:MI'), ', ' ORDER BY h.run_id) FROM hits h JOIN scheduler.runs r ON r.id = h.run_id AND r.tick = h.tick WHERE r.trigger = 'backfill'`
	if got := scalar[string](t, db, ticks); got != "27 02:00, 28 02:00, 29 01:00, 30 01:00, 31 01:00" {
		t.Errorf("the ticks are %s", got)
	}
	if n := scalar[int64](t, db, "SELECT count(*) FROM (SELECT started_at < lag(finished_at) OVER (ORDER BY tick) AS early FROM scheduler.runs WHERE trigger = 'backfill') o WHERE early"); n != 0 {
		t.Errorf("%d runs began before the one before had ended", n)
	}
	expect(backfill(march), "done 0 5 0 0 0")
	expect(backfill(march+", again => true, dry_run => true"), "done 5 0 0 5 0")
	expect(backfill(march+", again => true, parameters => '{\"size\": 3}'"), "done 5 0 0 5 0")
	// A dry run is no success of a real one.
	expect(backfill("'2026-04-01', '2026-04-02', dry_run => true"), "done 1 0 0 1 0")
	expect(backfill("'2026-04-01', '2026-04-02'"), "done 1 0 0 1 0")
	expect(backfill("'2026-04-01 12:00', '2026-04-01 13:00'"), "done 0 0 0 0 0")
	// Nor while it waits.
	id := scalar[int64](t, db, "SELECT max(b) FROM (SELECT scheduler.backfill('yearly_hit', '2026-05-01', '2026-05-21', dry_run => true) UNION ALL SELECT scheduler.backfill('yearly_hit', '2026-05-01', '2026-05-21')) AS both_of (b)")
	waitValue(t, db, waitRun, "done", "SELECT status FROM scheduler.backfills WHERE id = $1", id)
	expect(id, "done 20 0 0 20 0")
	// What is left beyond a limit is what would be run.
	expect(backfill("'2026-05-01', '2026-05-26', run_limit => 2"), "done 2 20 3 2 0")

	for arguments, mention := range map[string]string{
		"now(), now() - interval '1 day'":                  "earlier",
		"now(), now() + interval '1 day'":                  "future",
		"NULL, now()":                                      "no time",
		"'-infinity', now()":                               "1970",
		"now() - interval '1 day', now(), run_limit => 0":  "limit",
		"now() - interval '1 day', now(), run_limit => -1": "limit",
	} {
		refused(t, db, "SC004", "SELECT scheduler.backfill('yearly_hit', "+arguments+")", "yearly_hit", mention)
	}
	exec1(t, db, "SELECT scheduler.reschedule_job('yearly_hit', '* * * * * *')")
	waitValue(t, db, waitRun, true, "SELECT next_run < now() + interval '1 minute' FROM scheduler.jobs WHERE job_name = 'yearly_hit'")
	if got := state(backfill("'2026-04-01 00:00', '2026-04-03 00:00'")); !strings.Contains(got, "refused 0 0 0 0 0") || !strings.Contains(got, "172801 ticks") {
		t.Errorf("the backfill of too many ticks is %q", got)
	}
	if got := state(backfill("'2026-04-01 00:00', '2026-04-01 05:00'")); !strings.Contains(got, "refused 0 0 0 0 0") || !strings.Contains(got, "limit") {
		t.Errorf("the backfill of many ticks without a limit is %q", got)
	}
}

func TestCancelBackfill(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{Jobs: []scheduler.JobConfig{{Name: "endless", Schedule: "0 3 * * *"}}})
	id := scalar[int64](t, db, "SELECT scheduler.backfill('endless', '2026-04-01', '2026-04-11')")
	waitValue(t, db, waitRun, true, "SELECT working = 1 AND waiting = 9 FROM scheduler.backfills WHERE id = $1", id)
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.runs WHERE backfill_id = $1 AND status = 'running')", id)
	refused(t, db, "SC006", "SELECT scheduler.cancel_backfill(77)", "77")
	if n := scalar[int64](t, db, "SELECT scheduler.cancel_backfill($1, 'enough')", id); n != 9 {
		t.Errorf("%d runs were taken back, want 9", n)
	}
	exec1(t, db, "SELECT scheduler.cancel_run(id) FROM scheduler.runs WHERE backfill_id = $1 AND status = 'running'", id)
	waitValue(t, db, waitRun, "cancelled", "SELECT status FROM scheduler.backfills WHERE id = $1 AND cancelled = 10", id)
}

// Whatever changes how often, each second is decided by the schedule that was in
// force when it came, once, or not at all if that had no tick then.
func TestScheduleChangedAllTheTime(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	config := scheduler.Config{DatabaseURL: db.URL, Jobs: []scheduler.JobConfig{{Name: "each_second", Overlap: "allow"}}}
	stops := []func(){runScheduler(t, config), runScheduler(t, config)}
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	texts := []string{"* * * * * *", "*/2 * * * * *", "1-59/2 * * * * *", "*/3 * * * * *", "not a schedule", "@every 1s"}
	type change struct {
		at   time.Time
		text string
	}
	var changes []change
	in := "* * * * * *"
	for i := range 1000 {
		text := texts[(i*7+i/11)%len(texts)]
		exec1(t, db, "UPDATE scheduler.scheduled_jobs SET schedule_override = $1 WHERE job_name = 'each_second'", text)
		at := scalar[time.Time](t, db, "SELECT updated_at FROM scheduler.scheduled_jobs WHERE job_name = 'each_second'")
		if text != "not a schedule" { // the former one stays in force
			in = text
		}
		changes = append(changes, change{at, in})
		if i == 500 {
			stops[0]() // whoever leads
		}
		waitValue(t, db, waitRun, true, "SELECT clock_timestamp() > $1::timestamptz + interval '12 milliseconds'", at)
	}
	// The last changes are planned, and every tick before is decided.
	exec1(t, db, "SELECT scheduler.pause_job('each_second', 'the end')")
	end := scalar[time.Time](t, db, "SELECT updated_at FROM scheduler.scheduled_jobs WHERE job_name = 'each_second'")
	waitValue(t, db, waitRun, int64(0), "SELECT count(*) FROM scheduler.undecided_spans")
	waitValue(t, db, waitRun, int64(0), "SELECT count(*) FROM scheduler.runs WHERE job_name = 'each_second' AND status IN ('pending', 'running')")

	schedules := make(map[string]*cron.Schedule)
	for _, text := range texts {
		if schedule, err := cron.Parse(text, cron.Options{}); err == nil {
			schedules[text] = schedule
		}
	}
	var due, wrong int
	for second := changes[0].at.Truncate(time.Second).Add(time.Second); second.Before(end); second = second.Add(time.Second) {
		text := ""
		for _, c := range changes {
			if c.at.Before(second) {
				text = c.text
			}
		}
		want := int64(0)
		if schedules[text].Next(second.Add(-time.Second)).Equal(second) {
			want, due = 1, due+1
		}
		const decided = "SELECT count(*) FROM scheduler.job_runs WHERE job_name = 'each_second' AND trigger = 'schedule' AND $1 BETWEEN tick AND coalesce(last_missed_tick, tick)"
		if got := scalar[int64](t, db, decided, second); got != want {
			wrong++
			t.Errorf("%v, under %q: decided %d times, want %d", second, text, got, want)
		}
	}
	if due < 5 {
		t.Errorf("only %d seconds were due: the test says little", due)
	}
	t.Logf("%d seconds were due in %d changes over %v; %d wrong; %d runs, %d missed", due, len(changes), end.Sub(changes[0].at).Round(time.Second), wrong,
		scalar[int64](t, db, "SELECT count(*) FROM hits"), scalar[int64](t, db, "SELECT coalesce(sum(missed_count), 0)::bigint FROM scheduler.job_runs WHERE status = 'missed'"))
	if n := scalar[int64](t, db, hitsDoubled); n != 0 {
		t.Errorf("%d ticks ran twice", n)
	}
}

// A bad value is told in problem, and nothing else changes; bad policies and
// parameters are refused at once.
func TestBadValuesBySQL(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{})
	waitValue(t, db, waitRun, true, "SELECT next_run IS NOT NULL FROM scheduler.jobs WHERE job_name = 'yearly_hit'")
	exec1(t, db, "SELECT scheduler.reschedule_job('yearly_hit', '0 4 * * *')")
	waitValue(t, db, waitRun, true, "SELECT next_run < now() + interval '2 days' FROM scheduler.jobs WHERE job_name = 'yearly_hit'")
	for column, value := range map[string]string{"schedule_override": "0 0 31 2 *", "timezone": "Europe/Bärlin"} {
		exec1(t, db, fmt.Sprintf("UPDATE scheduler.scheduled_jobs SET %s = '%s' WHERE job_name = 'yearly_hit'", column, value))
		waitValue(t, db, waitRun, true, "SELECT problem LIKE '%former%' AND schedule = '0 4 * * *' AND timezone = 'UTC' AND extract(hour FROM next_run AT TIME ZONE 'UTC') = 4 FROM scheduler.jobs WHERE job_name = 'yearly_hit'")
		// A pause and a new leader change nothing about it.
		exec1(t, db, "SELECT scheduler.pause_job('yearly_hit', 'x')")
		exec1(t, db, "SELECT scheduler.resume_job('yearly_hit')")
		waitValue(t, db, waitRun, true, "SELECT problem LIKE '%former%' AND schedule = '0 4 * * *' AND timezone = 'UTC' AND extract(hour FROM next_run AT TIME ZONE 'UTC') = 4 FROM scheduler.jobs WHERE job_name = 'yearly_hit'")
		exec1(t, db, "UPDATE scheduler.scheduled_jobs SET schedule_override = '0 4 * * *', timezone = 'UTC' WHERE job_name = 'yearly_hit'")
		waitValue(t, db, waitRun, true, "SELECT problem IS NULL AND next_run IS NOT NULL FROM scheduler.jobs WHERE job_name = 'yearly_hit'")
	}
	// It is told of a job that rests, too.
	exec1(t, db, "SELECT scheduler.pause_job('yearly_hit', 'x')")
	exec1(t, db, "SELECT scheduler.reschedule_job('yearly_hit', 'every other day')")
	waitValue(t, db, waitRun, true, "SELECT state = 'paused' AND next_run IS NULL AND problem LIKE '%every other day%' AND schedule = '0 4 * * *' FROM scheduler.jobs WHERE job_name = 'yearly_hit'")
	exec1(t, db, "SELECT scheduler.reschedule_job('yearly_hit', '0 4 * * *')")
	exec1(t, db, "SELECT scheduler.resume_job('yearly_hit')")
	refused(t, db, "SC002", "UPDATE scheduler.scheduled_jobs SET parameters = '{\"size\": 0}' WHERE job_name = 'yearly_hit'", "size")
	for set, mention := range map[string]string{
		"overlap = 'sometimes'":          "queue",
		"overlap = NULL":                 "queue",
		"catch_up = ''":                  "latest",
		"catch_up_limit = 0":             "10000",
		"catch_up_max_age = '500 years'": "100 years",
		"timeout = '0'":                  "millisecond",
		"timezone = ''":                  "IANA",
	} {
		refused(t, db, "SC002", "UPDATE scheduler.scheduled_jobs SET "+set+" WHERE job_name = 'yearly_hit'", "yearly_hit", mention)
	}
	refused(t, db, "SC004", "UPDATE scheduler.scheduled_jobs SET job_name = 'another' WHERE job_name = 'yearly_hit'", "renamed")
	refused(t, db, "SC004", "DELETE FROM scheduler.scheduled_jobs WHERE job_name = 'yearly_hit'", "registered")
	refused(t, db, "0A000", "UPDATE scheduler.scheduled_jobs SET next_run = now() WHERE job_name = 'yearly_hit'", "next_run")
	refused(t, db, "SC004", "SELECT scheduler.reschedule_job('yearly_hit', ' ')", "yearly")
	exec1(t, db, "SELECT scheduler.reschedule_job('yearly_hit', NULL)")
	waitValue(t, db, waitRun, true, "SELECT schedule = '@yearly' AND next_run = date_trunc('year', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' + interval '1 year' FROM scheduler.jobs WHERE job_name = 'yearly_hit'")
}

// A next run that is no tick, such as one planned by other time zone data, is
// corrected by the next leader before it counts.
func TestNextRunIsVerified(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	config := scheduler.Config{DatabaseURL: db.URL}
	stop := runScheduler(t, config)
	waitValue(t, db, waitRun, true, "SELECT next_run IS NOT NULL FROM scheduler.jobs WHERE job_name = 'yearly_hit'")
	right := scalar[time.Time](t, db, "SELECT next_run FROM scheduler.jobs WHERE job_name = 'yearly_hit'")
	stop()
	exec1(t, db, "UPDATE scheduler.job_definitions SET next_run = next_run + interval '1 hour' WHERE job_name = 'yearly_hit'")
	runScheduler(t, config)
	waitValue(t, db, waitRun, right, "SELECT next_run FROM scheduler.jobs WHERE job_name = 'yearly_hit'")
}

// A change is in force when it is committed: until then the ticks are those of the
// schedule that it replaces.
func TestChangeThatIsNotCommitted(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	begin := scalar[time.Time](t, db, "SELECT max(tick) FROM hits")
	tx, err := db.Conn(t).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Never in force, and so nothing in the ledger: the schedule in between.
	for _, schedule := range []string{"@every 1h", "*/2 * * * * *"} {
		if _, err := tx.Exec(t.Context(), "SELECT scheduler.reschedule_job('each_second', $1)", schedule); err != nil {
			t.Fatal(err)
		}
	}
	waitValue(t, db, waitRun, true, "SELECT clock_timestamp() > $1::timestamptz + interval '4 seconds'", begin)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	committed := scalar[time.Time](t, db, "SELECT updated_at FROM scheduler.scheduled_jobs WHERE job_name = 'each_second'")
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits WHERE tick > $1)", committed)
	const ticks = `SELECT count(*) FROM generate_series($1::timestamptz, $2, interval '1 second') s (second)
		WHERE NOT EXISTS (SELECT FROM scheduler.job_runs r WHERE r.job_name = 'each_second' AND s.second BETWEEN r.tick AND coalesce(r.last_missed_tick, r.tick))`
	if n := scalar[int64](t, db, ticks, begin, committed.Truncate(time.Second)); n != 0 {
		t.Errorf("%d seconds before the commit are not accounted for", n)
	}
	if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.job_runs WHERE job_name = 'each_second' AND tick > $1 AND extract(second FROM tick)::int % 2 = 1", committed); n != 0 {
		t.Errorf("%d odd seconds after the commit were decided", n)
	}
	if n := scalar[int64](t, db, hitsDoubled); n != 0 {
		t.Errorf("%d ticks ran twice", n)
	}
}

// What passes while the configuration disables the scheduler is not made up for, and
// the ledger says why.
func TestDisabledTimeIsMissed(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	config := scheduler.Config{DatabaseURL: db.URL, Jobs: []scheduler.JobConfig{{Name: "each_second", CatchUp: "all"}}}
	stop := runScheduler(t, config)
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	begin := scalar[time.Time](t, db, "SELECT min(tick) FROM scheduler.job_runs WHERE job_name = 'each_second'")
	stop()
	config.Disabled = true
	stop = runScheduler(t, config)
	waitValue(t, db, waitRun, true, "SELECT bool_and(state = 'disabled' AND next_run IS NULL) FROM scheduler.jobs")
	since := scalar[time.Time](t, db, "SELECT disabled_at FROM scheduler.scheduler_state")
	waitValue(t, db, waitRun, true, "SELECT clock_timestamp() > $1::timestamptz + interval '4 seconds'", since)
	stop()
	config.Disabled = false
	runScheduler(t, config)
	waitValue(t, db, waitRun, true, "SELECT count(*) >= 2 FROM hits WHERE tick > $1::timestamptz + interval '4 seconds'", since)
	if !scalar[bool](t, db, "SELECT count(*) >= 1 AND sum(missed_count) BETWEEN 4 AND 12 FROM scheduler.runs WHERE job_name = 'each_second' AND reason LIKE 'the scheduler is disabled%'") {
		t.Error("the ledger does not say that the scheduler was disabled")
	}
	if n := scalar[int64](t, db, "SELECT count(*) FROM hits WHERE tick > $1 AND tick <= $1::timestamptz + interval '4 seconds'", since); n != 0 {
		t.Errorf("%d ticks of the disabled time were run", n)
	}
	checkTicks(t, db, begin)
}

// Whoever holds a job, or one of its runs, holds up that job alone.
func TestOpenTransactionsHoldUpNobodyElse(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	config := scheduler.Config{DatabaseURL: db.URL, Jobs: []scheduler.JobConfig{{Name: "endless", Overlap: "queue"}, {Name: "yearly_hit", Schedule: "0 3 * * *"}}}
	stop := runScheduler(t, config)
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	first := runNow(t, db, "endless")
	waitStatus(t, db, first, jobs.StatusRunning)
	waiting := runNow(t, db, "endless")
	waitStatus(t, db, waiting, jobs.StatusWaiting)
	exec1(t, db, "SELECT scheduler.reschedule_job('sweep', 'rubbish')")
	waitValue(t, db, waitRun, true, "SELECT problem IS NOT NULL FROM scheduler.jobs WHERE job_name = 'sweep'")
	for name, statement := range map[string]string{
		"a run":              fmt.Sprintf("SELECT scheduler.cancel_run(%d)", waiting),
		"a job with problem": "UPDATE scheduler.scheduled_jobs SET schedule_override = '@daily' WHERE job_name = 'sweep'",
		"requests":           "UPDATE scheduler.scheduled_jobs SET dry_run = true WHERE job_name = 'fails_once'",
	} {
		tx, err := db.Conn(t).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
		if name == "a run" {
			exec1(t, db, "UPDATE scheduler.scheduled_jobs SET overlap = 'cancel', schedule_override = '* * * * * *' WHERE job_name = 'endless'")
		}
		if name == "requests" {
			exec1(t, db, "SELECT scheduler.run_now('fails_once') FROM generate_series(1, 600)")
			exec1(t, db, "SELECT scheduler.backfill('fails_once', now() - interval '1 day', now())")
		}
		stop() // and the next leader
		stop = runScheduler(t, config)
		begin := scalar[time.Time](t, db, "SELECT clock_timestamp()")
		waitValue(t, db, waitRun, true, "SELECT count(*) >= 3 FROM hits WHERE tick > $1", begin)
		waitStatus(t, db, runNow(t, db, "yearly_hit"), jobs.StatusSuccess)
		backfill := scalar[int64](t, db, "SELECT scheduler.backfill('yearly_hit', now() - interval '1 day', now(), again => true)")
		waitValue(t, db, waitRun, "done", "SELECT status FROM scheduler.backfills WHERE id = $1", backfill)
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A problem stays until somebody mends it: through a pause and a take-over.
func TestProblemStays(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	config := scheduler.Config{DatabaseURL: db.URL}
	stop := runScheduler(t, config)
	waitValue(t, db, waitRun, true, "SELECT next_run IS NOT NULL FROM scheduler.jobs WHERE job_name = 'yearly_hit'")
	exec1(t, db, "SELECT scheduler.reschedule_job('yearly_hit', 'rubbish')")
	const told = "SELECT problem LIKE '%rubbish%' AND schedule = '@yearly' FROM scheduler.jobs WHERE job_name = 'yearly_hit'"
	waitValue(t, db, waitRun, true, told)
	for _, statement := range []string{"SELECT scheduler.pause_job('yearly_hit', 'x')", "SELECT scheduler.resume_job('yearly_hit')"} {
		stop()
		exec1(t, db, statement)
		if !scalar[bool](t, db, told) {
			t.Errorf("after %s the problem is gone", statement)
		}
		epoch := scalar[int64](t, db, "SELECT epoch FROM scheduler.leadership")
		stop = runScheduler(t, config)
		waitValue(t, db, waitRun, true, "SELECT epoch > $1 AND NOT EXISTS (SELECT FROM scheduler.undecided_spans) FROM scheduler.leader", epoch)
		if !scalar[bool](t, db, told) {
			t.Error("after a take-over the problem is gone")
		}
	}
	waitValue(t, db, waitRun, true, "SELECT next_run IS NOT NULL FROM scheduler.jobs WHERE job_name = 'yearly_hit'")
}
