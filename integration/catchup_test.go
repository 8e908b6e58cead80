package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
)

// afterOutage runs a scheduler, stops it, dates the next run of a job back, as if
// nobody had led since, and starts another one. The job is hourly and due next in
// about half an hour: no tick is new.
func afterOutage(t *testing.T, job scheduler.JobConfig, outage string) *testdb.DB {
	t.Helper()
	db := testdb.New(t, migrated)
	minute := scalar[int](t, db, "SELECT (extract(minute FROM now())::int + 30) % 60")
	if job.Schedule == "" {
		job.Schedule = fmt.Sprintf("%d * * * *", minute)
	}
	config := scheduler.Config{DatabaseURL: db.URL, Jobs: []scheduler.JobConfig{job}}
	stop := runScheduler(t, config)
	waitValue(t, db, waitRun, true, "SELECT next_run IS NOT NULL FROM scheduler.jobs WHERE job_name = $1", job.Name)
	stop()
	exec1(t, db, "UPDATE scheduler.job_definitions SET next_run = next_run - $2::interval WHERE job_name = $1", job.Name, outage)
	exec1(t, db, "CREATE TABLE gap AS SELECT next_run AS first FROM scheduler.jobs WHERE job_name = '"+job.Name+"'")
	runScheduler(t, config)
	waitValue(t, db, waitRun, true, "SELECT next_run > now() FROM scheduler.jobs WHERE job_name = $1", job.Name)
	return db
}

func TestCatchUp(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		job scheduler.JobConfig
		// runs is how many of the 30 missed ticks are run; reason is that of the others.
		runs   int
		reason string
	}{
		"latest":               {scheduler.JobConfig{}, 1, "outage"},
		"latest, too old":      {scheduler.JobConfig{CatchUpMaxAge: 10 * time.Minute}, 0, "catch_up_max_age"},
		"none":                 {scheduler.JobConfig{CatchUp: "none"}, 0, "outage"},
		"all":                  {scheduler.JobConfig{CatchUp: "all"}, 30, ""},
		"all, limited":         {scheduler.JobConfig{CatchUp: "all", CatchUpLimit: 5}, 5, "catch_up_limit"},
		"all, not too old":     {scheduler.JobConfig{CatchUp: "all", CatchUpMaxAge: 3 * time.Hour}, 3, "catch_up_max_age"},
		"all, limited and old": {scheduler.JobConfig{CatchUp: "all", CatchUpLimit: 2, CatchUpMaxAge: 3 * time.Hour}, 2, "catch_up_limit"},
		"all, side by side":    {scheduler.JobConfig{CatchUp: "all", Overlap: "allow"}, 30, ""},
		"all, newest wins":     {scheduler.JobConfig{CatchUp: "all", CatchUpLimit: 4, Overlap: "cancel"}, 4, "catch_up_limit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.job.Name = "yearly_hit"
			// 30 ticks, the next one not among them.
			db := afterOutage(t, test.job, "30 hours")
			waitValue(t, db, waitRun, int64(test.runs), "SELECT count(*) FROM scheduler.job_runs WHERE job_name = 'yearly_hit' AND status = 'success'")
			missed := 30 - test.runs
			rows := 0
			if missed > 0 {
				rows = 1
			}
			// The oldest are missed, as one row; the newest are run, each with its tick.
			const ledger = `SELECT count(*) = $1 AND coalesce(sum(missed_count), 0) = $2 AND coalesce(bool_and(reason = $3
				AND tick = (SELECT first FROM gap) AND last_missed_tick = tick + ($2 - 1) * interval '1 hour'), true)
				FROM scheduler.job_runs WHERE job_name = 'yearly_hit' AND status = 'missed'`
			if !scalar[bool](t, db, ledger, rows, missed, test.reason) {
				t.Errorf("the ledger does not have %d missed ticks in %d rows with the reason %q", missed, rows, test.reason)
			}
			const run = `SELECT count(*) = $1 FROM scheduler.job_runs r JOIN hits h ON h.run_id = r.id AND h.tick = r.tick,
				generate_series((SELECT first FROM gap) + $2 * interval '1 hour', now(), interval '1 hour') due
				WHERE r.tick = due AND r.trigger = 'schedule'`
			if !scalar[bool](t, db, run, test.runs, missed) {
				t.Error("the newest ticks are not those that were run")
			}
			const order = `SELECT count(*) FROM (SELECT started_at < lag(finished_at) OVER (ORDER BY tick) AS early FROM scheduler.job_runs WHERE job_name = 'yearly_hit' AND status = 'success') o WHERE early`
			if n := scalar[int64](t, db, order); n != 0 && test.job.Overlap != "allow" {
				t.Errorf("%d runs began before the one of the tick before had ended", n)
			}
			if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.job_runs WHERE job_name = 'yearly_hit' AND status NOT IN ('success', 'missed')"); n != 0 {
				t.Errorf("%d rows of the ledger are neither run nor missed", n)
			}
		})
	}
}

// A year of seconds is counted, not walked through: were it, this would not end in
// time.
func TestYearOfMissedSeconds(t *testing.T) {
	t.Parallel()
	for name, job := range map[string]scheduler.JobConfig{
		"latest": {CatchUp: "latest"},
		"none":   {CatchUp: "none"},
		"all":    {CatchUp: "all", CatchUpLimit: 10_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job.Name, job.Schedule = "yearly_hit", "* * * * * *"
			db := afterOutage(t, job, "365 days")
			const one = `SELECT count(*) = 1 AND min(missed_count) >= 365 * 86400 - 10000 AND bool_and(extract(epoch FROM last_missed_tick - tick) = missed_count - 1 AND tick = (SELECT first FROM gap))
				FROM scheduler.job_runs WHERE job_name = 'yearly_hit' AND status = 'missed' AND missed_count > 1000`
			if !scalar[bool](t, db, one) {
				t.Error("the year is not one row of missed ticks")
			}
			const waiting = "SELECT count(*) FROM scheduler.job_runs WHERE job_name = 'yearly_hit' AND reason = 'catch_up'"
			if n := scalar[int64](t, db, waiting); name == "all" && n != 10_000 || name != "all" && n != 0 {
				t.Errorf("%d ticks are made up for", n)
			}
		})
	}
}

// A run that is not finished is obeyed by what is made up for.
func TestCatchUpObeysOverlap(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	config := scheduler.Config{DatabaseURL: db.URL, Jobs: []scheduler.JobConfig{
		{Name: "endless", Schedule: "0 0 1 1 *", CatchUp: "all"},
	}}
	stop := runScheduler(t, config)
	waitValue(t, db, waitRun, true, "SELECT next_run IS NOT NULL FROM scheduler.jobs WHERE job_name = 'endless'")
	first := runNow(t, db, "endless")
	waitStatus(t, db, first, "running")
	stop()
	exec1(t, db, "UPDATE scheduler.job_definitions SET next_run = next_run - interval '3 years' WHERE job_name = 'endless'")
	runScheduler(t, config)
	waitValue(t, db, waitRun, int64(3), "SELECT count(*) FROM scheduler.runs WHERE job_name = 'endless' AND status = 'waiting' AND reason = 'made up for, in line'")
	waitStatus(t, db, first, "running")
	// One after the other, oldest first.
	exec1(t, db, "SELECT scheduler.cancel_run($1)", first)
	for range 3 {
		waitValue(t, db, waitRun, int64(1), "SELECT count(*) FROM scheduler.runs WHERE job_name = 'endless' AND status = 'running'")
		if !scalar[bool](t, db, "SELECT tick <= ALL (SELECT tick FROM scheduler.runs WHERE job_name = 'endless' AND status = 'waiting') FROM scheduler.runs WHERE job_name = 'endless' AND status = 'running'") {
			t.Error("an older tick still waits")
		}
		run := scalar[int64](t, db, "SELECT id FROM scheduler.runs WHERE job_name = 'endless' AND status = 'running'")
		exec1(t, db, "SELECT scheduler.cancel_run($1)", run)
	}
	waitValue(t, db, waitRun, int64(4), "SELECT count(*) FROM scheduler.runs WHERE job_name = 'endless' AND status = 'cancelled'")
}

// A database that was restored from yesterday's backup, taken while runs were under
// way: what it holds goes on, what it missed is decided once.
func TestRestoredFromYesterday(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	lost := startReplica(t, db, "lost")
	waitValue(t, db, 30*time.Second, true, "SELECT EXISTS (SELECT FROM hits)")
	running := runNow(t, db, "endless")
	waitStatus(t, db, running, "running")
	oneOff := scalar[int64](t, db, "SELECT scheduler.run_at('yearly_hit', now() + interval '1 hour')")
	cancelled := scalar[int64](t, db, "SELECT scheduler.run_at('yearly_hit', now() + interval '1 hour')")
	exec1(t, db, "SELECT scheduler.cancel_run($1)", cancelled)
	lost.kill()
	for table, columns := range map[string][]string{
		"job_definitions": {"next_run", "last_tick", "plan_from", "created_at", "updated_at"},
		"job_runs":        {"tick", "created_at", "enqueued_at", "started_at", "finished_at"},
		"river_job":       {"created_at", "attempted_at", "scheduled_at", "finalized_at"},
		"leadership":      {"acquired_at"},
	} {
		for _, column := range columns {
			exec1(t, db, fmt.Sprintf("UPDATE scheduler.%s SET %s = %s - interval '1 day'", table, column, column))
		}
	}
	exec1(t, db, "UPDATE hits SET tick = tick - interval '1 day'")
	// River's own arguments hold the ticks, too; of these runs they do not matter.
	begin := scalar[time.Time](t, db, "SELECT min(tick) FROM scheduler.job_runs WHERE job_name = 'each_second'")
	now := scalar[time.Time](t, db, "SELECT clock_timestamp()")

	startReplica(t, db, "found")
	waitValue(t, db, 30*time.Second, true, "SELECT count(*) >= 2 FROM hits WHERE tick > $1", now)
	waitValue(t, db, waitRun, true, "SELECT status = 'running' AND attempt = 2 AND replica_id = 'found' FROM scheduler.runs WHERE id = $1", running)
	waitStatus(t, db, oneOff, "success")
	waitStatus(t, db, cancelled, "cancelled")
	if !scalar[bool](t, db, "SELECT count(*) = 1 AND sum(missed_count) BETWEEN 86300 AND 86410 FROM scheduler.job_runs WHERE job_name = 'each_second' AND missed_count > 10") {
		t.Error("the day that was lost is not one row of missed ticks")
	}
	exec1(t, db, "SELECT scheduler.pause_job('each_second', 'the end')")
	waitValue(t, db, waitRun, int64(0), "SELECT count(*) FROM scheduler.runs WHERE job_name = 'each_second' AND status IN ('pending', 'running', 'retrying')")
	checkTicks(t, db, begin)
}
