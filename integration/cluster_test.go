package integration

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/integration/testdb"
)

// ticksDecided counts the seconds since a time that each_second's ledger covers
// not at all, or more than once.
const ticksUndecided = `
WITH bounds AS (
    SELECT min(tick) AS lo, max(coalesce(last_missed_tick, tick)) AS hi
    FROM scheduler.job_runs WHERE job_name = 'each_second' AND trigger = 'schedule' AND tick >= $1
), seconds AS (
    SELECT generate_series(lo, hi, interval '1 second') AS second FROM bounds
)
SELECT count(*) FROM seconds
WHERE 1 <> (SELECT count(*) FROM scheduler.job_runs r
            WHERE r.job_name = 'each_second' AND r.trigger = 'schedule'
              AND seconds.second BETWEEN r.tick AND coalesce(r.last_missed_tick, r.tick))`

const hitsDoubled = `SELECT count(*) FROM (SELECT tick FROM hits GROUP BY tick HAVING count(*) > 1) d`

// hitsUnlikeLedger counts successes without their effect and effects without
// their success.
const hitsUnlikeLedger = `
SELECT count(*) FROM scheduler.job_runs r FULL JOIN hits h ON h.run_id = r.id
WHERE (r.status = 'success' AND r.job_name = 'each_second') IS DISTINCT FROM (h.run_id IS NOT NULL)
  AND (r.job_name IS NULL OR r.job_name = 'each_second')`

// checkTicks looks for ticks of each_second that were lost or doubled.
func checkTicks(t *testing.T, db *testdb.DB, begin time.Time) {
	t.Helper()
	if n := scalar[int64](t, db, ticksUndecided, begin); n != 0 {
		t.Errorf("%d seconds are not decided exactly once", n)
	}
	if n := scalar[int64](t, db, hitsDoubled); n != 0 {
		t.Errorf("%d ticks ran twice", n)
	}
	if n := scalar[int64](t, db, hitsUnlikeLedger); n != 0 {
		t.Errorf("the ledger and the effects differ in %d runs", n)
	}
}

// watchLeaders looks at pg_locks until stop is called, which returns the highest
// number of leaders seen at any moment and how often it looked.
func watchLeaders(t *testing.T, db *testdb.DB) (stop func() (most, looks int)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var most, looks int
	var failure error
	wg.Go(func() {
		conn, err := pgx.Connect(ctx, db.URL)
		if err != nil {
			failure = err
			return
		}
		defer func() { failure = errors.Join(failure, conn.Close(context.WithoutCancel(ctx))) }()
		for ctx.Err() == nil {
			var n int
			err := conn.QueryRow(context.WithoutCancel(ctx), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 7235001 AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())").Scan(&n)
			if err != nil {
				failure = err
				return
			}
			most, looks = max(most, n), looks+1
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	return func() (int, int) {
		cancel()
		wg.Wait()
		if failure != nil {
			t.Errorf("watching the leaders: %v", failure)
		}
		return most, looks
	}
}

func TestTenReplicasRunEachSecondOnce(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	replicas := make([]*replica, 10)
	for i := range replicas {
		replicas[i] = startReplica(t, db, fmt.Sprintf("ten-%d", i))
	}
	waitValue(t, db, 30*time.Second, int64(10), "SELECT count(*) FROM scheduler.replicas")
	stop := watchLeaders(t, db)
	begin := scalar[time.Time](t, db, "SELECT date_trunc('second', clock_timestamp()) + interval '1 second'")
	waitValue(t, db, 60*time.Second, true, "SELECT count(*) >= 15 FROM scheduler.job_runs WHERE job_name = 'each_second' AND tick >= $1 AND status = 'success'", begin)
	most, looks := stop()
	if most != 1 || looks < 100 {
		t.Errorf("saw up to %d leaders at once in %d looks, want 1", most, looks)
	}
	for _, r := range replicas {
		r.stop(t)
	}
	checkTicks(t, db, begin)
	if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.job_runs WHERE status IN ('running', 'requested')"); n != 0 {
		t.Errorf("%d runs are left behind by replicas that left in peace", n)
	}
}

func TestKilledLeaders(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	replicas := make(map[string]*replica)
	for i := range 3 {
		id := fmt.Sprintf("mortal-%d", i)
		replicas[id] = startReplica(t, db, id)
	}
	waitValue(t, db, 30*time.Second, int64(3), "SELECT count(*) FROM scheduler.replicas")
	waitValue(t, db, 30*time.Second, true, "SELECT EXISTS (SELECT FROM scheduler.job_runs WHERE status = 'success')")
	begin := scalar[time.Time](t, db, "SELECT min(tick) FROM scheduler.job_runs")
	stop := watchLeaders(t, db)
	for i := range 4 {
		old := scalar[string](t, db, "SELECT replica_id FROM scheduler.leader")
		epoch := scalar[int64](t, db, "SELECT epoch FROM scheduler.leadership")
		replicas[old].kill()
		delete(replicas, old)
		waitValue(t, db, 10*time.Second, true, "SELECT EXISTS (SELECT FROM scheduler.leader WHERE epoch > $1)", epoch)
		waitValue(t, db, 10*time.Second, true, "SELECT EXISTS (SELECT FROM scheduler.job_runs WHERE leader_epoch > $1)", epoch)
		id := fmt.Sprintf("heir-%d", i)
		replicas[id] = startReplica(t, db, id)
		waitValue(t, db, 30*time.Second, int64(3), "SELECT count(*) FROM scheduler.replicas")
	}
	most, _ := stop()
	if most != 1 {
		t.Errorf("saw up to %d leaders at once, want 1", most)
	}
	// What a dead replica was working on goes on elsewhere.
	waitValue(t, db, 15*time.Second, int64(0), "SELECT count(*) FROM scheduler.job_runs WHERE status IN ('pending', 'running', 'retrying') AND tick < clock_timestamp() - interval '5 seconds'")
	for _, r := range replicas {
		r.stop(t)
	}
	checkTicks(t, db, begin)
}

// A frozen replica holds up nobody, and changes nothing when it wakes.
func TestFrozenWorkerMidBatch(t *testing.T) {
	t.Parallel()
	const total = 3000
	db := testdb.New(t, migrated)
	exec1(t, db, "INSERT INTO sweep_rows SELECT g FROM generate_series(1, $1::bigint) g", total)
	replicas := map[string]*replica{"ice-0": startReplica(t, db, "ice-0"), "ice-1": startReplica(t, db, "ice-1")}
	waitValue(t, db, 30*time.Second, int64(2), "SELECT count(*) FROM scheduler.replicas")
	waitValue(t, db, 30*time.Second, true, "SELECT EXISTS (SELECT FROM scheduler.jobs WHERE job_name = 'sweep')")
	run := scalar[int64](t, db, "SELECT scheduler.run_now('sweep')")
	waitValue(t, db, 30*time.Second, true, "SELECT status = 'running' AND rows_affected >= 200 FROM scheduler.job_runs WHERE id = $1", run)
	frozen := replicas[scalar[string](t, db, "SELECT replica_id FROM scheduler.job_runs WHERE id = $1", run)]
	if err := frozen.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	waitValue(t, db, 30*time.Second, true,
		"SELECT replica_id <> $2 AND status IN ('running', 'success') FROM scheduler.job_runs WHERE id = $1", run, frozen.ID)
	t.Logf("another replica went on after %v", time.Since(begin).Round(time.Millisecond))
	if err := frozen.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	waitValue(t, db, 60*time.Second, "success", "SELECT status FROM scheduler.job_runs WHERE id = $1", run)
	waitValue(t, db, 30*time.Second, int64(2), "SELECT count(*) FROM scheduler.replicas")
	counted := scalar[int64](t, db, "SELECT rows_affected FROM scheduler.job_runs WHERE id = $1", run)
	changed := scalar[int64](t, db, "SELECT count(*) FROM sweep_audit")
	if counted != total || changed != total {
		t.Errorf("the ledger counts %d rows, %d changes were made, want %d each", counted, changed, total)
	}
}

func TestKilledWorkerMidBatch(t *testing.T) {
	t.Parallel()
	const total = 6000
	db := testdb.New(t, migrated)
	exec1(t, db, "INSERT INTO sweep_rows SELECT g FROM generate_series(1, $1::bigint) g", total)
	replicas := make(map[string]*replica)
	start := func(id string) { replicas[id] = startReplica(t, db, id) }
	start("worker-0")
	start("worker-1")
	waitValue(t, db, 30*time.Second, int64(2), "SELECT count(*) FROM scheduler.replicas")
	waitValue(t, db, 30*time.Second, true, "SELECT EXISTS (SELECT FROM scheduler.jobs WHERE job_name = 'sweep')")
	run := scalar[int64](t, db, "SELECT scheduler.run_now('sweep')")
	for kill := range 3 {
		// At least a few batches further than the attempt before.
		waitValue(t, db, 30*time.Second, true,
			"SELECT status = 'running' AND rows_affected >= $2 FROM scheduler.job_runs WHERE id = $1", run, 400*(kill+1))
		victim := scalar[string](t, db, "SELECT replica_id FROM scheduler.job_runs WHERE id = $1", run)
		attempt := scalar[int](t, db, "SELECT attempt FROM scheduler.job_runs WHERE id = $1", run)
		replicas[victim].kill()
		delete(replicas, victim)
		killed := time.Now()
		waitValue(t, db, 15*time.Second, true,
			"SELECT attempt > $2 AND status IN ('running', 'success') FROM scheduler.job_runs WHERE id = $1", run, attempt)
		t.Logf("kill %d: another replica went on after %v", kill+1, time.Since(killed).Round(time.Millisecond))
		start(fmt.Sprintf("worker-%d", kill+2))
	}
	waitValue(t, db, 60*time.Second, "success", "SELECT status FROM scheduler.job_runs WHERE id = $1", run)
	counted := scalar[int64](t, db, "SELECT rows_affected FROM scheduler.job_runs WHERE id = $1", run)
	changed := scalar[int64](t, db, "SELECT count(*) FROM sweep_audit WHERE run_id = $1", run)
	distinct := scalar[int64](t, db, "SELECT count(DISTINCT id) FROM sweep_audit")
	if counted != total || changed != total || distinct != total {
		t.Errorf("the ledger counts %d rows, %d changes were made to %d rows, want %d each", counted, changed, distinct, total)
	}
}
