package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
)

const (
	// waitCLI bounds what a command does, on a machine with other things to do.
	waitCLI = time.Minute

	// residentMax is what a replica at rest may take, in kilobytes.
	residentMax = 40 * 1024
)

func TestCLIServeRefusesAMissingSchema(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	shell := shellOf(t, db)
	for _, command := range []string{"serve", "jobs", "job x", "run x", "runs", "pause x --reason y", "resume x", "leader", "replicas"} {
		text := shell.refuse(t, strings.Fields(command)...)
		require.Contains(t, text, `schema "scheduler"`, command)
		require.Contains(t, text, `run "scheduler migrate up", or start with --migrate`, command)
	}
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM pg_namespace WHERE nspname = 'scheduler'"), "nothing was made")
}

func TestCLIServe(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	shell := shellOf(t, db)
	replica := shell.serve(t, db)
	require.Empty(t, replica.stdout.String(), "the log goes to standard error")
	waitValue(t, db, waitCLI, "success", "SELECT status FROM scheduler.runs WHERE trigger = 'bootstrap'")
	require.Less(t, resident(t, replica.command.Process.Pid), residentMax)

	standby := shell.as(scheduler.RolesDefault().Serve).start(t, "serve", "--log-format", "json")
	waitValue(t, db, waitCLI, 2, "SELECT count(*)::int FROM scheduler.replicas")
	require.Len(t, shell.list(t, "replicas"), 2)
	replica.end(t)
	waitValue(t, db, waitCLI, 1, "SELECT count(*)::int FROM scheduler.leader")
	standby.signal(t, syscall.SIGINT)
	require.Equal(t, 0, standby.code(t))
	for line := range strings.Lines(standby.stderr.String()) {
		require.True(t, json.Valid([]byte(line)), line)
	}
	require.Equal(t, "null\n", shell.succeed(t, "leader", "--json"))
	require.Contains(t, shell.succeed(t, "leader"), "Nobody leads")
	require.Contains(t, shell.succeed(t, "replicas"), "No replica lives")
	require.Equal(t, "[]\n", shell.succeed(t, "replicas", "--json"))
}

// resident is the memory of a process, in kilobytes.
func resident(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	match := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(t, match)
	n, err := strconv.Atoi(string(match[1]))
	require.NoError(t, err)
	t.Logf("a replica at rest takes %d kB", n)
	return n
}

func TestCLITellsAWrongDatabaseAtOnce(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	shell := newShell(t)
	wrong := func(change func(*url.URL)) string {
		u, err := url.Parse(db.URL)
		require.NoError(t, err)
		change(u)
		return u.String()
	}
	password := wrong(func(u *url.URL) { u.User = url.UserPassword("postgres", "not-the-password") })
	missing := wrong(func(u *url.URL) { u.Path = "/no_such_database" })
	for _, command := range []string{"serve", "serve --migrate", "jobs", "migrate up", "migrate status", "migrate down --yes"} {
		text := shell.refuse(t, append(strings.Fields(command), "--database-url", password)...)
		require.Contains(t, text, `password authentication failed for user "postgres" (SQLSTATE 28P01); check the user and the password`)
		require.NotContains(t, text, "not-the-password")
		text = shell.refuse(t, append(strings.Fields(command), "--database-url", missing)...)
		require.Contains(t, text, `database "no_such_database" does not exist (SQLSTATE 3D000); create the database`)
	}
	p := shell.call(t, "serve", "--log-format=json", "--database-url", password)
	require.Equal(t, 2, p.code(t))
	var record map[string]any
	require.NoError(t, json.Unmarshal([]byte(p.stderr.String()), &record), "the one line is a record of the log")
	require.Equal(t, "ERROR", record["level"])
	require.Contains(t, record["error"], "password authentication failed")

	// libpq's variables name a database, too.
	u, err := url.Parse(db.URL)
	require.NoError(t, err)
	shell = newShell(t, "PGHOST="+u.Hostname(), "PGPORT="+u.Port(), "PGUSER=postgres", "PGDATABASE="+db.Name, "PGPASSWORD=not-the-password")
	require.Contains(t, shell.refuse(t, "jobs"), "password authentication failed")
}

func TestCLIBehindAPooler(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	shell := newShell(t, "DATABASE_URL="+testdb.PgBouncer(t, db, "transaction"))
	require.Contains(t, shell.refuse(t, "serve"), "set leader_database_url (SCHEDULER_LEADER_DATABASE_URL)")
	replica := shell.start(t, "serve", "--leader-database-url", db.URL)
	waitLed(t, db)
	for range 5 {
		require.Len(t, shell.list(t, "jobs"), 4)
	}
	require.Equal(t, "success", shell.object(t, "run", "database_cleanup", "--wait")["status"])
	replica.end(t)
}

// columns are those of a view.
func columns(t *testing.T, db *testdb.DB, view string) []string {
	t.Helper()
	return scalar[[]string](t, db, "SELECT array_agg(column_name::text) FROM information_schema.columns WHERE table_schema = 'scheduler' AND table_name = $1", view)
}

func keysOf(object map[string]any) []string {
	var keys []string
	for key := range object {
		keys = append(keys, key)
	}
	return keys
}

// Every command, as somebody would call them one after the other.
func TestCLISteers(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	shell := shellOf(t, db)
	replica := shell.serve(t, db, "--config=yearly.yaml", "--bootstrap-jobs=", "--timezone=Europe/Berlin")

	require.Regexp(t, `^scheduler v0\.0\.0-test \(go\S+, linux/\w+\)\n$`, shell.succeed(t, "version"))
	leader := shell.leader(t, nil)
	require.ElementsMatch(t, columns(t, db, "leader"), keysOf(leader))
	require.Contains(t, shell.succeed(t, "leader"), leader["replica_id"])
	replicas := shell.list(t, "replicas")
	require.ElementsMatch(t, columns(t, db, "replicas"), keysOf(replicas[0]))
	require.Equal(t, true, replicas[0]["is_leader"])
	require.Regexp(t, `(?m)^REPLICA +BACKEND PID +ADDRESS +CONNECTED +RUNNING +LEADER\n\S+ +\d+ .* leads$`, shell.succeed(t, "replicas"))

	list := shell.list(t, "jobs")
	require.Len(t, list, 4)
	require.Subset(t, keysOf(list[0]), columns(t, db, "jobs"))
	table := shell.succeed(t, "jobs")
	require.Regexp(t, `(?m)^JOB +STATE +SCHEDULE +NEXT RUN +LAST RUN +RESULT +ROWS +TOOK$`, table)
	require.Regexp(t, `(?m)^database_cleanup +active +0 0 3 \* \* \* +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(in \d+\w+\) +- +- +- +-$`, table)

	job := shell.object(t, "job", "database_cleanup")
	require.Len(t, job["next_ticks"], 5)
	require.Equal(t, "Europe/Berlin", job["timezone"])
	text := shell.succeed(t, "job", "database_cleanup")
	for _, want := range []string{"0 0 3 * * *  in Europe/Berlin", "log_retention_days  integer   30", "1 to 36525", "delete, keep", "Next ticks\n  2"} {
		require.Contains(t, text, want)
	}

	require.Empty(t, shell.list(t, "runs"))
	require.Equal(t, "There are no such runs.\n", shell.succeed(t, "runs"))
	dry := shell.object(t, "run", "cleanup_empty_contexts", "--param", "retention_hours=1", "--dry-run", "--wait")
	require.Equal(t, "success", dry["status"])
	require.Equal(t, true, dry["dry_run"])
	require.EqualValues(t, 1, dry["parameters"].(map[string]any)["retention_hours"])
	require.EqualValues(t, 470, dry["rows_affected"])
	require.Subset(t, keysOf(dry), columns(t, db, "runs"))

	p := shell.call(t, "run", "cleanup_empty_contexts", "--wait")
	require.Equal(t, 0, p.code(t), p.stderr)
	require.Regexp(t, `^run \d+ of cleanup_empty_contexts: success, 410 rows in \S+\n  contexts  410\n$`, p.stdout.String())
	require.Contains(t, p.stderr.String(), "run 2 of cleanup_empty_contexts: ", "its progress")
	require.NotContains(t, p.stderr.String(), "\x1b", "not a terminal")

	asked := shell.succeed(t, "run", "database_cleanup", "--param", "log_retention_days=1", "--param", "system_user_ids=system,cron", "--param", "max_share=1")
	require.Regexp(t, `^run 3 of database_cleanup: \w+; see how it goes with: scheduler runs --job database_cleanup\n$`, asked)
	waitValue(t, db, waitCLI, "success", "SELECT status FROM scheduler.runs WHERE id = 3")
	runs := shell.list(t, "runs")
	require.Len(t, runs, 3)
	require.ElementsMatch(t, columns(t, db, "runs"), append(keysOf(runs[0]), "progress"), "which only the JSON of one run holds")
	require.Equal(t, map[string]any{"log_retention_days": 1.0, "system_user_ids": []any{"system", "cron"}, "mcp_executions": "delete", "max_share": 1.0}, runs[0]["parameters"])
	require.Len(t, shell.list(t, "runs", "--limit", "2"), 2)
	require.Len(t, shell.list(t, "runs", "--job", "database_cleanup"), 1)
	require.Empty(t, shell.list(t, "runs", "--status", "failed"))
	require.Contains(t, shell.refuse(t, "runs", "--backfill", "99"), "backfill 99: backfill not found")
	require.Regexp(t, `(?m)^1 +cleanup_empty_contexts +.* manual +success +470 .* dry run$`, shell.succeed(t, "runs"))

	require.Equal(t, "database_cleanup is paused: a backup\n", shell.succeed(t, "pause", "database_cleanup", "--reason", "a backup"))
	require.Regexp(t, `database_cleanup is paused since .* by postgres: a backup; let it run again with: scheduler resume database_cleanup\n`,
		strings.ReplaceAll(shell.refuse(t, "run", "database_cleanup"), `job "database_cleanup"`, "database_cleanup"))
	require.Regexp(t, `(?m)^database_cleanup is paused since .* by postgres: a backup$`, shell.succeed(t, "jobs"))
	require.Contains(t, shell.succeed(t, "job", "database_cleanup"), "Next ticks, once it is resumed")
	require.Regexp(t, `^database_cleanup is active; its next run is at \S+ 03:00:00 CES?T \(in \w+\)\n$`, shell.succeed(t, "resume", "database_cleanup"))
	for _, call := range []struct {
		state string
		args  []string
	}{
		{"paused", []string{"pause", "database_cleanup", "--reason", "again"}},
		{"active", []string{"resume", "database_cleanup"}},
		{"active", []string{"reschedule", "database_cleanup", "--reset"}},
	} {
		got := shell.object(t, call.args...)
		require.Equal(t, call.state, got["state"], call.args)
		require.ElementsMatch(t, keysOf(job), keysOf(got), call.args)
		require.Len(t, got["next_ticks"], 5, call.args)
		require.Equal(t, []any{}, got["unfinished_runs"], call.args)
		if call.state == "active" {
			require.Equal(t, got["next_ticks"].([]any)[0], got["next_run"], "the leader has planned it, and both are in UTC")
			require.Regexp(t, `Z$`, got["next_run"])
		}
	}

	for _, args := range [][]string{{"job", "nope"}, {"run", "nope"}, {"runs", "--job", "nope"}, {"pause", "nope", "--reason", "x"}, {"resume", "nope"}} {
		require.Contains(t, shell.refuse(t, args...), `unknown job`, args)
		require.Contains(t, shell.refuse(t, args...), `nope`, args)
	}
	require.Contains(t, shell.refuse(t, "run", "database_cleanup", "--param", "days=3"),
		`job "database_cleanup": parameter "days": unknown; the job has: log_retention_days, system_user_ids, mcp_executions`)
	require.Contains(t, shell.refuse(t, "run", "database_cleanup", "--param", "log_retention_days=0"), `is 0, must be at least 1`)
	require.Equal(t, 3, scalar[int](t, db, "SELECT count(*)::int FROM scheduler.runs WHERE trigger = 'manual'"), "what was refused is not in the ledger")

	names := shell.succeed(t, "__complete", "run", "")
	require.Contains(t, names, "database_cleanup\t")
	require.Contains(t, shell.succeed(t, "__complete", "run", "database_cleanup", "--param", ""), "mcp_executions=\t")

	require.Contains(t, shell.refuse(t, "migrate", "down", "--yes"), "1 replica is running")
	replica.end(t)
}

// A run that does not succeed makes the exit code 1.
func TestCLIRunThatDoesNotSucceed(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	exec1(t, db, "CREATE TABLE user_sessions (session_id text, last_activity_at text, ended_at text)")
	exec1(t, db, "INSERT INTO user_sessions VALUES ('a', 'never')")
	shell := shellOf(t, db)
	path := filepath.Join(shell.folder, "c.yaml")
	require.NoError(t, os.WriteFile(path, []byte("bootstrap_jobs: []\n"+yearly+"    max_attempts: 1\n"), 0o600))
	replica := shell.serve(t, db, "--config", "c.yaml")
	p := shell.call(t, "run", "cleanup_inactive_sessions", "--wait")
	require.Equal(t, 1, p.code(t))
	require.Regexp(t, `^run 1 of cleanup_inactive_sessions: failed`, p.stdout.String())
	require.Regexp(t, `(?m)^scheduler: run 1 of cleanup_inactive_sessions: failed: .*sessions`, p.stderr.String())
	replica.end(t)

	// Nobody leads: it waits, and says so. Ctrl-C ends the waiting, not the run.
	p = shell.start(t, "run", "database_cleanup", "--wait")
	p.waitFor(t, p.stderr, "nobody leads; run 2 waits until a replica does")
	p.signal(t, syscall.SIGINT)
	require.Equal(t, 1, p.code(t))
	require.Contains(t, p.stderr.String(), "run 2 of database_cleanup goes on, but is not waited for any more: ended by a signal: interrupt")

	disabled := shell.serve(t, db, "--config=yearly.yaml", "--enabled=false")
	waitValue(t, db, waitCLI, "skipped", "SELECT status FROM scheduler.runs WHERE id = 2")
	p = shell.call(t, "run", "database_cleanup", "--wait", "--json")
	require.Equal(t, 1, p.code(t))
	require.Contains(t, p.stdout.String(), `"status": "skipped"`)
	require.Contains(t, p.stderr.String(), "scheduler: run 3 of database_cleanup: skipped: the scheduler is disabled by its configuration\n")
	disabled.end(t)
}

func TestCLISecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	shell := shellOf(t, db)
	replica := shell.serve(t, db, "--config=yearly.yaml", "--bootstrap-jobs=")
	conn := db.Conn(t)
	_, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE user_sessions IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	shell.succeed(t, "run", "cleanup_inactive_sessions")
	waitValue(t, db, waitCLI, "running", "SELECT status FROM scheduler.runs WHERE id = 1")
	replica.signal(t, syscall.SIGTERM)
	replica.waitFor(t, replica.stderr, "stopping: runs may finish")
	// The signal may still echo: so often as it takes.
	testdb.WaitFor(t, "the end", waitCLI, func(context.Context) (bool, any, error) {
		select {
		case <-replica.exited:
			return true, nil, nil
		default:
			return false, replica.stderr.String(), replica.command.Process.Signal(syscall.SIGTERM)
		}
	})
	require.Equal(t, 128+int(syscall.SIGTERM), replica.code(t))
	require.Contains(t, replica.stderr.String(), "scheduler: ended at once by a second signal, terminated; ")
}

func TestCLIMigrates(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	shell := shellOf(t, db)
	status := shell.object(t, "migrate", "status")
	require.ElementsMatch(t, []string{"schema", "exists", "version", "wanted", "dirty", "oldest_compatible", "river_version", "river_wanted"}, keysOf(status))
	require.Equal(t, false, status["exists"])
	require.Contains(t, shell.succeed(t, "migrate", "status"), "It is not there yet; make it with: scheduler migrate up")
	require.Contains(t, shell.refuse(t, "migrate", "down", "--all", "--yes"), `schema "scheduler" is not there: nothing to take back`)

	require.Regexp(t, `^schema "scheduler": version 0 is now \d+, River's 0 is now \d+\n$`, shell.succeed(t, "migrate", "up"))
	require.Regexp(t, `^schema "scheduler" has version \d+: nothing to do\n$`, shell.succeed(t, "migrate", "up"))
	up := shell.object(t, "migrate", "up")
	require.Equal(t, up["wanted"], up["version"])
	require.Contains(t, shell.succeed(t, "migrate", "status"), "It is up to date.")

	p := shell.call(t, "migrate", "down")
	require.Equal(t, 2, p.code(t))
	require.Contains(t, p.stderr.String(), "It cannot be undone")
	require.Contains(t, p.stderr.String(), "nothing was changed: there is no terminal to ask at; confirm with --yes")
	require.Contains(t, shell.refuse(t, "migrate", "down", "--yes", "--steps", "99"), "99 steps cannot be taken back")
	down := shell.object(t, "migrate", "down", "--yes")
	require.InDelta(t, up["version"].(float64)-1, down["version"], 0)
	require.Contains(t, shell.succeed(t, "migrate", "status"), "It is old; bring it up to date with: scheduler migrate up")
	require.Contains(t, shell.refuse(t, "jobs"), `run "scheduler migrate up"`)
	shell.succeed(t, "migrate", "up")
	p = shell.call(t, "migrate", "down", "--all", "--yes")
	require.Equal(t, "schema \"scheduler\" is gone\n", p.stdout.String())
	require.Contains(t, p.stderr.String(), "every run in the ledger")
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM pg_namespace WHERE nspname = 'scheduler'"))

	shell.succeed(t, "migrate", "up", "--schema", "other")
	undeclared := shell.list(t, "jobs", "--schema", "other")
	require.Len(t, undeclared, 4, "the program's own")
	require.Equal(t, "undeclared", undeclared[0]["state"])
	require.Contains(t, shell.succeed(t, "jobs", "--schema", "other"), "scheduler serve")
}
