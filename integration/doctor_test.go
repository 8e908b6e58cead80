package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/internal/doctor"
	"github.com/systempromptio/scheduler/sql"
)

// examine calls the doctor and returns its report, which must go with its exit code.
func (s shell) examine(t *testing.T, args ...string) doctor.Report {
	t.Helper()
	p := s.call(t, append([]string{"doctor", "--json"}, args...)...)
	var report doctor.Report
	require.NoError(t, json.Unmarshal([]byte(p.stdout.String()), &report), "%s%s", p.stdout, p.stderr)
	want := 0
	if report.Problems > 0 {
		want = 1
	}
	require.Equal(t, want, p.code(t), "%s%s", p.stdout, p.stderr)
	require.Len(t, report.Checks, report.OK+report.Notes+report.Warnings+report.Problems+report.Skipped)
	return report
}

// finding is what a check must have come to. Found and fix are parts of the texts.
type finding struct {
	group, name string
	status      doctor.Status
	found, fix  string
}

func hasFinding(t *testing.T, report doctor.Report, want finding) {
	t.Helper()
	var texts []string
	for _, c := range report.Checks {
		texts = append(texts, fmt.Sprintf("%s %s %s: %s | %s", c.Status, c.Group, c.Label(), c.Found, c.Fix))
		if c.Group == want.group && c.Name == want.name && c.Status == want.status && strings.Contains(c.Found, want.found) && strings.Contains(c.Fix, want.fix) {
			return
		}
	}
	t.Errorf("no check came to %+v; they came to:\n%s", want, strings.Join(texts, "\n"))
}

// lacksFinding says that no check is as bad as a status.
func lacksFinding(t *testing.T, report doctor.Report, statuses ...doctor.Status) {
	t.Helper()
	for _, c := range report.Checks {
		for _, status := range statuses {
			if c.Status == status {
				t.Errorf("%s %s %s: %s | %s", c.Status, c.Group, c.Label(), c.Found, c.Fix)
			}
		}
	}
}

// wrong lists what is a problem, but that the tests' servers do not keep what they
// write through a crash.
func wrong(report doctor.Report) []doctor.Check {
	return slices.DeleteFunc(slices.Clone(report.Checks), func(c doctor.Check) bool {
		return c.Status != doctor.StatusProblem || c.Object == "fsync" || c.Object == "full_page_writes"
	})
}

// durable is a server as it ought to be.
func durable(t *testing.T, args ...string) testdb.Option {
	t.Helper()
	return testdb.On(testdb.Start(t, testdb.Options{Args: append([]string{"-c", "fsync=on", "-c", "full_page_writes=on"}, args...)}))
}

// roleOf makes a role with a password for a database, and returns a connection string
// for it. It is dropped at the end.
func roleOf(t *testing.T, db *testdb.DB, grants ...string) (role, databaseURL string) {
	t.Helper()
	role = "weak_" + db.Name
	exec1(t, db, "CREATE ROLE "+role+" LOGIN PASSWORD 'weak'")
	t.Cleanup(func() {
		if err := execute(context.WithoutCancel(t.Context()), db.URL, "DROP OWNED BY "+role+"; DROP ROLE "+role); err != nil {
			t.Error(err)
		}
	})
	for _, grant := range grants {
		exec1(t, db, "GRANT "+grant+" TO "+role)
	}
	return role, withURL(t, db.URL, func(u *url.URL, _ url.Values) { u.User = url.UserPassword(role, "weak") })
}

// schemaGrants are what "serve" needs in the scheduler's schema, and more.
var schemaGrants = []string{"USAGE ON SCHEMA scheduler", "ALL ON ALL TABLES IN SCHEMA scheduler", "ALL ON ALL SEQUENCES IN SCHEMA scheduler"}

// A healthy fleet: nothing is found that is to be mended, and nothing is changed.
func TestDoctorOfAHealthyFleet(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformSeeded, durable(t))
	exec1(t, db, "ANALYZE")
	shell := shellOf(t, db)
	shell.serve(t, db, "--config", "yearly.yaml")
	shell.start(t, "serve", "--config", "yearly.yaml")
	waitValue(t, db, waitCLI, int64(2), "SELECT count(*) FROM scheduler.replicas")
	waitValue(t, db, waitCLI, int64(0), "SELECT count(*) FROM scheduler.runs WHERE status IN ('requested', 'pending', 'running', 'retrying')")
	const state = `SELECT md5(string_agg(t.x, ' ')) FROM (
		SELECT d::text AS x FROM scheduler.job_definitions d UNION ALL SELECT r::text FROM scheduler.job_runs r UNION ALL SELECT u.id::text FROM logs u ORDER BY 1) t`
	before := scalar[string](t, db, state)
	report := shell.examine(t, "--config", "yearly.yaml")
	require.Equal(t, before, scalar[string](t, db, state), "it changes nothing")
	lacksFinding(t, report, doctor.StatusProblem, doctor.StatusWarning, doctor.StatusSkipped)
	require.Equal(t, doctor.StatusOK, report.Status)
	hasFinding(t, report, finding{"fleet", "leader", doctor.StatusOK, "leads, in term", ""})
	hasFinding(t, report, finding{"fleet", "replicas", doctor.StatusOK, "2 replicas live", ""})
	hasFinding(t, report, finding{"schema", "version", doctor.StatusOK, "as in this build", ""})
	hasFinding(t, report, finding{"connection", "round_trip", doctor.StatusOK, "a round trip takes", ""})
	hasFinding(t, report, finding{"clock", "difference", doctor.StatusOK, "", ""})
	hasFinding(t, report, finding{"tables", "rules", doctor.StatusOK, "DELETE logs: ", ""})

	least := shell.as(scheduler.RolesDefault().Serve).examine(t, "--config", "yearly.yaml")
	lacksFinding(t, least, doctor.StatusProblem, doctor.StatusWarning, doctor.StatusSkipped)
	hasFinding(t, least, finding{"server", "visibility", doctor.StatusNote, "sees nothing of the sessions of other roles", "GRANT pg_read_all_stats"})

	text := shell.succeed(t, "doctor", "--config", "yearly.yaml", "--strict", "--verbose")
	require.Contains(t, text, "0 problems, 0 warnings")
	require.Contains(t, text, "plan: block ranges: ")
	require.Contains(t, text, "assumed, since no run has told")
	require.NotContains(t, shell.succeed(t, "doctor"), "plan: ")

	exec1(t, db, "ALTER DATABASE "+db.Name+" SET lock_timeout = '100ms'")
	require.Equal(t, 0, shell.call(t, "doctor").code(t), "a warning is no problem")
	strict := shell.call(t, "doctor", "--strict")
	require.Equal(t, 1, strict.code(t))
	require.Contains(t, strict.stderr.String(), "scheduler: the doctor has found 1 warning\n")
	require.Contains(t, strict.stdout.String(), "  warning  timeouts lock_timeout: lock_timeout is 100ms")
}

// Before anything was set up: what can be seen is, the rest is not looked at.
func TestDoctorWithoutAServer(t *testing.T) {
	t.Parallel()
	report := newShell(t, "DATABASE_URL=postgres://nobody:secret@127.0.0.1:1/none").examine(t)
	hasFinding(t, report, finding{"connection", "database_url", doctor.StatusProblem, `database "none" at 127.0.0.1:1 as user "nobody": connect: connection refused`, "start the server, or correct the address"})
	hasFinding(t, report, finding{"schema", "version", doctor.StatusSkipped, "not looked at: the database cannot be reached", ""})
	hasFinding(t, report, finding{"fleet", "leader", doctor.StatusSkipped, "not looked at: the database cannot be reached", ""})
	for _, c := range report.Checks {
		require.NotContains(t, c.Found+c.Fix, "secret")
	}
	require.Equal(t, 1, report.Problems)
}

// A server that takes connections and says nothing.
func TestDoctorOfAFrozenServer(t *testing.T) {
	t.Parallel()
	server := testdb.Start(t, testdb.Options{})
	db := testdb.New(t, migrated, testdb.On(server))
	server.Pause(t)
	report := shellOf(t, db).examine(t)
	server.Unpause(t)
	hasFinding(t, report, finding{"connection", "database_url", doctor.StatusProblem, "no answer in time", "firewall"})
	require.Equal(t, 1, report.Problems)
}

func TestDoctorOfTheConnection(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	changed := func(change func(u *url.URL, query url.Values)) shell {
		return newShell(t, "DATABASE_URL="+withURL(t, db.URL, change))
	}
	wrongPassword := changed(func(u *url.URL, _ url.Values) { u.User = url.UserPassword("postgres", "wrong") }).examine(t)
	hasFinding(t, wrongPassword, finding{"connection", "database_url", doctor.StatusProblem, "password authentication failed", "PGPASSWORD"})
	noDatabase := changed(func(u *url.URL, _ url.Values) { u.Path = "/no_such" }).examine(t)
	hasFinding(t, noDatabase, finding{"connection", "database_url", doctor.StatusProblem, `database "no_such" does not exist`, "create the database"})
	noTLS := changed(func(_ *url.URL, query url.Values) { query.Set("sslmode", "require") }).examine(t)
	hasFinding(t, noTLS, finding{"connection", "database_url", doctor.StatusProblem, "TLS", "check sslmode"})

	// Two databases: the lock would be taken where nobody sees it.
	other := testdb.New(t, migrated)
	elsewhere := shellOf(t, db).examine(t, "--leader-database-url", other.URL)
	hasFinding(t, elsewhere, finding{"connection", "same_database", doctor.StatusProblem, "another database", "the same database"})
	broken := shellOf(t, db).examine(t, "--leader-database-url", "postgres://127.0.0.1:1/none")
	hasFinding(t, broken, finding{"connection", "leader_database_url", doctor.StatusProblem, "connection refused", "start the server"})
	hasFinding(t, broken, finding{"connection", "pooler", doctor.StatusSkipped, "leader_database_url does not connect", ""})
	hasFinding(t, broken, finding{"schema", "version", doctor.StatusOK, "", ""})
}

func TestDoctorBehindAPooler(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	pooled := testdb.PgBouncer(t, db, "transaction")
	report := newShell(t, "DATABASE_URL="+pooled).examine(t)
	hasFinding(t, report, finding{"connection", "pooler", doctor.StatusProblem, "pooler in transaction or statement mode", "leader_database_url"})
	hasFinding(t, report, finding{"schema", "version", doctor.StatusOK, "", ""})
	report = newShell(t, "DATABASE_URL="+pooled).examine(t, "--leader-database-url", db.URL)
	hasFinding(t, report, finding{"connection", "pooler", doctor.StatusNote, "leader_database_url does not", ""})
	hasFinding(t, report, finding{"connection", "same_database", doctor.StatusOK, "", ""})
	require.Empty(t, wrong(report))
}

func TestDoctorOfAStandby(t *testing.T) {
	t.Parallel()
	primary, standby := testdb.Standby(t)
	db := testdb.New(t, migrated, testdb.On(primary))
	standbyURL := standby.URL(db.Name)
	testdb.WaitFor(t, "the standby has the schema", waitRun, func(ctx context.Context) (bool, any, error) {
		err := execute(ctx, standbyURL, "SELECT FROM scheduler.leadership")
		return err == nil, err, nil
	})
	report := newShell(t, "DATABASE_URL="+standbyURL).examine(t)
	hasFinding(t, report, finding{"connection", "primary", doctor.StatusProblem, "read-only standby", "target_session_attrs=read-write"})
}

func TestDoctorOfTheSchema(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	shell := shellOf(t, db)
	report := shell.examine(t)
	hasFinding(t, report, finding{"schema", "version", doctor.StatusProblem, `schema "scheduler" has not been set up`, "scheduler migrate up"})
	hasFinding(t, report, finding{"privileges", "schema", doctor.StatusSkipped, "the schema does not fit", ""})

	config := scheduler.MigrateConfig{DatabaseURL: db.URL, Logger: discard()}
	_, err := scheduler.MigrateUp(t.Context(), config)
	require.NoError(t, err)
	report = shell.examine(t)
	hasFinding(t, report, finding{"schema", "version", doctor.StatusOK, "", ""})
	hasFinding(t, report, finding{"fleet", "leader", doctor.StatusNote, "no replica has led yet", "scheduler serve"})
	require.Empty(t, wrong(report), "a database that is ready for its first replica")

	_, err = scheduler.MigrateDown(t.Context(), config, 1)
	require.NoError(t, err)
	hasFinding(t, shell.examine(t), finding{"schema", "version", doctor.StatusProblem, "this build needs", `run "scheduler migrate up", or start with --migrate`})
	_, err = scheduler.MigrateUp(t.Context(), config)
	require.NoError(t, err)

	exec1(t, db, "UPDATE scheduler.schema_migrations SET version = 99")
	hasFinding(t, shell.examine(t), finding{"schema", "version", doctor.StatusNote, "version 99 is newer", "deploy the newer build"})
	exec1(t, db, "CREATE OR REPLACE FUNCTION scheduler.oldest_compatible_version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 98'")
	hasFinding(t, shell.examine(t), finding{"schema", "version", doctor.StatusProblem, "works with builds of version 98", "use a newer build"})
}

func TestDoctorOfPrivileges(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformTables)
	role, databaseURL := roleOf(t, db)
	shell := newShell(t, "DATABASE_URL="+databaseURL)
	report := shell.examine(t)
	hasFinding(t, report, finding{"privileges", "schema", doctor.StatusProblem, `lacks USAGE on schema "scheduler"`, `GRANT USAGE ON SCHEMA "scheduler" TO "` + role + `"`})
	hasFinding(t, report, finding{"server", "visibility", doctor.StatusNote, "sees nothing of the sessions", "GRANT pg_read_all_stats TO"})

	for _, grant := range schemaGrants {
		exec1(t, db, "GRANT "+grant+" TO "+role)
	}
	exec1(t, db, "GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO "+role)
	exec1(t, db, "REVOKE UPDATE ON scheduler.leadership FROM "+role)
	exec1(t, db, "REVOKE EXECUTE ON FUNCTION scheduler.join_fleet(boolean) FROM public")
	report = shell.examine(t)
	hasFinding(t, report, finding{"privileges", "schema", doctor.StatusProblem, "UPDATE on scheduler.leadership", `GRANT UPDATE ON scheduler.leadership TO "` + role + `";`})
	hasFinding(t, report, finding{"privileges", "schema", doctor.StatusProblem, "EXECUTE on", `GRANT EXECUTE ON FUNCTION scheduler.join_fleet(boolean) TO "` + role + `";`})
	hasFinding(t, report, finding{"privileges", "job", doctor.StatusProblem, "DELETE on logs", `GRANT DELETE ON logs TO "` + role + `";`})
	hasFinding(t, report, finding{"privileges", "job", doctor.StatusOK, "may do what the job does", ""})

	// What it says is enough.
	for _, c := range report.Checks {
		if c.Group == "privileges" {
			for line := range strings.Lines(c.Fix) {
				exec1(t, db, line)
			}
		}
	}
	require.Empty(t, wrong(shell.examine(t)))
}

// Settings of the server, the role or the database that hurt: each is found, with what
// sets it right.
func TestDoctorOfSettings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, statement string
		want            finding
	}{
		{"statement_timeout", "SET statement_timeout = '900ms'", finding{"server", "timeouts", doctor.StatusProblem, "statement_timeout is 900ms (set by: database)", "SET statement_timeout = '0'"}},
		{"statement_timeout of a minute", "SET statement_timeout = '1min'", finding{"server", "timeouts", doctor.StatusWarning, "statement_timeout is 1m0s", "SET statement_timeout = '0'"}},
		{"lock_timeout", "SET lock_timeout = '100ms'", finding{"server", "timeouts", doctor.StatusWarning, "lock_timeout is 100ms", "SET lock_timeout = '0'"}},
		{"idle_in_transaction_session_timeout", "SET idle_in_transaction_session_timeout = '500ms'", finding{"server", "timeouts", doctor.StatusWarning, "loses its transaction", "SET idle_in_transaction_session_timeout = '0'"}},
		{"read only", "SET default_transaction_read_only = on", finding{"connection", "primary", doctor.StatusProblem, "default_transaction_read_only is on", "RESET default_transaction_read_only"}},
		{"synchronous_commit", "SET synchronous_commit = off", finding{"server", "settings", doctor.StatusNote, "synchronous_commit is off", "SET synchronous_commit = on"}},
		{"isolation", "SET default_transaction_isolation = 'serializable'", finding{"server", "settings", doctor.StatusWarning, "default_transaction_isolation is serializable", "'read committed'"}},
		{"connections", "CONNECTION LIMIT 12", finding{"server", "connections", doctor.StatusProblem, "the database's CONNECTION LIMIT leaves 12", "CONNECTION LIMIT 50"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			db := testdb.New(t, migrated)
			exec1(t, db, "ALTER DATABASE "+db.Name+" "+test.statement)
			hasFinding(t, shellOf(t, db).examine(t), test.want)
		})
	}
}

func TestDoctorOfTheServer(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated, testdb.On(testdb.Start(t, testdb.Options{})))
	for _, setting := range []string{"autovacuum = off", "track_counts = off"} {
		exec1(t, db, "ALTER SYSTEM SET "+setting)
	}
	exec1(t, db, "SELECT pg_reload_conf()")
	waitValue(t, db, waitRun, "off", "SHOW track_counts")
	report := shellOf(t, db).examine(t, "--max-workers", "1000")
	hasFinding(t, report, finding{"server", "settings", doctor.StatusWarning, "autovacuum is off", "ALTER SYSTEM SET autovacuum = on"})
	hasFinding(t, report, finding{"server", "settings", doctor.StatusWarning, "track_counts is off", "ALTER SYSTEM SET track_counts = on"})
	hasFinding(t, report, finding{"server", "settings", doctor.StatusProblem, "fsync is off", "take fsync out of the server's command line"})
	hasFinding(t, report, finding{"server", "settings", doctor.StatusProblem, "full_page_writes is off", "take full_page_writes out of the server's command line"})
	hasFinding(t, report, finding{"server", "connections", doctor.StatusProblem, "need up to 1006 connections", "lower max_workers (now 1000)"})
}

func TestDoctorOfTables(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformTables)
	exec1(t, db, `INSERT INTO logs (id, "timestamp", level, module, message)
		SELECT 'l' || n, now() - interval '40 days', 'INFO', 'm', 'x' FROM generate_series(1, 3000) n`)
	exec1(t, db, "ALTER TABLE logs SET (autovacuum_enabled = false)")
	exec1(t, db, "CREATE TABLE log_notes (id bigint, log_id text REFERENCES logs (id))")
	exec1(t, db, "DROP TABLE governance_decisions CASCADE")
	exec1(t, db, "ANALYZE")
	report := shellOf(t, db).examine(t)
	hasFinding(t, report, finding{"tables", "autovacuum", doctor.StatusWarning, "autovacuum is off for table logs", "ALTER TABLE logs RESET (autovacuum_enabled)"})
	hasFinding(t, report, finding{"tables", "rules", doctor.StatusOK, "DELETE logs: 3000 rows now; a pass takes about", ""})
	hasFinding(t, report, finding{"tables", "indexes", doctor.StatusNote, "the foreign key log_notes_log_id_fkey has no index", "CREATE INDEX CONCURRENTLY ON log_notes (log_id)"})
	hasFinding(t, report, finding{"tables", "bounds", doctor.StatusProblem, "3000 of the 3000 rows of logs would be changed, and max_share is 0.9", "let them through once"})

	// It waits for nobody: not for who keeps writers out, nor for who keeps everybody out.
	conn := db.Conn(t)
	_, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE logs IN SHARE MODE")
	require.NoError(t, err)
	hasFinding(t, shellOf(t, db).examine(t), finding{"tables", "rules", doctor.StatusOK, "DELETE logs: 3000 rows now", ""})
	_, err = conn.Exec(t.Context(), "LOCK TABLE logs IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	report = shellOf(t, db).examine(t)
	hasFinding(t, report, finding{"tables", "rules", doctor.StatusWarning, "canceling statement due to lock timeout", "ask again when nobody holds the lock"})
	hasFinding(t, report, finding{"tables", "rules", doctor.StatusOK, "DELETE oauth_auth_codes: 0 rows now", ""})
	_, err = conn.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)

	exec1(t, db, "DROP TABLE user_contexts CASCADE")
	hasFinding(t, shellOf(t, db).examine(t), finding{"tables", "rules", doctor.StatusNote, "not in this database: user_contexts", ""})
}

// What keeps dead rows, ten minutes later by the server's clock.
func TestDoctorOfOldTransactionsAndTheClock(t *testing.T) {
	t.Parallel()
	server := testdb.Start(t, testdb.Options{Clock: true, Args: []string{"-c", "max_prepared_transactions=5"}})
	db := testdb.New(t, migrated, testdb.On(server))
	hasFinding(t, shellOf(t, db).examine(t), finding{"server", "snapshots", doctor.StatusOK, "", ""})
	conn, other := db.Conn(t), db.Conn(t)
	_, err := conn.Exec(t.Context(), "BEGIN; SET LOCAL application_name = 'forgotten'; SELECT pg_current_xact_id()")
	require.NoError(t, err)
	_, err = other.Exec(t.Context(), "BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'left over'")
	require.NoError(t, err)
	server.SetClock(t, 10*time.Minute)
	report := shellOf(t, db).examine(t)
	hasFinding(t, report, finding{"server", "snapshots", doctor.StatusWarning, "a transaction of forgotten of user postgres", fmt.Sprintf("SELECT pg_terminate_backend(%d)", conn.PgConn().PID())})
	hasFinding(t, report, finding{"server", "snapshots", doctor.StatusWarning, `the prepared transaction "left over", prepared by postgres, has been open for 1`, "ROLLBACK PREPARED 'left over'"})
	hasFinding(t, report, finding{"clock", "difference", doctor.StatusWarning, "ahead of this machine's", "NTP"})
	_, err = conn.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	exec1(t, db, "ROLLBACK PREPARED 'left over'")
}

func TestDoctorOfAFleetInTrouble(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformTables)
	shell := shellOf(t, db)
	replica := shell.serve(t, db, "--config", "yearly.yaml")
	waitValue(t, db, waitCLI, int64(0), "SELECT count(*) FROM scheduler.runs WHERE status IN ('requested', 'pending', 'running', 'retrying')")
	shell.succeed(t, "pause", "cleanup_empty_contexts", "--reason", "the audit")
	exec1(t, db, `INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, error, started_at, finished_at)
		SELECT 'database_cleanup', now() - n * interval '1 hour', 'manual', 'failed', 'disk on fire', now(), now() FROM generate_series(1, 3) n`)
	exec1(t, db, `INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, replica_id, started_at, created_at)
		VALUES ('database_cleanup', now() - interval '9 hours', 'manual', 'running', 'ghost', now() - interval '9 hours', now() - interval '9 hours')`)
	report := shell.examine(t, "--config", "yearly.yaml")
	hasFinding(t, report, finding{"fleet", "replicas", doctor.StatusNote, "1 replica lives", "start another one"})
	hasFinding(t, report, finding{"fleet", "jobs", doctor.StatusNote, "cleanup_empty_contexts has been paused for", "scheduler resume cleanup_empty_contexts"})
	hasFinding(t, report, finding{"fleet", "failures", doctor.StatusProblem, "the last 3 runs of database_cleanup failed; the newest: disk on fire", "scheduler runs database_cleanup"})
	hasFinding(t, report, finding{"fleet", "runs", doctor.StatusProblem, "is running on ghost, which does not live", "scheduler serve"})

	// The leader is kept from a job by a lock.
	shell.succeed(t, "reschedule", "database_cleanup", "0 0 1 1 *")
	conn := db.Conn(t)
	_, err := conn.Exec(t.Context(), "SELECT scheduler.reschedule_job('database_cleanup', '* * * * * *')")
	require.NoError(t, err)
	waitValue(t, db, waitCLI, true, "SELECT next_run < now() + interval '1 minute' FROM scheduler.scheduled_jobs WHERE job_name = 'database_cleanup'")
	_, err = conn.Exec(t.Context(), "BEGIN; SELECT FROM scheduler.job_definitions WHERE job_name = 'database_cleanup' FOR SHARE")
	require.NoError(t, err)
	waitValue(t, db, waitCLI, true, "SELECT next_run < clock_timestamp() - interval '16 seconds' FROM scheduler.scheduled_jobs WHERE job_name = 'database_cleanup'")
	report = shell.examine(t, "--config", "yearly.yaml")
	hasFinding(t, report, finding{"fleet", "ticks", doctor.StatusProblem, "a tick of database_cleanup has been due for", "pg_blocking_pids"})
	_, err = conn.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)

	// A schedule that cannot be read, a bound that would be passed, a scheduler at rest.
	exec1(t, db, "SELECT scheduler.reschedule_job('database_cleanup', 'now and then')")
	waitValue(t, db, waitCLI, true, "SELECT problem IS NOT NULL FROM scheduler.scheduled_jobs WHERE job_name = 'database_cleanup'")
	exec1(t, db, `INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, error, started_at, finished_at)
		VALUES ('cleanup_job_runs', now(), 'manual', 'blocked', 'far too many rows', now(), now())`)
	exec1(t, db, `INSERT INTO scheduler.job_definitions (job_name, schedule, timeout, max_attempts, registered) VALUES ('former', '@daily', '1 hour', 1, false)`)
	exec1(t, db, `INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, created_at, attempt)
		VALUES ('former', now(), 'manual', 'retrying', now() - interval '3 hours', 4), ('former', now(), 'manual', 'pending', now() - interval '3 minutes', 0)`)
	shell.succeed(t, "pause", "--all", "--reason", "the move")
	report = shell.examine(t, "--config", "yearly.yaml")
	hasFinding(t, report, finding{"fleet", "jobs", doctor.StatusProblem, "database_cleanup: ", "scheduler reschedule database_cleanup"})
	hasFinding(t, report, finding{"fleet", "blocked", doctor.StatusProblem, "the newest run of cleanup_job_runs is blocked: far too many rows", "let it through once"})
	hasFinding(t, report, finding{"fleet", "jobs", doctor.StatusNote, "former is not in the program of the leader any more", ""})
	hasFinding(t, report, finding{"fleet", "runs", doctor.StatusWarning, "of former has been tried again for 3 hours (attempt 4)", "scheduler cancel"})
	hasFinding(t, report, finding{"fleet", "runs", doctor.StatusWarning, "of former has waited for 3 minutes to be taken up", "raise max_workers"})
	hasFinding(t, report, finding{"fleet", "paused", doctor.StatusNote, "the whole scheduler has been paused for", "scheduler resume --all"})
	shell.succeed(t, "resume", "--all")

	replica.end(t)
	report = shell.examine(t, "--config", "yearly.yaml")
	hasFinding(t, report, finding{"fleet", "leader", doctor.StatusProblem, "nobody leads", "scheduler serve"})
	hasFinding(t, report, finding{"fleet", "replicas", doctor.StatusProblem, "no replica lives", "scheduler serve"})
	exec1(t, db, "UPDATE scheduler.job_definitions SET next_run = now() - interval '2 hours' WHERE job_name = 'database_cleanup'")
	hasFinding(t, shell.examine(t, "--config", "yearly.yaml"), finding{"fleet", "ticks", doctor.StatusProblem, "a tick of database_cleanup has been due for 2 hours, and nobody leads", "scheduler serve"})
}

func TestDoctorRefusesBadFlags(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	shell := shellOf(t, db)
	zero := shell.call(t, "doctor", "--max-workers", "0")
	require.Equal(t, 2, zero.code(t))
	require.Contains(t, zero.stderr.String(), `invalid argument "0" for "--max-workers" flag`)
	require.Contains(t, shell.refuse(t, "doctor", "--schema", "public"), `schema "public" belongs to the application`)
	p := shell.call(t, "doctor", "now")
	require.Equal(t, 2, p.code(t))
	require.Contains(t, p.stderr.String(), "takes no argument")
}

// A run within its job's timeout is healthy, however long that is.
func TestDoctorLeavesLongRunsAlone(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	replica := db.Conn(t)
	_, err := replica.Exec(t.Context(), "SELECT set_config('application_name', 'scheduler/long', false), pg_advisory_lock_shared(7235002, scheduler.lock_key())")
	require.NoError(t, err)
	exec1(t, db, "INSERT INTO scheduler.job_definitions (job_name, schedule, timeout, max_attempts) VALUES ('long', '@yearly', '6 hours', 1), ('short', '@yearly', '10 minutes', 1)")
	exec1(t, db, `INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, started_at, attempt, replica_id, error)
		SELECT job_name, now(), 'manual', 'running', now() - since, 1, 'long', since FROM (VALUES
			('long', interval '5 hours'), ('long', '7 hours'), ('short', '9 minutes'), ('short', '11 minutes')) r (job_name, since)`)
	old, err := sql.For(scheduler.SchemaDefault).DoctorOldRuns(t.Context(), replica)
	require.NoError(t, err)
	require.Len(t, old, 2)
	for i, name := range []string{"long", "short"} {
		require.Equal(t, name, old[i].JobName)
		require.False(t, old[i].IsOrphan)
		require.Greater(t, *old[i].Ran, *old[i].Timeout)
	}
}
