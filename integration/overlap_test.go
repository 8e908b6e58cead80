package integration

import (
	"testing"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// overlap runs a scheduler in which some jobs have an overlap policy.
func overlap(t *testing.T, policy jobs.Overlap, names ...string) *testdb.DB {
	t.Helper()
	var config scheduler.Config
	for _, name := range names {
		config.Jobs = append(config.Jobs, scheduler.JobConfig{Name: name, Overlap: policy})
	}
	return started(t, config)
}

func runNow(t *testing.T, db *testdb.DB, job string) int64 {
	t.Helper()
	return scalar[int64](t, db, "SELECT scheduler.run_now($1)", job)
}

func TestOverlapQueue(t *testing.T) {
	t.Parallel()
	db := overlap(t, jobs.OverlapQueue, "endless")
	first := runNow(t, db, "endless")
	waitStatus(t, db, first, jobs.StatusRunning)
	second, third := runNow(t, db, "endless"), runNow(t, db, "endless")
	waitStatus(t, db, third, jobs.StatusSkipped)
	waitStatus(t, db, second, jobs.StatusWaiting)
	exec1(t, db, "SELECT scheduler.cancel_run($1, 'enough')", first)
	waitStatus(t, db, second, jobs.StatusRunning)
	if !scalar[bool](t, db, "SELECT status = 'cancelled' AND reason LIKE 'cancelled by % enough' FROM scheduler.runs WHERE id = $1", first) {
		t.Error("the cancelled run does not say by whom and why")
	}
	fourth := runNow(t, db, "endless")
	waitStatus(t, db, fourth, jobs.StatusWaiting)
	exec1(t, db, "SELECT scheduler.cancel_run($1)", fourth)
	waitStatus(t, db, fourth, jobs.StatusCancelled)
	exec1(t, db, "SELECT scheduler.cancel_run($1)", second)
	refused(t, db, "SC003", "SELECT scheduler.cancel_run(1)", "run 1", "ended")
	refused(t, db, "SC005", "SELECT scheduler.cancel_run(12345)", "12345")
	if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.runs WHERE status NOT IN ('cancelled', 'skipped') AND job_name = 'endless'"); n != 0 {
		t.Errorf("%d runs are left that nobody asked for", n)
	}
}

// Of a job that takes longer than its interval one run works and at most one waits.
func TestOverlapQueueOfTicks(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{Jobs: []scheduler.JobConfig{{Name: "endless", Schedule: "* * * * * *", Overlap: "queue"}}})
	waitValue(t, db, waitRun, true, "SELECT count(*) >= 3 FROM scheduler.runs WHERE job_name = 'endless' AND status = 'skipped' AND reason = 'the run before had not ended'")
	for range 3 {
		if !scalar[bool](t, db, "SELECT count(*) FILTER (WHERE status IN ('pending', 'running')) <= 1 AND count(*) FILTER (WHERE status = 'waiting') <= 1 FROM scheduler.runs WHERE job_name = 'endless'") {
			t.Error("more than one run works, or more than one waits")
		}
		run := scalar[int64](t, db, "SELECT max(id) FROM scheduler.runs WHERE job_name = 'endless' AND status = 'running'")
		next := scalar[int64](t, db, "SELECT id FROM scheduler.runs WHERE job_name = 'endless' AND status = 'waiting'")
		exec1(t, db, "SELECT scheduler.cancel_run($1)", run)
		waitStatus(t, db, next, jobs.StatusRunning)
		waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.runs WHERE job_name = 'endless' AND status = 'waiting')")
	}
}

func TestOverlapAllow(t *testing.T) {
	t.Parallel()
	db := overlap(t, jobs.OverlapAllow, "endless")
	for range 4 {
		runNow(t, db, "endless")
	}
	waitValue(t, db, waitRun, int64(4), "SELECT count(*) FROM scheduler.runs WHERE job_name = 'endless' AND status = 'running'")
}

func TestOverlapCancel(t *testing.T) {
	t.Parallel()
	db := overlap(t, jobs.OverlapCancel, "endless", "sweep")
	runs := make([]int64, 4)
	for i := range runs {
		runs[i] = runNow(t, db, "endless")
		waitStatus(t, db, runs[i], jobs.StatusRunning)
	}
	for _, run := range runs[:3] {
		if !scalar[bool](t, db, "SELECT status = 'cancelled' AND reason = 'a newer run took its place' FROM scheduler.runs WHERE id = $1", run) {
			t.Errorf("run %d does not say that a newer one took its place", run)
		}
	}
	// Asked for at once, the newest is the one that stays.
	exec1(t, db, "SELECT scheduler.run_now('endless') FROM generate_series(1, 20)")
	waitValue(t, db, waitRun, true, "SELECT status = 'running' AND id = (SELECT max(id) FROM scheduler.runs WHERE job_name = 'endless') FROM scheduler.runs WHERE job_name = 'endless' AND status NOT IN ('cancelled', 'skipped')")
}

// A worker that holds its row in one batch after the other is stopped all the same;
// what its committed batches did stays and is counted.
func TestOverlapCancelMidBatches(t *testing.T) {
	t.Parallel()
	db := overlap(t, jobs.OverlapCancel, "sweep")
	exec1(t, db, "INSERT INTO sweep_rows SELECT g FROM generate_series(1, 20000) g")
	var runs []int64
	for range 4 {
		run := runNow(t, db, "sweep")
		waitValue(t, db, waitRun, true, "SELECT status = 'running' AND rows_affected >= 100 FROM scheduler.runs WHERE id = $1", run)
		runs = append(runs, run)
	}
	last := runs[3]
	for _, run := range runs[:3] {
		waitStatus(t, db, run, jobs.StatusCancelled)
		waitValue(t, db, waitRun, "a newer run took its place", "SELECT reason FROM scheduler.runs WHERE id = $1", run)
	}
	exec1(t, db, "SELECT scheduler.cancel_run($1)", last)
	const counts = "SELECT rows_affected = (SELECT count(*) FROM sweep_audit a WHERE a.run_id = r.id) AND rows_affected BETWEEN 100 AND 19999 FROM scheduler.runs r WHERE id = $1"
	for _, run := range runs {
		if !scalar[bool](t, db, counts, run) {
			t.Errorf("run %d: the ledger does not count what the committed batches did", run)
		}
	}
}

func TestOverlapCancelOfTicks(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{Jobs: []scheduler.JobConfig{{Name: "endless", Schedule: "* * * * * *", Overlap: "cancel"}}})
	waitValue(t, db, waitRun, true, "SELECT count(*) >= 4 FROM scheduler.runs WHERE job_name = 'endless' AND status = 'cancelled'")
	if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.runs WHERE job_name = 'endless' AND status NOT IN ('cancelled', 'running', 'pending')"); n != 0 {
		t.Errorf("%d ticks were not run", n)
	}
}

// A run whose replica died is unfinished until it was handed back and has ended.
func TestOverlapKnowsTheDead(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	victim := startReplica(t, db, "victim")
	waitValue(t, db, 30*time.Second, true, "SELECT EXISTS (SELECT FROM scheduler.jobs WHERE job_name = 'endless')")
	first := runNow(t, db, "endless")
	waitStatus(t, db, first, jobs.StatusRunning)
	heir := startReplica(t, db, "heir")
	waitValue(t, db, 30*time.Second, int64(2), "SELECT count(*) FROM scheduler.replicas")
	victim.kill()
	for range 3 {
		waitStatus(t, db, runNow(t, db, "endless"), jobs.StatusSkipped)
	}
	waitValue(t, db, waitRun, true, "SELECT status = 'running' AND replica_id = 'heir' FROM scheduler.runs WHERE id = $1", first)
	waitStatus(t, db, runNow(t, db, "endless"), jobs.StatusSkipped)
	exec1(t, db, "SELECT scheduler.cancel_run($1)", first)
	next := runNow(t, db, "endless")
	waitStatus(t, db, next, jobs.StatusRunning)
	exec1(t, db, "SELECT scheduler.cancel_run($1)", next)
	heir.stop(t)
}
