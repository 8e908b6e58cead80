package integration

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
)

func TestDeclaredSQLOutsideTransaction(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	change(t, db, "CREATE TABLE carts (id bigint PRIMARY KEY)")
	change(t, db, "INSERT INTO carts SELECT generate_series(1, 1000)")
	shell, p := serveDeclared(t, db, `
jobs:
  - name: vacuum_carts
    schedule: "@yearly"
    sql_outside_transaction: VACUUM (ANALYZE) carts
  - name: index_carts
    schedule: "@yearly"
    sql_outside_transaction: |
      -- by id, downwards
      CREATE INDEX CONCURRENTLY IF NOT EXISTS carts_down ON carts (id DESC)
  - name: inside
    schedule: "@yearly"
    sql: DROP INDEX /* not seen by whoever reads the first words */ CONCURRENTLY carts_down
  - name: commits_inside
    schedule: "@yearly"
    max_attempts: 1
    sql: DO $$ BEGIN DELETE FROM carts; COMMIT; END $$
`)
	require.Contains(t, shell.object(t, "job", "vacuum_carts")["description"], "may be done twice")
	dry := shell.object(t, "run", "vacuum_carts", "--dry-run", "--wait")
	require.Equal(t, "success", dry["status"])
	require.Contains(t, dry["message"], "nothing was done")
	require.Zero(t, scalar[int64](t, db, "SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'carts'"))
	for _, name := range []string{"vacuum_carts", "index_carts"} {
		require.Equal(t, "success", shell.object(t, "run", name, "--wait")["status"], name)
	}
	waitValue(t, db, waitCLI, int64(1), "SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'carts'")
	require.True(t, scalar[bool](t, db, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'carts_down'::regclass"))
	require.Contains(t, shell.fail(t, "run", "inside", "--wait").stderr.String(), "declare it as sql_outside_transaction")
	require.Contains(t, shell.fail(t, "run", "commits_inside", "--wait").stderr.String(), "invalid transaction termination")
	require.EqualValues(t, 1000, scalar[int64](t, db, "SELECT count(*) FROM carts"), "what would end the transaction has changed nothing")
	// The connections are closed; in other databases of the server, others' may be open.
	waitValue(t, db, waitCLI, int64(0), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 7235006 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
	p.end(t)
}

// A replica is killed, or frozen, while its statement runs: another one begins again, and
// not before the server has ended the first.
func TestDeclaredSQLOutsideTransactionAfterItsReplica(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "frozen": syscall.SIGSTOP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testdb.New(t, migrated)
			change(t, db, "CREATE TABLE seen (at timestamptz)")
			change(t, db, `CREATE PROCEDURE slow() LANGUAGE plpgsql AS $$ BEGIN
				INSERT INTO seen VALUES (clock_timestamp()); COMMIT;
				PERFORM pg_advisory_lock(77);
				PERFORM pg_advisory_unlock(77);
			END $$`)
			const file = "\njobs:\n  - name: slow\n    schedule: \"@yearly\"\n    sql_outside_transaction: CALL slow()\n"
			holder, err := db.Pool(t).Acquire(t.Context())
			require.NoError(t, err)
			defer holder.Release()
			_, err = holder.Exec(t.Context(), "SELECT pg_advisory_lock(77)")
			require.NoError(t, err)
			shell, first := serveDeclared(t, db, file)
			id := int(shell.object(t, "run", "slow")["id"].(float64))
			waitValue(t, db, waitCLI, int64(1), "SELECT count(*) FROM seen")
			require.Contains(t, scalar[string](t, db, "SELECT message FROM scheduler.runs WHERE id = $1", id), "was begun")
			_, second := serveDeclared(t, db, file)
			waitValue(t, db, waitCLI, 2, "SELECT count(*)::int FROM scheduler.replicas")
			first.signal(t, signal)
			waitValue(t, db, waitCLI, int64(2), "SELECT count(*) FROM seen")
			require.EqualValues(t, 1, scalar[int64](t, db, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL slow%' AND datname = current_database()"), "never two at a time")
			require.Less(t, scalar[time.Duration](t, db, "SELECT max(at) - min(at) FROM seen"), 30*time.Second)
			_, err = holder.Exec(t.Context(), "SELECT pg_advisory_unlock(77)")
			require.NoError(t, err)
			waitRunIs(t, db, id, "success")
			require.Contains(t, scalar[string](t, db, "SELECT message FROM scheduler.runs WHERE id = $1", id), "an earlier attempt had begun, too")
			if signal == syscall.SIGSTOP {
				first.signal(t, syscall.SIGCONT)
				first.waitFor(t, first.stderr, "in other hands")
				first.end(t)
			}
			second.end(t)
			require.EqualValues(t, 2, scalar[int64](t, db, "SELECT count(*) FROM seen"))
		})
	}
}

// Behind a pooler in transaction mode, jobs that work outside transactions go by the
// direct way.
func TestDeclaredBehindAPooler(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	change(t, db, "CREATE TABLE carts (id bigint PRIMARY KEY)")
	shell := newShell(t, "DATABASE_URL="+testdb.PgBouncer(t, db, "transaction"), "SCHEDULER_LEADER_DATABASE_URL="+db.URL)
	shell.configure(t, `bootstrap_jobs: []
jobs:
  - name: inside
    schedule: "@yearly"
    parameters: {n: 3}
    sql: [INSERT INTO carts VALUES (@n), INSERT INTO carts VALUES (4)]
  - name: outside
    schedule: "@yearly"
    sql_outside_transaction: VACUUM carts
`)
	p := shell.start(t, "serve", "--config=c.yaml")
	waitValue(t, db, waitCLI, true, "SELECT EXISTS (SELECT FROM scheduler.scheduled_jobs WHERE job_name = 'outside' AND registered)")
	require.EqualValues(t, 2, shell.object(t, "run", "inside", "--wait")["rows_affected"])
	require.Equal(t, "success", shell.object(t, "run", "outside", "--wait")["status"])
	p.end(t)
}

func TestDeclaredHTTP(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	var mu sync.Mutex
	var ids []string
	var signed []bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, r.Header.Get("Webhook-Id")+" "+r.Header.Get("Scheduler-Attempt"))
		signed = append(signed, r.Header.Get("Webhook-Signature") != "")
		switch {
		case r.URL.Path == "/gone":
			http.Error(w, "no such hook", http.StatusGone)
		case len(ids) == 1:
			w.Header().Set("Retry-After", "0")
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	secret := "whsec_" + strings.Repeat("QUJD", 10)
	shell, p := serveDeclared(t, db, `
jobs:
  - name: hook
    schedule: "@yearly"
    http: {url: "`+server.URL+`/hook?token=hidden", secret_variable: HOOK}
  - name: gone
    schedule: "@yearly"
    http: {url: "`+server.URL+`/gone"}
`, "HOOK="+secret)
	run := shell.object(t, "run", "hook", "--wait")
	require.Equal(t, "success", run["status"])
	require.Contains(t, run["message"], "200 OK after")
	require.Contains(t, run["message"], "an earlier attempt had begun, too")
	mu.Lock()
	require.Len(t, ids, 2)
	require.Equal(t, strings.TrimSuffix(ids[0], " 1"), strings.TrimSuffix(ids[1], " 2"), "both attempts have one id")
	require.Equal(t, []bool{true, true}, signed, "both are signed")
	mu.Unlock()
	failed := shell.fail(t, "run", "gone", "--wait").stderr.String()
	require.Contains(t, failed, "answered 410 Gone: no such hook")
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, ids, 3, "another attempt would get the same answer")
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM scheduler.job_runs r WHERE r::text LIKE '%hidden%' OR r::text LIKE '%whsec%'"))
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM scheduler.job_definitions r WHERE r::text LIKE '%hidden%' OR r::text LIKE '%whsec%'"))
	require.NotContains(t, p.stderr.String(), "hidden")
	require.NotContains(t, p.stderr.String(), secret)
	p.end(t)
	poor := shellOf(t, db)
	poor.folder = shell.folder
	require.Contains(t, poor.refuse(t, "serve", "--config=c.yaml"), `http.secret_variable: the environment has no variable HOOK`)
	poor.succeed(t, "jobs", "--config=c.yaml") // who only looks needs no secret
}

func TestDeclaredExec(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	folder := t.TempDir()
	shell, p := serveDeclared(t, db, `
jobs:
  - name: report
    schedule: "@yearly"
    parameters: {format: csv}
    exec:
      command: [sh, -c, 'echo "$SCHEDULER_JOB as $SCHEDULER_PARAMETER_FORMAT with $EXTRA$HIDDEN$TOKEN"']
      env: {EXTRA: more}
      inherit: [TOKEN]
  - name: broken
    schedule: "@yearly"
    max_attempts: 1
    exec: [sh, -c, echo why; exit 4]
  - name: slow
    schedule: "@yearly"
    timeout: 1s
    max_attempts: 1
    exec:
      command: [sh, -c, 'trap "" TERM; echo $$ > "$0/$SCHEDULER_RUN_ID"; sleep 600 & echo $! > "$0/$SCHEDULER_RUN_ID.child"; wait', `+folder+`]
      grace: 200ms
  - name: slower
    schedule: "@yearly"
    exec:
      command: [sh, -c, 'echo $$ > "$0/$SCHEDULER_RUN_ID"; exec sleep 600', `+folder+`]
`, "HIDDEN=not for it", "TOKEN=!")
	run := shell.object(t, "run", "report", "--wait", "--param", "format=pdf; rm -rf /")
	require.Contains(t, run["message"], ": report as pdf; rm -rf / with more!")
	require.Contains(t, shell.succeed(t, "log", fmt.Sprint(run["id"])), "report as pdf")
	require.Contains(t, shell.fail(t, "run", "broken", "--wait").stderr.String(), "sh: exit status 4; its output ends with: why")

	id := int(shell.object(t, "run", "slow")["id"].(float64))
	waitRunIs(t, db, id, "failed")
	require.Contains(t, scalar[string](t, db, "SELECT error FROM scheduler.runs WHERE id = $1", id), "timed out after 1s")
	requireEnded(t, filepath.Join(folder, fmt.Sprint(id)), filepath.Join(folder, fmt.Sprint(id)+".child"))

	id = int(shell.object(t, "run", "slower")["id"].(float64))
	requireBegun(t, filepath.Join(folder, fmt.Sprint(id)))
	shell.succeed(t, "cancel", fmt.Sprint(id))
	waitRunIs(t, db, id, "cancelled")
	requireEnded(t, filepath.Join(folder, fmt.Sprint(id)))

	// A command dies with its replica, and another replica begins it again.
	id = int(shell.object(t, "run", "slower")["id"].(float64))
	path := filepath.Join(folder, fmt.Sprint(id))
	pid := requireBegun(t, path)
	p.signal(t, syscall.SIGKILL)
	requireEnded(t, path)
	heir := shell.start(t, "serve", "--config=c.yaml", "--shutdown-timeout=1s")
	testdb.WaitFor(t, "the command of another replica", waitCLI, func(context.Context) (bool, any, error) {
		again := requireBegun(t, path)
		return again != pid, again, nil
	})
	heir.signal(t, syscall.SIGTERM)
	require.Equal(t, 3, heir.code(t), "a run is left")
	requireEnded(t, path)
}

// requireBegun waits for the pid that a command writes.
func requireBegun(t *testing.T, path string) (pid int) {
	t.Helper()
	testdb.WaitFor(t, path, waitCLI, func(context.Context) (bool, any, error) {
		content, _ := os.ReadFile(path)
		var err error
		pid, err = strconv.Atoi(strings.TrimSpace(string(content)))
		return err == nil, string(content), nil
	})
	return pid
}

// requireEnded waits until the processes are gone, or dead and not yet waited for.
func requireEnded(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		pid := requireBegun(t, path)
		testdb.WaitFor(t, "the end of "+path, 15*time.Second, func(context.Context) (bool, any, error) {
			stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)) // empty once it is gone
			_, state, _ := strings.Cut(string(stat), ") ")
			return state == "" || strings.HasPrefix(state, "Z"), string(stat), nil
		})
	}
}

// Five hundred declared jobs that are due in the same second.
func TestFiveHundredDeclaredJobs(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	change(t, db, "CREATE TABLE seen (job int, tick timestamptz, UNIQUE (job, tick))")
	var file strings.Builder
	file.WriteString("max_workers: 20\njobs:\n")
	for i := range 500 {
		fmt.Fprintf(&file, "  - name: job_%d\n    description: Number %d of many.\n    schedule: \"*/20 * * * * *\"\n    parameters: {n: %d}\n    sql: INSERT INTO seen VALUES (@n, @tick)\n", i, i, i)
	}
	began := time.Now()
	shell, p := serveDeclared(t, db, file.String())
	t.Logf("500 jobs: led after %v", time.Since(began))
	waitValue(t, db, waitCLI, true, "SELECT EXISTS (SELECT FROM seen GROUP BY tick HAVING count(*) = 500)")
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM scheduler.job_runs WHERE status NOT IN ('success', 'pending', 'running')"))
	t.Logf("a tick of 500 jobs took %v", scalar[time.Duration](t, db, `
		SELECT max(finished_at) - tick FROM scheduler.job_runs WHERE job_name LIKE 'job\_%' GROUP BY tick HAVING count(*) FILTER (WHERE status = 'success') = 500 ORDER BY tick LIMIT 1`))
	require.Len(t, shell.list(t, "jobs", "--config=c.yaml"), 504)
	p.end(t)
}
