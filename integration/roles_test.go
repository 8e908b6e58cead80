package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

var roles = scheduler.RolesDefault()

// somebody is a session of a role.
type somebody struct {
	role string
	conn *pgx.Conn
}

func connectAs(t *testing.T, db *testdb.DB, role string) somebody {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), testdb.RoleURL(db.URL, role))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close(context.WithoutCancel(t.Context()))) })
	return somebody{role: role, conn: conn}
}

// may says with which SQLSTATE a statement ends, which changes nothing in any case.
func (s somebody) may(t *testing.T, statement string) string {
	t.Helper()
	tx, err := s.conn.Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(context.WithoutCancel(t.Context()))
	rows, err := tx.Query(t.Context(), statement)
	if err == nil {
		rows.Close()
		err = rows.Err()
	}
	if err == nil {
		_, err = tx.Exec(t.Context(), "SET CONSTRAINTS ALL IMMEDIATE") // as the commit would
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Code
	}
	require.NoError(t, err)
	return ""
}

const denied = "42501"

func (s somebody) mustNot(t *testing.T, statement string) {
	t.Helper()
	require.Equal(t, denied, s.may(t, statement), "%s: %s", s.role, statement)
}

func (s somebody) must(t *testing.T, statement string) {
	t.Helper()
	require.Empty(t, s.may(t, statement), "%s: %s", s.role, statement)
}

// listed reads a list of names.
func listed(t *testing.T, db *testdb.DB, query string) []string {
	t.Helper()
	rows, err := db.Pool(t).Query(t.Context(), query)
	require.NoError(t, err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.NotEmpty(t, names)
	return names
}

const (
	viewsQuery     = "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'scheduler'::regnamespace AND relkind = 'v' ORDER BY 1"
	tablesQuery    = "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'scheduler'::regnamespace AND relkind = 'r' ORDER BY 1"
	functionsQuery = "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'scheduler'::regnamespace ORDER BY 1"
)

// steering is a call of every function that operators have.
var steering = map[string]string{
	"run_now":          "SELECT scheduler.run_now('yearly_hit')",
	"run_at":           "SELECT scheduler.run_at('yearly_hit', now() + interval '1 hour')",
	"cancel_run":       "SELECT scheduler.cancel_run(scheduler.run_now('yearly_hit'), 'why not')",
	"cancel_runs":      "SELECT scheduler.cancel_runs('yearly_hit', 'why not')",
	"pause_job":        "SELECT scheduler.pause_job('yearly_hit', 'a reason')",
	"resume_job":       "SELECT scheduler.resume_job('yearly_hit')",
	"pause_scheduler":  "SELECT scheduler.pause_scheduler('a reason', cancel_running => true)",
	"resume_scheduler": "SELECT scheduler.resume_scheduler()",
	"reschedule_job":   "SELECT scheduler.reschedule_job('yearly_hit', '@hourly')",
	"backfill":         "SELECT scheduler.backfill('yearly_hit', now() - interval '1 hour', now())",
	"cancel_backfill":  "SELECT scheduler.cancel_backfill(scheduler.backfill('yearly_hit', now() - interval '1 hour', now()))",
	"end_dry_run":      "SELECT scheduler.end_dry_run('in_rollout')",
}

// declaredDB is a database in which a replica has declared the tests' jobs, as the role of
// replicas, and has gone.
func declaredDB(t *testing.T) *testdb.DB {
	t.Helper()
	db := testdb.New(t, migrated)
	stop := runScheduler(t, scheduler.Config{DatabaseURL: db.URL, BootstrapJobs: []string{}, Jobs: []scheduler.JobConfig{{Name: "each_second", Schedule: "@yearly"}}})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs WHERE job_name = 'yearly_hit')")
	stop()
	exec1(t, db, `INSERT INTO scheduler.job_definitions (job_name, schedule, timeout, max_attempts, dry_run_from, dry_run_until)
		VALUES ('in_rollout', '@yearly', '1 hour', 5, now(), now() + interval '1 day')`)
	return db
}

// changes tries every kind of write on a relation.
func changes(t *testing.T, db *testdb.DB, relation string) map[string]string {
	t.Helper()
	column := scalar[string](t, db, "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = $1::regclass AND attnum = 1", relation)
	return map[string]string{
		"INSERT": "INSERT INTO " + relation + " DEFAULT VALUES",
		"UPDATE": fmt.Sprintf("UPDATE %s SET %s = DEFAULT", relation, column),
		"DELETE": "DELETE FROM " + relation,
	}
}

func TestReaderReadsTheViewsAndNothingElse(t *testing.T) {
	t.Parallel()
	db := declaredDB(t)
	reader := connectAs(t, db, roles.Reader)
	for _, view := range listed(t, db, viewsQuery) {
		reader.must(t, "SELECT * FROM "+view)
		for what, statement := range changes(t, db, view) {
			require.NotEmpty(t, reader.may(t, statement), "%s on %s", what, view)
		}
	}
	may := []string{"scheduler.scheduler_state", "scheduler.schema_migrations", "scheduler.river_migration"}
	for _, table := range listed(t, db, tablesQuery) {
		if slices.Contains(may, table) {
			reader.must(t, "SELECT * FROM "+table)
		} else {
			reader.mustNot(t, "SELECT * FROM "+table)
		}
		for _, statement := range changes(t, db, table) {
			reader.mustNot(t, statement)
		}
		reader.mustNot(t, "TRUNCATE "+table)
	}
	for _, call := range steering {
		reader.mustNot(t, call)
	}
	require.ElementsMatch(t, []string{
		"scheduler.lock_key()", "scheduler.migrated_version()", "scheduler.oldest_compatible_version()",
		"scheduler.schedule_in_force(scheduler.job_definitions)", "scheduler.timezone_in_force(scheduler.job_definitions)",
	}, listed(t, db, "SELECT p FROM ("+functionsQuery+") f (p) WHERE has_function_privilege('"+roles.Reader+"', p, 'EXECUTE') AND p NOT LIKE '%river_job_state_in_bitmask%'"))
	reader.mustNot(t, "CREATE TABLE scheduler.mine ()")
}

func TestOperatorSteersByFunctionsAlone(t *testing.T) {
	t.Parallel()
	db := declaredDB(t)
	operator := connectAs(t, db, roles.Operator)
	for name, call := range steering {
		operator.must(t, call)
		require.True(t, scalar[bool](t, db, "SELECT bool_and(prosecdef AND 'search_path=\"scheduler\", pg_temp' = ANY (proconfig)) FROM pg_proc WHERE pronamespace = 'scheduler'::regnamespace AND proname = $1", name), name)
	}
	// What is refused is refused as to the owner.
	for state, call := range map[string]string{
		"SC001": "SELECT scheduler.pause_job('no such job', 'x')",
		"SC002": "SELECT scheduler.run_now('yearly_hit', '{\"size\": 0}')",
		"SC004": "SELECT scheduler.pause_job('yearly_hit', '')",
		"SC005": "SELECT scheduler.cancel_run(0)",
		"SC006": "SELECT scheduler.cancel_backfill(0)",
	} {
		require.Equal(t, state, operator.may(t, call), call)
	}
	for _, relation := range append(listed(t, db, tablesQuery), listed(t, db, viewsQuery)...) {
		for what, statement := range changes(t, db, relation) {
			require.NotEmpty(t, operator.may(t, statement), "%s on %s", what, relation)
		}
	}
	operator.mustNot(t, "UPDATE scheduler.scheduled_jobs SET enabled = false")
	operator.mustNot(t, "SELECT * FROM scheduler.archived_rows")
	operator.mustNot(t, "SELECT scheduler.record_operation('pause_job', 'x', 1, NULL, 'forged')")
	operator.mustNot(t, "SELECT scheduler.cancel_running('yearly_hit', 'x')")
	// A table of the caller's that goes by the name of one of ours is not in the way.
	_, err := operator.conn.Exec(t.Context(), "CREATE TEMPORARY TABLE job_definitions (job_name text); CREATE TEMPORARY TABLE job_runs (); SET search_path = pg_temp")
	require.NoError(t, err)
	for _, call := range steering {
		operator.must(t, call)
	}
	// No function has been added that operators lack, but for those inside.
	var names []string
	for name := range steering {
		names = append(names, name)
	}
	require.ElementsMatch(t, names, listed(t, db, "SELECT proname::text FROM pg_proc WHERE pronamespace = 'scheduler'::regnamespace AND prosecdef AND prorettype <> 'trigger'::regtype"))
}

func TestRoleOfReplicasIsNoOwner(t *testing.T) {
	t.Parallel()
	db := declaredDB(t)
	serve := connectAs(t, db, roles.Serve)
	for _, table := range append(listed(t, db, tablesQuery), "hits") {
		serve.mustNot(t, "DROP TABLE "+table)
		serve.mustNot(t, "ALTER TABLE "+table+" ADD COLUMN mine int")
		serve.mustNot(t, "TRUNCATE "+table+" CASCADE")
	}
	for _, view := range listed(t, db, viewsQuery) {
		serve.must(t, "SELECT * FROM "+view)
		serve.mustNot(t, "DROP VIEW "+view)
	}
	for _, statement := range []string{
		"CREATE TABLE scheduler.mine ()", "CREATE FUNCTION scheduler.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP SCHEMA scheduler CASCADE",
		"DELETE FROM scheduler.job_definitions", "DELETE FROM scheduler.leadership", "SELECT * FROM scheduler.archived_rows", "SELECT * FROM scheduler.operation_log",
		"DELETE FROM scheduler.operation_log", "UPDATE scheduler.schema_migrations SET version = 1", "UPDATE scheduler.role_grants SET kind = 'serve'",
		"INSERT INTO scheduler.backfill_requests DEFAULT VALUES", "DROP FUNCTION scheduler.run_now(text, jsonb, boolean)",
		"ALTER TABLE scheduler.job_runs DISABLE TRIGGER ALL", "CREATE ROLE mine", "SET session_replication_role = replica",
	} {
		serve.mustNot(t, statement)
	}
	require.False(t, scalar[bool](t, db, "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls FROM pg_roles WHERE rolname = $1", roles.Serve))
	// Nothing that is new is writable unless a migration or the script means it.
	exec1(t, db, "CREATE TABLE scheduler.later (id bigserial); CREATE FUNCTION scheduler.later() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE EXECUTE ON FUNCTION scheduler.later() FROM PUBLIC")
	serve.mustNot(t, "INSERT INTO scheduler.later DEFAULT VALUES")
	serve.mustNot(t, "SELECT FROM scheduler.later")
	serve.mustNot(t, "SELECT scheduler.later()")
}

// Every object is commented, and no function is everybody's.
func TestEverythingIsCommented(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	var bare []string
	rows, err := db.Pool(t).Query(t.Context(), `
		SELECT 'schema' WHERE obj_description('scheduler'::regnamespace, 'pg_namespace') IS NULL
		UNION ALL SELECT c.oid::regclass::text FROM pg_class c
		WHERE relnamespace = 'scheduler'::regnamespace AND relkind IN ('r', 'v') AND relname NOT LIKE 'river\_%' AND coalesce(obj_description(c.oid, 'pg_class'), '') = ''
		UNION ALL SELECT c.oid::regclass || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE relnamespace = 'scheduler'::regnamespace AND relkind IN ('r', 'v') AND relname NOT LIKE 'river\_%' AND coalesce(col_description(c.oid, a.attnum), '') = ''
		UNION ALL SELECT p.oid::regprocedure::text FROM pg_proc p
		WHERE pronamespace = 'scheduler'::regnamespace AND proname <> 'river_job_state_in_bitmask' AND coalesce(obj_description(p.oid, 'pg_proc'), '') = ''`)
	require.NoError(t, err)
	bare, err = pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Empty(t, bare, "say what they are with COMMENT ON, in the migration that makes them")
	rows, err = db.Pool(t).Query(t.Context(), `SELECT p.oid::regprocedure::text FROM pg_proc p
		WHERE pronamespace = 'scheduler'::regnamespace AND proname <> 'river_job_state_in_bitmask'
		  AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)`)
	require.NoError(t, err)
	open, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Empty(t, open, "REVOKE EXECUTE ON FUNCTION … FROM PUBLIC in the migration that makes them, and grant them in sql/roles")
}

// A role without privileges is told what it lacks, and a replica of it does not start.
func TestRoleWithNothing(t *testing.T) {
	t.Parallel()
	db := declaredDB(t)
	name := "nothing_" + db.Name
	exec1(t, db, "CREATE ROLE "+name+" LOGIN PASSWORD 'role'")
	t.Cleanup(func() {
		require.NoError(t, execute(context.WithoutCancel(t.Context()), db.URL, "DROP OWNED BY "+name+"; DROP ROLE "+name))
	})
	url := testdb.RoleURL(db.URL, name)
	_, err := scheduler.NewClient(t.Context(), url, "")
	require.ErrorIs(t, err, scheduler.ErrPrivilege)
	mentions(t, err, name, "permission denied for schema scheduler", "scheduler roles")
	err = runOnce(t, scheduler.Config{DatabaseURL: url})
	require.ErrorIs(t, err, scheduler.ErrPrivilege)
	mentions(t, err, name, "permission denied for schema scheduler", "scheduler roles")

	shell := newShell(t, "DATABASE_URL="+url)
	for _, command := range [][]string{{"jobs"}, {"pause", "yearly_hit", "--reason", "x"}, {"serve"}} {
		said := shell.refuse(t, command...)
		require.Contains(t, said, fmt.Sprintf("role %q: permission denied for schema scheduler", name), command)
		require.Contains(t, said, "scheduler roles", command)
	}

	// A reader is no operator, nor a replica.
	exec1(t, db, "GRANT "+roles.Reader+" TO "+name)
	said := shell.refuse(t, "pause", "yearly_hit", "--reason", "x")
	require.Contains(t, said, fmt.Sprintf("role %q: permission denied for function pause_job", name))
	err = runOnce(t, scheduler.Config{DatabaseURL: url})
	require.ErrorIs(t, err, scheduler.ErrPrivilege)
	mentions(t, err, name, "it needs ", " on scheduler.", " more; ", "scheduler roles")
}

// What a replica cannot do without is asked for when it starts: each of the privileges
// that the script gives on tables and functions, if it is taken away again.
func TestReplicaAsksForEachPrivilege(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	statements := sql.For(scheduler.SchemaDefault)
	serve := connectAs(t, db, roles.Serve)
	missing := func() []sql.Privilege {
		list, err := statements.MissingPrivileges(t.Context(), serve.conn)
		require.NoError(t, err)
		return list
	}
	require.Empty(t, missing())
	rows, err := db.Pool(t).Query(t.Context(), `SELECT a.privilege_type, c.oid::regclass::text FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
		WHERE c.relnamespace = 'scheduler'::regnamespace AND c.relkind = 'r' AND a.grantee = $1::regrole
		  AND c.relname NOT IN ('schema_migrations', 'river_migration')`, roles.Serve)
	require.NoError(t, err)
	granted, err := pgx.CollectRows(rows, pgx.RowToStructByPos[sql.Privilege])
	require.NoError(t, err)
	require.Greater(t, len(granted), 25)
	for _, privilege := range granted {
		exec1(t, db, fmt.Sprintf("REVOKE %s FROM %s", privilege, roles.Serve))
		require.Equal(t, []sql.Privilege{privilege}, missing())
		exec1(t, db, fmt.Sprintf("GRANT %s TO %s", privilege, roles.Serve))
	}
	exec1(t, db, "REVOKE USAGE ON SCHEMA scheduler FROM "+roles.Serve)
	require.Equal(t, []sql.Privilege{{Privilege: "USAGE", Object: "schema scheduler"}}, missing())
}

// The command line as people with the roles have it.
func TestCLIUnderRoles(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	shell := shellOf(t, db)
	replica := shell.serve(t, db, "--config=yearly.yaml", "--bootstrap-jobs=")
	reader, operator := shell.as(roles.Reader), shell.as(roles.Operator)
	for _, command := range []string{"jobs", "job database_cleanup", "runs", "agenda", "leader", "replicas", "rollout", "backfills", "migrate status"} {
		require.NotEmpty(t, reader.succeed(t, strings.Fields(command)...), command)
	}
	require.Len(t, reader.list(t, "jobs"), 4)
	for _, command := range []string{"pause database_cleanup --reason x", "resume database_cleanup", "run database_cleanup", "reschedule database_cleanup @daily"} {
		require.Contains(t, reader.refuse(t, strings.Fields(command)...), `role "scheduler_reader": permission denied for function `, command)
	}
	operator.succeed(t, "pause", "database_cleanup", "--reason", "it is 3 in the morning")
	operator.succeed(t, "resume", "database_cleanup")
	operator.succeed(t, "reschedule", "database_cleanup", "@monthly")
	operator.succeed(t, "run", "database_cleanup", "--dry-run", "--wait")
	operator.succeed(t, "pause", "--all", "--reason", "all of it")
	operator.succeed(t, "resume", "--all")
	require.Equal(t, "success", operator.list(t, "runs")[0]["status"])
	require.Equal(t, roles.Operator, operator.list(t, "runs")[0]["requested_by"])
	require.Equal(t, []string{"resume_scheduler", "pause_scheduler", "run_now", "reschedule_job", "resume_job", "pause_job"},
		listed(t, db, "SELECT action FROM scheduler.operations WHERE who = '"+roles.Operator+"' ORDER BY at DESC"))

	// An old schema is the owner's to bring up to date.
	require.Contains(t, shell.as(roles.Serve).succeed(t, "migrate", "up"), "nothing to do")
	replica.end(t)
	shell.succeed(t, "migrate", "down", "--yes")
	for _, command := range []string{"migrate up", "serve --migrate"} {
		said := shell.as(roles.Serve).refuse(t, strings.Fields(command)...)
		require.Contains(t, said, `role "scheduler_serve" may not migrate it, since it is not the owner: run "scheduler migrate up" as "postgres"`, command)
	}
}

func TestRolesScript(t *testing.T) {
	t.Parallel()
	for name, names := range map[string]scheduler.Roles{
		"no name": {}, "twice": {Reader: "a", Operator: "b", Serve: "a"}, "reserved": {Reader: "pg_a", Operator: "b", Serve: "c"},
		"long": {Reader: strings.Repeat("x", 64), Operator: "b", Serve: "c"}, "two lines": {Reader: "a\nb", Operator: "b", Serve: "c"},
		"everybody": {Reader: "public", Operator: "b", Serve: "c"}, "quotes": {Reader: "a$roles$b", Operator: "b", Serve: "c"},
	} {
		_, err := scheduler.RolesScript("", names)
		require.Error(t, err, name)
	}
	_, err := scheduler.RolesScript("My Schema", roles)
	require.Error(t, err)

	db := testdb.New(t)
	odd := scheduler.Roles{Reader: `Röder "x" ` + db.Name[:4], Operator: `it's 100%s \ {serve} ` + db.Name[:4], Serve: "select;--" + db.Name[:4]}
	t.Cleanup(func() {
		for _, role := range []string{odd.Reader, odd.Operator, odd.Serve} {
			name := pgx.Identifier{role}.Sanitize()
			require.NoError(t, execute(context.WithoutCancel(t.Context()), db.URL, "DROP OWNED BY "+name+"; DROP ROLE "+name))
		}
	})
	script := func(schema string, names scheduler.Roles) string {
		text, err := scheduler.RolesScript(schema, names)
		require.NoError(t, err)
		return text
	}
	// Not migrated: nothing is changed.
	var pgErr *pgconn.PgError
	require.ErrorAs(t, execute(t.Context(), db.URL, script("", odd)), &pgErr)
	require.Contains(t, pgErr.Message, `the schema scheduler of the database `+db.Name+` has version 0`)
	require.Zero(t, scalar[int](t, db, "SELECT count(*) FROM pg_roles WHERE rolname = $1", odd.Reader))

	exec1(t, db, "CREATE TABLE logs (id int, level text)")
	for _, schema := range []string{scheduler.SchemaDefault, "another_one"} {
		_, err := scheduler.MigrateUp(t.Context(), scheduler.MigrateConfig{DatabaseURL: db.URL, Schema: schema, Logger: discard()})
		require.NoError(t, err)
		// Twice is once.
		require.NoError(t, execute(t.Context(), db.URL, script(schema, odd)))
		acl := func() string {
			return scalar[string](t, db, `SELECT string_agg(concat_ws(' ', relname, relacl), E'\n' ORDER BY relname) FROM pg_class WHERE relnamespace = $1::regnamespace`, schema)
		}
		first := acl()
		require.NoError(t, execute(t.Context(), db.URL, script(schema, odd)))
		require.Equal(t, first, acl())
		require.True(t, scalar[bool](t, db, "SELECT has_table_privilege($1, $2, 'SELECT') AND NOT has_table_privilege($1, $2, 'UPDATE')", odd.Reader, schema+".runs"))
		require.True(t, scalar[bool](t, db, "SELECT has_function_privilege($1, $2, 'EXECUTE')", odd.Operator, schema+".run_now(text, jsonb, boolean)"))
		require.False(t, scalar[bool](t, db, "SELECT has_function_privilege($1, $2, 'EXECUTE')", odd.Reader, schema+".run_now(text, jsonb, boolean)"))
		require.Equal(t, int64(3), scalar[int64](t, db, "SELECT count(*) FROM "+schema+".role_grants"))
	}
	require.True(t, scalar[bool](t, db, "SELECT has_table_privilege($1, 'logs', 'SELECT, DELETE') AND has_column_privilege($1, 'logs', 'level', 'UPDATE') AND NOT has_column_privilege($1, 'logs', 'id', 'UPDATE')", odd.Serve))
}

// It takes no superuser: a role that may create roles, and owns the schema and the tables
// that are cleaned, runs the script.
func TestRolesScriptOfAnOwner(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	owner := "owner_" + db.Name[:4]
	own := scheduler.Roles{Reader: "r_" + db.Name[:4], Operator: "o_" + db.Name[:4], Serve: "s_" + db.Name[:4]}
	exec1(t, db, fmt.Sprintf("CREATE ROLE %s LOGIN CREATEROLE PASSWORD '%s'; GRANT CREATE ON DATABASE %s TO %[1]s; GRANT CREATE ON SCHEMA public TO %[1]s", owner, testdb.RolePassword, db.Name))
	t.Cleanup(func() {
		for _, role := range []string{own.Reader, own.Operator, own.Serve, owner} {
			require.NoError(t, execute(context.WithoutCancel(t.Context()), db.URL, "DROP OWNED BY "+role+" CASCADE; DROP ROLE "+role))
		}
	})
	url := testdb.RoleURL(db.URL, owner)
	_, err := scheduler.MigrateUp(t.Context(), scheduler.MigrateConfig{DatabaseURL: url, Logger: discard()})
	require.NoError(t, err)
	script, err := scheduler.RolesScript("", own)
	require.NoError(t, err)
	require.NoError(t, execute(t.Context(), url, testTables+script))
	exec1(t, db, fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'; GRANT SELECT, INSERT ON hits TO %[1]s", own.Serve, testdb.RolePassword))
	runScheduler(t, scheduler.Config{DatabaseURL: testdb.RoleURL(db.URL, own.Serve)})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs WHERE job_name = 'yearly_hit')")
	waitStatus(t, db, runNow(t, db, "yearly_hit"), jobs.StatusSuccess)
}

// After a migration the roles of the script have what is new; one that is gone is passed
// over.
func TestMigrationsGrantWhatIsNew(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	exec1(t, db, "REVOKE ALL ON scheduler.runs, scheduler.job_runs FROM "+roles.Reader+", "+roles.Serve)
	exec1(t, db, "REVOKE EXECUTE ON FUNCTION scheduler.run_now(text, jsonb, boolean) FROM "+roles.Operator)
	exec1(t, db, "INSERT INTO scheduler.role_grants (role_name, kind) VALUES ('long gone', 'serve')")
	got, err := sql.For(scheduler.SchemaDefault).RegrantRoles(t.Context(), db.Conn(t))
	require.NoError(t, err)
	require.Equal(t, []string{roles.Operator, roles.Reader, roles.Serve}, got)
	connectAs(t, db, roles.Reader).must(t, "SELECT FROM scheduler.runs")
	connectAs(t, db, roles.Serve).must(t, "DELETE FROM scheduler.job_runs")
	require.True(t, scalar[bool](t, db, "SELECT has_function_privilege($1, 'scheduler.run_now(text, jsonb, boolean)', 'EXECUTE')", roles.Operator))

	// So does a migration.
	config := scheduler.MigrateConfig{DatabaseURL: db.URL, Logger: discard()}
	status, err := scheduler.MigrateStatus(t.Context(), config)
	require.NoError(t, err)
	const withRoles = 6 // the migration that remembers the roles
	_, err = scheduler.MigrateDown(t.Context(), config, int(status.Version)-withRoles)
	require.NoError(t, err)
	_, err = scheduler.MigrateUp(t.Context(), config)
	require.NoError(t, err)
	reader := connectAs(t, db, roles.Reader)
	for _, view := range listed(t, db, viewsQuery) {
		reader.must(t, "SELECT * FROM "+view)
	}
	missing, err := sql.For(scheduler.SchemaDefault).MissingPrivileges(t.Context(), connectAs(t, db, roles.Serve).conn)
	require.NoError(t, err)
	require.Empty(t, missing)
}

// A deployment that gave its replicas a role by hand, before there was a script, goes on
// working after the migration; one that only reads does not steer all of a sudden.
func TestRolesMadeByHandBeforeTheScript(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	status, err := scheduler.MigrateStatus(t.Context(), scheduler.MigrateConfig{DatabaseURL: db.URL})
	require.NoError(t, err)
	config := scheduler.MigrateConfig{DatabaseURL: db.URL, Logger: discard()}
	_, err = scheduler.MigrateDown(t.Context(), config, int(status.Version)-5)
	require.NoError(t, err)
	worker, monitor := "hand_worker_"+db.Name[:4], "hand_monitor_"+db.Name[:4]
	exec1(t, db, fmt.Sprintf(`CREATE ROLE %[1]s LOGIN PASSWORD 'role'; CREATE ROLE %[2]s LOGIN PASSWORD 'role';
		GRANT USAGE ON SCHEMA scheduler TO %[1]s, %[2]s; GRANT ALL ON ALL TABLES IN SCHEMA scheduler TO %[1]s; GRANT ALL ON ALL SEQUENCES IN SCHEMA scheduler TO %[1]s;
		GRANT SELECT ON ALL TABLES IN SCHEMA scheduler TO %[2]s; GRANT ALL ON hits TO %[1]s`, worker, monitor))
	t.Cleanup(func() {
		require.NoError(t, execute(context.WithoutCancel(t.Context()), db.URL, fmt.Sprintf("DROP OWNED BY %[1]s, %[2]s; DROP ROLE %[1]s, %[2]s", worker, monitor)))
	})
	_, err = scheduler.MigrateUp(t.Context(), config)
	require.NoError(t, err)
	connectAs(t, db, monitor).mustNot(t, "SELECT scheduler.pause_scheduler('x')")
	runScheduler(t, scheduler.Config{DatabaseURL: testdb.RoleURL(db.URL, worker)})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs WHERE job_name = 'yearly_hit')")
	waitStatus(t, db, scalar[int64](t, db, "SELECT scheduler.run_now('yearly_hit')"), jobs.StatusSuccess)
}

// Down and up again gives nobody more than the script does; readers and operators have
// what they had when the script was run again.
func TestRolesAfterDownAndUp(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	has := func(role string) []string {
		return listed(t, db, fmt.Sprintf(`
			SELECT a.privilege_type || ' ' || c.oid::regclass FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
			WHERE c.relnamespace = 'scheduler'::regnamespace AND a.grantee = '%[1]s'::regrole
			UNION ALL SELECT 'EXECUTE ' || p.oid::regprocedure FROM pg_proc p
			WHERE p.pronamespace = 'scheduler'::regnamespace AND has_function_privilege('%[1]s', p.oid, 'EXECUTE')
			UNION ALL SELECT 'USAGE' WHERE has_schema_privilege('%[1]s', 'scheduler', 'USAGE')`, role))
	}
	before := make(map[string][]string)
	for _, role := range []string{roles.Reader, roles.Operator, roles.Serve} {
		before[role] = has(role)
	}
	config := scheduler.MigrateConfig{DatabaseURL: db.URL, Logger: discard()}
	status, err := scheduler.MigrateStatus(t.Context(), config)
	require.NoError(t, err)
	_, err = scheduler.MigrateDown(t.Context(), config, int(status.Version)-5)
	require.NoError(t, err)
	_, err = scheduler.MigrateUp(t.Context(), config)
	require.NoError(t, err)
	for role, privileges := range before {
		require.Subset(t, privileges, has(role), role)
	}
	require.ElementsMatch(t, before[roles.Serve], has(roles.Serve), "replicas go on")
	serve := connectAs(t, db, roles.Serve)
	for _, table := range []string{"scheduler.operation_log", "scheduler.role_grants"} {
		serve.mustNot(t, "SELECT * FROM "+table)
		for _, statement := range changes(t, db, table) {
			serve.mustNot(t, statement)
		}
	}
	serve.mustNot(t, "SELECT scheduler.record_operation('pause_job', 'x', 1, NULL, 'forged')")
	connectAs(t, db, roles.Reader).mustNot(t, "SELECT FROM scheduler.runs")
	require.NoError(t, testdb.MakeRoles(t.Context(), db.URL, scheduler.SchemaDefault))
	for role, privileges := range before {
		require.ElementsMatch(t, privileges, has(role), role)
	}
}

// A migration that waits for an open transaction holds up nobody else who writes the ledger.
func TestMigrationWaitsPolitely(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	config := scheduler.MigrateConfig{DatabaseURL: db.URL, Logger: discard()}
	status, err := scheduler.MigrateStatus(t.Context(), config)
	require.NoError(t, err)
	const oldest = 5 // the migration before those that lock politely
	for from := int(status.Version) - 1; from >= oldest; from-- {
		_, err = scheduler.MigrateDown(t.Context(), config, int(status.Version)-from)
		require.NoError(t, err)
		writer := db.Conn(t)
		tx, err := writer.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), "DELETE FROM scheduler.job_runs")
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() {
			_, err := scheduler.MigrateUp(t.Context(), config)
			ended <- err
		}()
		waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'scheduler.job_runs'::regclass AND NOT granted)")
		other := execute(t.Context(), db.URL, "SET lock_timeout = '2s'; DELETE FROM scheduler.job_runs")
		rolledBack := tx.Rollback(t.Context())
		require.NoError(t, <-ended)
		require.NoError(t, other, "from version %d", from)
		require.NoError(t, rolledBack)
	}
}

// Whoever may delete runs needs nothing on what they have logged.
func TestDeletingRunsNeedsNoMore(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	role, url := roleOf(t, db, "USAGE ON SCHEMA scheduler", "SELECT, DELETE ON scheduler.job_runs")
	exec1(t, db, `WITH run AS (INSERT INTO scheduler.job_runs (job_name, tick, trigger, status) VALUES ('x', now(), 'manual', 'success') RETURNING id)
		INSERT INTO scheduler.run_log_chunks (run_id, attempt, replica_id, lines) SELECT id, 1, 'r', '[]' FROM run`)
	require.NoError(t, execute(t.Context(), url, "DELETE FROM scheduler.job_runs"), role)
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM scheduler.run_log_chunks"))
}

// What operators write is bounded, by each function that takes it, and before anything is
// changed.
func TestTextsAreBounded(t *testing.T) {
	t.Parallel()
	db := declaredDB(t)
	operator := connectAs(t, db, roles.Operator)
	const run, backfill = "(SELECT scheduler.run_now('yearly_hit'))", "(SELECT scheduler.backfill('yearly_hit', now() - interval '1 hour', now()))"
	for name, call := range map[string]string{
		"pause_job":       "SELECT scheduler.pause_job('yearly_hit', %s)",
		"pause_scheduler": "SELECT scheduler.pause_scheduler(%s)",
		"cancel_run":      "SELECT scheduler.cancel_run(" + run + ", %s)",
		"cancel_runs":     "SELECT scheduler.cancel_runs('yearly_hit', %s)",
		"cancel_backfill": "SELECT scheduler.cancel_backfill(" + backfill + ", %s)",
	} {
		operator.must(t, fmt.Sprintf(call, "repeat('ö', 2000)"))
		require.Equal(t, "SC004", operator.may(t, fmt.Sprintf(call, "repeat('ö', 2001)")), name)
	}
	operator.must(t, "SELECT scheduler.reschedule_job('yearly_hit', repeat('ö', 500))")
	require.Equal(t, "SC004", operator.may(t, "SELECT scheduler.reschedule_job('yearly_hit', repeat('ö', 501))"))
}

// Who asked for runs is known as well as who did all else.
func TestOperationsNameTheApplication(t *testing.T) {
	t.Parallel()
	db := declaredDB(t)
	operator := connectAs(t, db, roles.Operator)
	for _, statement := range []string{
		"SET application_name = 'the pager'", steering["run_now"], steering["run_at"], steering["backfill"], steering["pause_job"],
	} {
		_, err := operator.conn.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	require.ElementsMatch(t, []string{"run_now", "run_at", "backfill", "pause_job"},
		listed(t, db, "SELECT action FROM scheduler.operations WHERE application = 'the pager' AND client_addr IS NOT NULL AND who = '"+roles.Operator+"'"))
}
