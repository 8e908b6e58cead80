package integration

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/fleet"
	"github.com/systempromptio/scheduler/integration/testdb"
)

// mortal is the replica of the fault tests, built with failpoints: it can be made to
// kill itself between any two statements.
var mortal = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "scheduler-mortal-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "replica")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-tags", "failpoint", "-o", path, "./fleet/replica")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the replica: %w: %s", err, output)
	}
	return path, nil
})

// fleetTables is a database with the jobs of that replica and a few rows for them.
var fleetTables = testdb.Template("fleet_tables", func(ctx context.Context, url string) error {
	if _, err := scheduler.MigrateUp(ctx, scheduler.MigrateConfig{DatabaseURL: url, Logger: discard()}); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if err := testdb.MakeRoles(ctx, url, scheduler.SchemaDefault); err != nil {
		return err
	}
	return execute(ctx, url, fleet.Tables+"INSERT INTO items (customer_id) SELECT g % 10 FROM generate_series(1, 100) g")
})

// startMortal starts that replica on a database.
func startMortal(t *testing.T, db *testdb.DB, id string, env ...string) *replica {
	t.Helper()
	path, err := mortal()
	require.NoError(t, err)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path)
	cmd.Env = append(os.Environ(), "SCHEDULER_REPLICA_URL="+testdb.ServeURL(db.URL), "SCHEDULER_REPLICA_ID="+id)
	cmd.Env = append(cmd.Env, env...)
	return startProcess(t, cmd, id)
}

// dies waits until a replica has killed itself.
func (r *replica) dies(t *testing.T, where string) {
	t.Helper()
	select {
	case <-r.exited:
	case <-time.After(waitRun):
		t.Fatalf("replica %s has not come to %s", r.ID, where)
	}
	status, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("replica %s ended with %v, want SIGKILL", r.ID, r.cmd.ProcessState)
	}
}

// checkMarked looks whether the rows that runs of mark have changed are the rows that
// their records count.
func checkMarked(t *testing.T, db *testdb.DB) {
	t.Helper()
	if got := scalar[string](t, db, `SELECT coalesce(string_agg(format('run %s: %s, records %s, changed %s', r.id, r.status, r.rows_affected, a.n), E'\n'), '')
		FROM scheduler.job_runs r
		CROSS JOIN LATERAL (SELECT count(*) AS n FROM items_audit a WHERE a.op = 'UPDATE' AND a.marked_by = r.id) a
		WHERE r.job_name = 'mark' AND (coalesce(r.rows_affected, 0) <> a.n OR r.status <> 'success')`); got != "" {
		t.Error(got)
	}
	if n := scalar[int64](t, db, "SELECT count(*) FROM items WHERE marked_by IS NULL"); n != 0 {
		t.Errorf("%d rows are not marked", n)
	}
}

// finish starts a replica that lives and sees everything come right.
func finish(t *testing.T, db *testdb.DB, run int64, begin time.Time) {
	t.Helper()
	survivor := startMortal(t, db, "survivor")
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.leader WHERE replica_id = 'survivor')")
	waitValue(t, db, waitRun, "success", "SELECT status FROM scheduler.job_runs WHERE id = $1", run)
	waitValue(t, db, waitRun, int64(0), "SELECT count(*) FROM scheduler.job_runs WHERE status IN ('pending', 'running', 'retrying', 'requested') AND tick < clock_timestamp() - interval '2 seconds'")
	survivor.stop(t)
	checkTicks(t, db, begin)
	checkMarked(t, db)
	if n := scalar[int64](t, db, `SELECT count(*) FROM scheduler.job_runs r JOIN scheduler.river_job j ON j.id = r.river_job_id
		WHERE (r.status = 'success') <> (j.state = 'completed')`); n != 0 {
		t.Errorf("%d rows of the ledger differ from River's", n)
	}
}

// declaredJobs has the replica's jobs declared and asks for a run of mark.
func declaredJobs(t *testing.T, db *testdb.DB) (run int64, begin time.Time) {
	t.Helper()
	first := startMortal(t, db, "first")
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	first.stop(t)
	return scalar[int64](t, db, "SELECT scheduler.run_now('mark')"), scalar[time.Time](t, db, "SELECT min(tick) FROM hits")
}

// eachTick is how often a replica must come by a statement to be killed at the third time,
// too: more often than its pool opens connections, of which it has now four, now five.
const eachTick = 6

// points reads by which statements a replica comes, and how often, from its start until
// it has come by all to which each replica comes within seconds: it hands back the run of
// a dead replica and ends it, cleans, and decides some ticks.
func points(t *testing.T) (all []string, times map[string]int) {
	t.Helper()
	db := testdb.New(t, fleetTables)
	run, _ := declaredJobs(t, db)
	startMortal(t, db, "dies", "SCHEDULER_FAILPOINT=pool:store_progress:after:2").dies(t, "its second batch")
	log := filepath.Join(t.TempDir(), "points")
	logged := startMortal(t, db, "logged", "SCHEDULER_FAILPOINT_LOG="+log)
	waitValue(t, db, waitRun, "success", "SELECT status FROM scheduler.job_runs WHERE id = $1", run)
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.job_runs WHERE job_name = 'purge' AND replica_id = 'logged' AND status = 'success')")
	waitValue(t, db, waitRun, true, "SELECT count(*) >= $1 FROM hits WHERE replica = 'logged'", eachTick)
	logged.stop(t)
	file, err := os.Open(log)
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	times = make(map[string]int)
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		point := strings.ReplaceAll(scanner.Text(), " ", ":")
		if point == "lock:release_leader_lock" {
			break // from here on it leaves
		}
		if times[point]++; times[point] == 1 {
			all = append(all, point)
		}
	}
	return all, times
}

// TestKilledAtEveryStatement kills a replica with SIGKILL before each statement that
// it comes by while it leads, enqueues, works and hands a dead replica's run back, and
// after each commit. Every effect and its record are there, or neither.
func TestKilledAtEveryStatement(t *testing.T) {
	t.Parallel()
	all, times := points(t)
	for _, must := range []string{
		"lock:begin_term", "lock:due_jobs", "lock:insert_ticks", "lock:advance_jobs", "lock:notify_insert", "lock:commit", "lock:hand_back",
		"pool:JobGetAvailable", "pool:run_state", "pool:begin_batch", "pool:fence", "pool:store_progress", "pool:commit",
		"pool:retention_facts", "pool:retention_clear_run",
	} {
		if !slices.Contains(all, must) {
			t.Errorf("no replica comes by %s; it comes by %v", must, all)
		}
	}
	var specs []string
	for _, point := range all {
		specs = append(specs, point+":before:1")
		switch {
		case strings.HasSuffix(point, ":commit"):
			for n := range 6 {
				specs = append(specs, fmt.Sprintf("%s:after:%d", point, n+1))
			}
		case times[point] >= eachTick:
			specs = append(specs, point+":before:3")
		}
	}
	t.Logf("a replica is killed at %d moments", len(specs))
	for _, spec := range specs {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			db := testdb.New(t, fleetTables)
			run, begin := declaredJobs(t, db)
			// A run that somebody left in the middle.
			startMortal(t, db, "dies", "SCHEDULER_FAILPOINT=pool:store_progress:after:2").dies(t, "its second batch")
			startMortal(t, db, "victim", "SCHEDULER_FAILPOINT="+spec).dies(t, spec)
			finish(t, db, run, begin)
		})
	}
}
