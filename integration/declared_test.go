package integration

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/internal/doctor"
)

// configure writes a configuration file into the shell's folder.
func (s shell) configure(t *testing.T, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(s.folder, "c.yaml"), []byte(content), 0o600))
}

// serveDeclared starts a replica with a configuration file, on a database that holds
// nothing but the scheduler's schema, and waits until it leads.
func serveDeclared(t *testing.T, db *testdb.DB, content string, variables ...string) (shell, *process) {
	t.Helper()
	shell := newShell(t, append(variables, "DATABASE_URL="+db.URL)...)
	shell.configure(t, "bootstrap_jobs: []\n"+content)
	p := shell.start(t, "serve", "--config=c.yaml")
	testdb.WaitFor(t, "a leader with the declared jobs", waitCLI, func(ctx context.Context) (bool, any, error) {
		var ready bool
		err := db.Pool(t).QueryRow(ctx, "SELECT EXISTS (SELECT FROM scheduler.leader) AND count(*) > 4 FROM scheduler.scheduled_jobs WHERE registered").Scan(&ready)
		return ready, p.stderr.String(), err
	})
	return shell, p
}

// change runs a statement of a test.
func change(t *testing.T, db *testdb.DB, statement string) {
	t.Helper()
	_, err := db.Pool(t).Exec(t.Context(), statement)
	require.NoError(t, err, statement)
}

func TestDeclaredSQL(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	change(t, db, "CREATE TABLE carts (id bigint PRIMARY KEY, touched_at timestamptz NOT NULL, note text)")
	change(t, db, "INSERT INTO carts SELECT i, now() - i * interval '1 day' FROM generate_series(1, 100) i")
	change(t, db, "CREATE MATERIALIZED VIEW cart_totals AS SELECT count(*) AS n FROM carts")
	change(t, db, "CREATE UNIQUE INDEX ON cart_totals (n)")
	shell, p := serveDeclared(t, db, `
jobs:
  - name: delete_old_carts
    description: Deletes carts.
    schedule: "@yearly"
    parameters: {keep: 720h, most: 1000, tags: [a, b], label: "x'); DROP TABLE carts; --", half: 0.5, really: true}
    sql:
      - DELETE FROM carts WHERE touched_at < @now - @keep AND id <= @most AND @really
      - name: marked
        statement: |
          UPDATE carts SET note = @label || @tick || @run_id || array_to_string(@tags::text[], ',') || @half::float8
          WHERE id <= 10
      - REFRESH MATERIALIZED VIEW CONCURRENTLY cart_totals
`)
	job := shell.object(t, "job", "delete_old_carts")
	require.Equal(t, "Deletes carts. [SQL]", job["description"])
	dry := shell.object(t, "run", "delete_old_carts", "--dry-run", "--wait")
	require.Equal(t, "success", dry["status"])
	require.EqualValues(t, 81, dry["rows_affected"])
	require.EqualValues(t, 100, scalar[int64](t, db, "SELECT count(*) FROM carts"))
	run := shell.object(t, "run", "delete_old_carts", "--wait", "--param", "keep=1200h")
	require.Equal(t, "success", run["status"], run)
	require.EqualValues(t, 61, run["rows_affected"])
	require.Equal(t, map[string]any{
		"statement_1": map[string]any{"rows": 51.0}, "marked": map[string]any{"rows": 10.0}, "statement_3": map[string]any{"rows": 0.0, "note": "REFRESH MATERIALIZED VIEW"},
	}, run["targets"])
	require.EqualValues(t, 49, scalar[int64](t, db, "SELECT n FROM cart_totals"))
	require.Contains(t, scalar[string](t, db, "SELECT note FROM carts WHERE id = 1"), "x'); DROP TABLE carts; --", "a value is a value")
	require.Contains(t, shell.refuse(t, "run", "delete_old_carts", "--param", "most=many"), "must be a whole number")
	require.Contains(t, shell.refuse(t, "run", "delete_old_carts", "--param", "other=1"), "other")
	require.Contains(t, shell.succeed(t, "jobs"), "delete_old_carts")
	p.end(t)
}

// What the server refuses is said before the start, all of it, with its place.
func TestDeclaredSQLIsCheckedAtTheStart(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	change(t, db, "CREATE TABLE carts (id bigint PRIMARY KEY, touched_at timestamptz)")
	shell := shellOf(t, db)
	shell.configure(t, `bootstrap_jobs: []
jobs:
  - name: several
    schedule: "@daily"
    sql: DELETE FROM carts; COMMIT
  - name: no_column
    schedule: "@daily"
    sql:
      - |
        DELETE FROM carts
        WHERE touchd_at < @now
  - name: no_table
    schedule: "@daily"
    sql: SELECT 1 FROM "gone"
  - name: no_syntax
    schedule: "@daily"
    parameters: {größe: 1}
    sql: SELECT 1
  - name: bad_type
    schedule: "@daily"
    parameters: {n: 3}
    sql: ["SELECT 'ü', @n || 'x', nosuch(@n)"]
  - name: disabled
    enabled: false
    schedule: "@daily"
    sql: DELETE FROM nowhere
  - name: unchecked
    schedule: "@daily"
    sql:
      check: false
      statements: [CREATE TEMP TABLE t (n int) ON COMMIT DROP, INSERT INTO t VALUES (1)]
`)
	text := shell.refuse(t, "serve", "--config=c.yaml", "--migrate")
	require.Contains(t, text, `c.yaml:17:25: job "no_syntax": parameters.größe: no statement uses @größe`)
	content, err := os.ReadFile(filepath.Join(shell.folder, "c.yaml"))
	require.NoError(t, err)
	shell.configure(t, strings.ReplaceAll(string(content), "{größe: 1}", "{}"))
	serve := shell.call(t, "serve", "--config=c.yaml", "--migrate")
	require.Equal(t, 2, serve.code(t))
	for _, want := range []string{
		"the configuration has 4 mistakes",
		`c.yaml:5:10: job "several": sql.statement_1: holds several statements`,
		`c.yaml:11:15: job "no_column": sql.statement_1: ERROR: column "touchd_at" does not exist`, `Perhaps you meant`,
		`c.yaml:14:24: job "no_table": sql.statement_1: ERROR: relation "gone" does not exist`,
		`c.yaml:22:35: job "bad_type": sql.statement_1: ERROR: function nosuch(`,
	} {
		require.Contains(t, serve.stderr.String(), want)
	}
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM pg_namespace WHERE nspname = 'scheduler'"), "nothing was made")
	report := shell.examine(t, "--config=c.yaml")
	hasFinding(t, report, finding{"jobs", "declared", doctor.StatusProblem, `c.yaml:11:15: job "no_column"`, "configuration"})
}

// Statements of all sorts can be checked before the start, and run and rolled back.
func TestDeclaredSQLOfAllSorts(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	change(t, db, "CREATE TYPE color AS ENUM ('red', 'green')")
	change(t, db, "CREATE TABLE carts (id bigint PRIMARY KEY, key uuid, c color, amount numeric, day date, at timestamptz, tags text[])")
	change(t, db, "CREATE PROCEDURE p(n bigint) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO carts (id) VALUES (n); END $$")
	change(t, db, "CREATE VIEW shown AS SELECT id FROM carts")
	shell, p := serveDeclared(t, db, `
jobs:
  - name: sorts
    schedule: "@yearly"
    parameters:
      n: 7
      share: 0.5
      key: 00000000-0000-0000-0000-000000000001
      keys: [00000000-0000-0000-0000-000000000001]
      color: red
      day: 2026-01-01
      keep: 36h
      really: true
      text: "5"
    sql:
      - INSERT INTO carts (id, key, c, amount, day, at, tags) VALUES (@n, @key, @color, @share, @day, @now - @keep, '{@n}') RETURNING id
      - "UPDATE carts SET amount = amount * @n + @share WHERE key = ANY(@keys) AND @really"
      - "SELECT id FROM carts WHERE id = @text AND at > @tick - @n * interval '100 days' FOR UPDATE"
      - "WITH gone AS (DELETE FROM carts WHERE id = @n RETURNING 1) SELECT count(*) FROM gone"
      - MERGE INTO carts USING (VALUES (CAST(@run_id AS bigint))) AS v (id) ON carts.id = v.id WHEN NOT MATCHED THEN INSERT (id) VALUES (v.id)
      - CALL p(1000)
      - CALL p(@n + 2000)
      - DO $x$ BEGIN PERFORM '@n'; END $x$
      - CREATE TABLE made AS SELECT @n::int AS n, @day::date AS day
      - SELECT 1 AS one INTO made_too
      - CREATE INDEX ON carts (day)
      - LOCK TABLE carts
      - ANALYZE carts
      - TRUNCATE carts;
      - INSERT INTO shown SELECT generate_series(1, @n) -- @not_an_argument
      - NOTIFY somebody, 'x'
      - SET LOCAL work_mem = '8MB'
      - VALUES (1), (2)
      - TABLE carts
      - COMMENT ON TABLE carts IS 'with @signs'
      - GRANT SELECT ON carts TO pg_monitor
      - EXPLAIN ANALYZE SELECT @n::int
      - DROP TABLE carts CASCADE
`)
	for _, flags := range [][]string{{"--dry-run"}, nil} {
		require.EqualValues(t, 1, scalar[int64](t, db, "SELECT count(*) FROM pg_class WHERE relname IN ('carts', 'made', 'made_too')"), "a dry run leaves all as it was")
		run := shell.object(t, append([]string{"run", "sorts", "--wait"}, flags...)...)
		require.Equal(t, "success", run["status"], run)
		require.EqualValues(t, 1+1+1+7, run["rows_affected"])
	}
	require.EqualValues(t, 2, scalar[int64](t, db, "SELECT count(*) FROM pg_class WHERE relname IN ('carts', 'made', 'made_too')"))
	p.end(t)
}

// A statement that turns triggers off, as a bulk load may, leaves those on that the ledger
// follows by.
func TestDeclaredSQLWithTriggersOff(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	change(t, db, "CREATE TABLE carts (id bigint PRIMARY KEY)")
	change(t, db, "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$")
	change(t, db, "CREATE TRIGGER refuse BEFORE INSERT ON carts FOR EACH ROW EXECUTE FUNCTION refuse()")
	shell, p := serveDeclared(t, db, `
jobs:
  - name: load
    schedule: "@yearly"
    sql: [SET LOCAL session_replication_role = replica, INSERT INTO carts VALUES (@run_id)]
  - name: load_all
    schedule: "@yearly"
    sql: ["SELECT set_config('session_replication_role', 'replica', false)", INSERT INTO carts VALUES (@run_id)]
`)
	for _, job := range []string{"load", "load_all", "load"} {
		run := shell.object(t, "run", job, "--wait")
		require.Equal(t, "success", run["status"], run)
	}
	require.EqualValues(t, 3, scalar[int64](t, db, "SELECT count(*) FROM carts"))
	p.end(t)
}

// Privileges are looked at, too.
func TestDeclaredSQLWithoutPrivileges(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	change(t, db, "CREATE SCHEMA shop")
	change(t, db, "CREATE TABLE shop.carts (id bigint PRIMARY KEY)")
	change(t, db, "GRANT USAGE ON SCHEMA shop TO "+scheduler.RolesDefault().Serve)
	change(t, db, "GRANT SELECT ON shop.carts TO "+scheduler.RolesDefault().Serve)
	shell := shellOf(t, db).as(scheduler.RolesDefault().Serve)
	shell.configure(t, "bootstrap_jobs: []\njobs:\n  - name: carts\n    schedule: \"@daily\"\n    sql: DELETE FROM shop.carts WHERE id < @run_id\n")
	require.Contains(t, shell.refuse(t, "serve", "--config=c.yaml"), `c.yaml:5:10: job "carts": sql.statement_1: ERROR: permission denied for table carts`)
	change(t, db, "GRANT DELETE ON shop.carts TO "+scheduler.RolesDefault().Serve)
	p := shell.start(t, "serve", "--config=c.yaml")
	waitValue(t, db, waitCLI, true, "SELECT EXISTS (SELECT FROM scheduler.scheduled_jobs WHERE job_name = 'carts' AND registered)")
	p.end(t)
}

// No row decides which statement is run: parameters are values of declared types.
func TestDeclaredSQLIsNotReadFromRows(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	change(t, db, "CREATE TABLE seen (n bigint)")
	shell, p := serveDeclared(t, db, `
jobs:
  - name: note
    schedule: "@yearly"
    parameters: {n: 1}
    sql: INSERT INTO seen VALUES (@n)
`)
	change(t, db, `UPDATE scheduler.job_definitions SET description = 'DROP TABLE seen', parameters = '{"n": 2}' WHERE job_name = 'note'`)
	tamper := func(with string) {
		change(t, db, `CREATE OR REPLACE FUNCTION tamper() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.args := NEW.args || '`+with+`'; RETURN NEW; END $$`)
		change(t, db, "CREATE OR REPLACE TRIGGER tamper BEFORE INSERT ON scheduler.river_job FOR EACH ROW EXECUTE FUNCTION tamper()")
	}
	tamper(`{"sql": "DROP TABLE seen", "statements": ["DROP TABLE seen"], "parameters": {"n": 3}}`)
	require.Equal(t, "success", shell.object(t, "run", "note", "--wait")["status"])
	require.EqualValues(t, 3, scalar[int64](t, db, "SELECT sum(n)::bigint FROM seen"))
	for _, with := range []string{`{"parameters": {"n": "1); DROP TABLE seen; --"}}`, `{"parameters": {"sql": "DROP TABLE seen"}}`} {
		tamper(with)
		require.Contains(t, shell.fail(t, "run", "note", "--wait").stderr.String(), "parameter")
	}
	require.EqualValues(t, 3, scalar[int64](t, db, "SELECT sum(n)::bigint FROM seen"))
	p.end(t)
}
