package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// crowd is how many jobs are due in the same second.
const crowd = 10_000

// Ten thousand schedules are due in one second, with every policy, a quarter of them
// while a run of theirs is unfinished: each is decided once, by its policy.
func TestCrowdInOneSecond(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	registry := &jobs.Registry{}
	if err := registry.Add(jobs.Func(jobs.Definition{Name: "endless", Schedule: "@yearly"}, endless)); err != nil {
		t.Fatal(err)
	}
	overlaps, catchUps := jobs.Overlaps(), jobs.CatchUps()
	for i := range crowd {
		err := registry.Add(jobs.Func(jobs.Definition{
			Name: fmt.Sprintf("crowd_%d", i), Schedule: "@yearly",
			Overlap: overlaps[i%len(overlaps)], CatchUp: catchUps[i%len(catchUps)],
		}, func(context.Context, *jobs.Run) (jobs.Result, error) { return jobs.Result{}, nil }))
		if err != nil {
			t.Fatal(err)
		}
	}
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, Registry: registry, MaxWorkers: 1})
	waitValue(t, db, 60*time.Second, true, "SELECT count(*) = $1 FROM scheduler.jobs WHERE next_run IS NOT NULL", crowd+1)
	// The only worker is busy: what is enqueued stays unfinished.
	waitStatus(t, db, runNow(t, db, "endless"), jobs.StatusRunning)
	exec1(t, db, "SELECT scheduler.run_now(job_name) FROM scheduler.jobs WHERE job_name LIKE 'crowd%' AND substr(job_name, 7)::int % 16 < 4")
	waitValue(t, db, 60*time.Second, int64(crowd/4), "SELECT count(*) FROM scheduler.job_runs WHERE status = 'pending'")

	tick := scalar[time.Time](t, db, "SELECT date_trunc('second', clock_timestamp()) + interval '25 seconds'") // the UPDATE of ten thousand jobs and their plan take a while
	exec1(t, db, fmt.Sprintf("UPDATE scheduler.scheduled_jobs SET schedule_override = '%d * * * * *' WHERE job_name LIKE 'crowd%%'", tick.Second()))
	waitValue(t, db, 60*time.Second, int64(crowd), "SELECT count(*) FROM scheduler.job_runs WHERE tick = $1 AND trigger = 'schedule'", tick)
	exec1(t, db, "SELECT scheduler.pause_scheduler('seen enough')")

	const outcome = `SELECT string_agg(o, ', ' ORDER BY o) FROM (
		SELECT d.overlap || ' ' || CASE WHEN substr(r.job_name, 7)::int % 16 < 4 THEN 'busy ' ELSE '' END || r.status || ' ' || coalesce(r.reason, '') || ' ' || count(*)
		FROM scheduler.job_runs r JOIN scheduler.job_definitions d USING (job_name)
		WHERE r.tick = $1 AND r.trigger = 'schedule' GROUP BY d.overlap, substr(r.job_name, 7)::int % 16 < 4, r.status, r.reason) o (o)`
	const want = "allow busy pending  625, allow pending  1875, cancel busy pending  625, cancel pending  1875, " +
		"queue busy waiting queued 625, queue pending  1875, skip busy skipped overlap 625, skip pending  1875"
	if got := scalar[string](t, db, outcome, tick); got != want {
		t.Errorf("the outcomes are\n%s\nwant\n%s", got, want)
	}
	const others = `SELECT string_agg(o, ', ' ORDER BY o) FROM (
		SELECT d.overlap || ' ' || r.status || ' ' || coalesce(r.reason, '') || ' ' || count(*)
		FROM scheduler.job_runs r JOIN scheduler.job_definitions d USING (job_name)
		WHERE r.trigger = 'manual' AND r.job_name <> 'endless' GROUP BY d.overlap, r.status, r.reason) o (o)`
	if got, want := scalar[string](t, db, others), "allow pending  625, cancel cancelled superseded 625, queue pending  625, skip pending  625"; got != want {
		t.Errorf("the runs before are %s, want %s", got, want)
	}
	if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.job_runs r JOIN scheduler.river_job j ON j.id = r.river_job_id WHERE (r.status = 'pending') <> (j.state = 'available') AND r.job_name <> 'endless'"); n != 0 {
		t.Errorf("%d rows of the ledger differ from River's", n)
	}
	t.Logf("the last of %d was decided %v after the tick", crowd, scalar[time.Duration](t, db, "SELECT max(created_at) - $1 FROM scheduler.job_runs WHERE tick = $1", tick).Round(time.Millisecond))
}
