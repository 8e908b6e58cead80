package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
)

// pgCron is the table as the extension makes it, in its first version and with what later
// ones have added, and its row security.
const (
	pgCron = `
CREATE SCHEMA cron;
CREATE SEQUENCE cron.jobid_seq;
CREATE TABLE cron.job (
    jobid bigint PRIMARY KEY DEFAULT nextval('cron.jobid_seq'),
    schedule text NOT NULL,
    command text NOT NULL,
    nodename text NOT NULL DEFAULT 'localhost',
    nodeport integer NOT NULL DEFAULT inet_server_port(),
    database text NOT NULL DEFAULT current_database(),
    username text NOT NULL DEFAULT current_user
);
GRANT SELECT ON cron.job TO public;
ALTER TABLE cron.job ENABLE ROW LEVEL SECURITY;
CREATE POLICY cron_job_policy ON cron.job USING (username = current_user);`

	pgCronNow = pgCron + `
ALTER TABLE cron.job ADD COLUMN active boolean NOT NULL DEFAULT true;
ALTER TABLE cron.job ADD COLUMN jobname name;
CREATE UNIQUE INDEX jobname_username_uniq ON cron.job (jobname, username);`

	pgCronJobs = `
CREATE TABLE events (id int, at timestamptz, note text);
CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM events;
CREATE PROCEDURE process() LANGUAGE sql AS 'DELETE FROM events';
INSERT INTO cron.job (jobname, schedule, command, active, database, nodename, username) VALUES
    ('Nightly Cleanup', '30 3 * * 6', $$DELETE FROM events WHERE at < now() - interval '1 week' AND note <> 'a;b@c.d # x: "y"'$$, true, current_database(), 'localhost', current_user),
    (NULL, '0 10 * * *', 'VACUUM', true, current_database(), 'localhost', current_user),
    ('nightly-cleanup', '*/5 * * * *', E'DELETE FROM events WHERE id = 1;\n  DELETE FROM events WHERE note = \'it\'\'s; so\' ;', true, current_database(), '', current_user),
    ('process-updates', '30 seconds', 'CALL process()', true, current_database(), 'localhost', current_user),
    ('payroll', '0 12 $ * *', 'REFRESH MATERIALIZED VIEW totals;', false, current_database(), 'localhost', current_user),
    ('elsewhere', '0 4 * * 0', 'VACUUM', true, 'some_other_database', 'localhost', current_user),
    ('far', '0 4 * * 0', 'SELECT 1', true, current_database(), 'db.example.com', current_user),
    ('doubt', '0 4 * * 0', E'DELETE FROM events -- all; of them\n WHERE id = 2; SELECT 1', true, current_database(), 'localhost', current_user),
    ('broken', '0 4 * * 0', 'DELTE FROM events', true, current_database(), 'localhost', current_user),
    ('gone', '0 4 * * 0', 'DELETE FROM no_such_table', true, current_database(), 'localhost', 'somebody'),
    ('transaction', '0 4 * * 0', 'BEGIN; DELETE FROM events; COMMIT', true, current_database(), 'localhost', current_user),
    ('atomic', '0 4 * * 0', 'CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT 1; SELECT 2; END', true, current_database(), 'localhost', current_user),
    ('mixed', '0 4 * * 0', 'SELECT 1; CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC SELECT 1; SELECT 2; END', true, current_database(), 'localhost', current_user),
    ('hostile', '0 4 * * 0', E'SELECT \'\t\x01 #: {}\u0085\u2028\' /* é */', true, current_database(), 'localhost', current_user),
    ('reboot', '@reboot', 'SELECT 1', true, current_database(), 'localhost', current_user),
    ('operator', '0 4 * * 0', 'DELETE FROM events WHERE @id > 5 AND note <> ''@now''; SELECT 1', true, current_database(), 'localhost', current_user),
    ('now', '0 4 * * 0', 'SELECT @now FROM (VALUES (-1)) AS v (now)', true, current_database(), 'localhost', current_user),
    ('six', '0 4 * * 0 1', 'SELECT 1', true, current_database(), 'localhost', current_user);`
)

// importedFile is a configuration as somebody would read it.
type importedFile struct {
	Jobs []struct {
		Name, Schedule, Timezone, Overlap string
		Enabled                           *bool
		SQL                               any
		Outside                           string `yaml:"sql_outside_transaction"`
	}
}

// serveImported starts a replica with a configuration, and waits until it leads.
func serveImported(t *testing.T, shell shell, db *testdb.DB, path string) {
	t.Helper()
	shell.as(scheduler.RolesDefault().Serve).start(t, "serve", "--config", path)
	waitValue(t, db, waitCLI, true, "SELECT EXISTS (SELECT FROM scheduler.leader) AND EXISTS (SELECT FROM scheduler.jobs WHERE next_run IS NOT NULL)")
}

func TestImportPgCron(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	exec1(t, db, pgCronNow+pgCronJobs)
	before := scalar[string](t, db, "SELECT string_agg(j::text, ';' ORDER BY jobid) FROM cron.job j")
	shell := shellOf(t, db)
	p := shell.start(t, "import", "pg_cron")
	require.Zero(t, p.code(t))
	text := p.stdout.String()
	require.Equal(t, "scheduler: 18 jobs, 10 of them only as a comment, 8 notes\n", p.stderr.String())
	require.Equal(t, before, scalar[string](t, db, "SELECT string_agg(j::text, ';' ORDER BY jobid) FROM cron.job j"))
	require.Zero(t, scalar[int](t, db, "SELECT count(*)::int FROM events"))

	var file importedFile
	require.NoError(t, yaml.Unmarshal([]byte(text), &file))
	names := map[string]int{}
	for i, job := range file.Jobs {
		names[job.Name] = i
		require.Equal(t, "queue", job.Overlap)
	}
	require.Len(t, names, 8)
	require.Equal(t, `DELETE FROM events WHERE at < now() - interval '1 week' AND note <> 'a;b@c.d # x: "y"'`, file.Jobs[names["nightly_cleanup"]].SQL)
	require.Equal(t, "VACUUM", file.Jobs[names["pg_cron_2"]].Outside)
	require.Equal(t, []any{"DELETE FROM events WHERE id = 1", "DELETE FROM events WHERE note = 'it''s; so'"}, file.Jobs[names["nightly_cleanup_2"]].SQL)
	require.Equal(t, "@every 30s", file.Jobs[names["process_updates"]].Schedule)
	require.Equal(t, "0 12 L * *", file.Jobs[names["payroll"]].Schedule)
	require.False(t, *file.Jobs[names["payroll"]].Enabled)
	require.Equal(t, "SELECT '\t\x01 #: {}\u0085\u2028' /* é */", file.Jobs[names["hostile"]].SQL)
	for _, note := range []string{
		`it runs in database "some_other_database"`, `it runs on the server "db.example.com"`, `where one ends is in doubt, since it has "--"`,
		"the server cannot read it: syntax error", `the server refuses it now: relation "no_such_table" does not exist`, `it ran as role "somebody"`,
		"if it commits or rolls back, declare it as sql_outside_transaction", "bootstrap_jobs", "has 6 fields", "the server cannot read one of them",
		"BEGIN is about transactions", "it was an operator: put a space behind it",
	} {
		require.Contains(t, text, note)
	}

	// What came out is what a replica runs.
	path := filepath.Join(shell.folder, "jobs.yaml")
	shell.succeed(t, "import", "pg_cron", "--output", path)
	require.Contains(t, shell.refuse(t, "import", "pg_cron", "--output", path), "is there already")
	shell.succeed(t, "import", "pg_cron", "--output", path, "--force")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, text, string(content))
	without := strings.Replace(string(content), "DELETE FROM no_such_table", "DELETE FROM events", 1)
	require.NoError(t, os.WriteFile(path, []byte(without), 0o600))
	exec1(t, db, "INSERT INTO events VALUES (1, now(), 'it''s; so'), (3, now() - interval '1 year', 'old')")
	serveImported(t, shell, db, path)
	shell.succeed(t, "run", "nightly_cleanup_2", "--wait")
	require.Equal(t, "3", scalar[string](t, db, "SELECT string_agg(id::text, ',') FROM events"))
	shell.succeed(t, "run", "pg_cron_2", "--wait")
	shell.succeed(t, "run", "nightly_cleanup", "--wait")
	require.Zero(t, scalar[int](t, db, "SELECT count(*)::int FROM events"))
}

// The first version of the extension had neither names nor a switch; a role that is no
// superuser sees its own.
func TestImportPgCronOfAnotherAge(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	shell := shellOf(t, db)
	require.Contains(t, shell.refuse(t, "import", "pg_cron"), "cron.database_name")

	exec1(t, db, pgCron+`INSERT INTO cron.job (schedule, command) VALUES ('0 10 * * *', 'SELECT 1');
		INSERT INTO cron.job (schedule, command, username) VALUES ('0 11 * * *', 'SELECT 2', 'scheduler_reader')`)
	exec1(t, db, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET cron.timezone = %L', current_database(), 'Europe/Berlin'); END $$")
	var file importedFile
	require.NoError(t, yaml.Unmarshal([]byte(shell.succeed(t, "import", "pg_cron")), &file))
	require.Len(t, file.Jobs, 2)
	require.Equal(t, "pg_cron_1", file.Jobs[0].Name)
	require.Equal(t, "Europe/Berlin", file.Jobs[0].Timezone)

	// Without the right to look into the schema, and with it.
	reader := shell.as("scheduler_reader")
	require.Contains(t, reader.refuse(t, "import", "pg_cron"), `that role "scheduler_reader" may read`)
	exec1(t, db, "GRANT USAGE ON SCHEMA cron TO scheduler_reader")
	p := reader.start(t, "import", "pg_cron")
	require.Zero(t, p.code(t))
	require.Contains(t, p.stderr.String(), "row security")
	file = importedFile{}
	require.NoError(t, yaml.Unmarshal([]byte(p.stdout.String()), &file))
	require.Len(t, file.Jobs, 1)
}

// A crontab from standard input to jobs that run.
func TestImportCrontab(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	shell := shellOf(t, db)
	out := filepath.Join(t.TempDir(), "out")
	table := filepath.Join(shell.folder, "crontab")
	require.NoError(t, os.WriteFile(table, []byte("WHERE="+out+"\n# Says hello.\n0 0 1 1 * (echo 100\\%; cat) > \"$WHERE\"%it, # and: 'so'%on\n"), 0o600))
	path := filepath.Join(shell.folder, "jobs.yaml")
	shell.succeed(t, "import", "crontab", table, "--output", path, "--timezone", "Europe/Berlin")
	serveImported(t, shell, db, path)
	shell.succeed(t, "run", "echo", "--wait")
	said, err := os.ReadFile(out)
	require.NoError(t, err)
	require.Equal(t, "100%\nit, # and: 'so'\non\n", string(said))
	require.Contains(t, shell.succeed(t, "job", "echo"), "Says hello.")
}
