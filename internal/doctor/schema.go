package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
	"github.com/systempromptio/scheduler/sql"
)

const (
	noSchema  = "the schema does not fit"
	rolesHint = "scheduler roles writes a script that grants all of it"
)

// needs are what serve does in the scheduler's schema, by table. Views are read with
// the privileges of their owner, but tables are named as well.
var needs = []struct{ table, privileges string }{ //nolint:gochecknoglobals // a table that nobody changes
	{"schema_migrations", "SELECT"},
	{"river_migration", "SELECT"},
	{"river_job", "SELECT INSERT UPDATE DELETE"},
	{"river_queue", "SELECT INSERT UPDATE"},
	{"job_definitions", "SELECT INSERT UPDATE"},
	{"job_runs", "SELECT INSERT UPDATE DELETE"},
	{"run_log_chunks", "SELECT INSERT DELETE"},
	{"leadership", "SELECT UPDATE"},
	{"scheduler_state", "SELECT INSERT UPDATE"},
	{"undecided_spans", "SELECT INSERT UPDATE DELETE"},
	{"backfill_requests", "SELECT UPDATE"},
	{"retention_candidates", "SELECT INSERT DELETE"},
	{"archived_rows", "INSERT"},
	{"scheduled_jobs", "SELECT"},
	{"jobs", "SELECT"},
	{"runs", "SELECT"},
	{"leader", "SELECT"},
	{"replicas", "SELECT"},
}

// calls are the functions that serve calls, by itself or by a view or trigger, and the
// sequence from which it takes ids. What operators call need not be granted to it.
var calls = []string{ //nolint:gochecknoglobals // a table that nobody changes
	"check_parameters", "check_policies", "join_fleet", "lock_key", "migrated_version", "oldest_compatible_version",
	"schedule_in_force", "timezone_in_force", "wait_for_leader_lock", "wake_leader",
	"river_job_id_seq",
}

// schema makes the checks of the schema and of the privileges on it.
func (e *examination) schema(ctx context.Context) {
	names := []string{"version", "river_version"}
	if !e.reachable() {
		e.skip(groupSchema, noConnection, names...)
		e.skip(groupPrivileges, noConnection, "schema", "job")
		return
	}
	var access sql.DoctorSchemaAccess
	err := e.read(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		access, err = e.statements.DoctorSchemaAccess(ctx, tx)
		return err
	})
	if err != nil {
		e.failed(groupSchema, "version", err)
		e.skip(groupPrivileges, noSchema, "schema", "job")
		return
	}
	switch {
	case !access.SchemaExists:
		fix := "scheduler migrate up"
		if !access.MayCreate {
			fix = fmt.Sprintf("CREATE SCHEMA %s AUTHORIZATION %s; then: scheduler migrate up", quote(e.config.Schema), quote(e.session.Role))
		}
		e.add(groupSchema, "version", StatusProblem, fmt.Sprintf("schema %q has not been set up", e.config.Schema)).fix(fix)
		e.skip(groupSchema, noSchema, "river_version")
		e.skip(groupPrivileges, noSchema, "schema", "job")
		return
	case !access.MayUse:
		e.skip(groupSchema, "the role may not look into the schema", names...)
		e.add(groupPrivileges, "schema", StatusProblem, fmt.Sprintf("role %q lacks USAGE on schema %q", e.session.Role, e.config.Schema)).
			fix(fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s", quote(e.config.Schema), quote(e.session.Role))).detail(rolesHint)
		e.skip(groupPrivileges, "the role may not look into the schema", "job")
		return
	}
	e.mayLook = true
	e.versions(ctx)
	e.privileges(ctx)
}

func (e *examination) versions(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	status, err := scheduler.MigrateStatus(ctx, scheduler.MigrateConfig{
		DatabaseURL: e.config.DatabaseURL, Schema: e.config.Schema, BeforeConnectFunc: e.config.BeforeConnectFunc, Logger: e.config.Logger,
	})
	if err != nil {
		e.failed(groupSchema, "version", err)
		e.skip(groupSchema, noSchema, "river_version")
		return
	}
	river := fmt.Sprintf("River's tables have version %d", status.RiverVersion)
	if err := status.Check(); err != nil {
		found, fix := splitFix(err.Error())
		e.add(groupSchema, "version", StatusProblem, found).fix(fix)
		e.add(groupSchema, "river_version", StatusNote, fmt.Sprintf("%s, this build knows %d", river, status.RiverWanted))
		return
	}
	e.maySchema = true
	text := fmt.Sprintf("version %d, as in this build", status.Version)
	if status.Version > status.Wanted {
		e.add(groupSchema, "version", StatusNote, fmt.Sprintf("version %d is newer than this build's %d, and works with it", status.Version, status.Wanted)).fix("deploy the newer build")
	} else {
		e.add(groupSchema, "version", StatusOK, text)
	}
	e.add(groupSchema, "river_version", StatusOK, river)
}

// splitFix takes apart an error whose fix follows the last semicolon.
func splitFix(text string) (found, fix string) {
	if i := strings.LastIndex(text, "; "); i >= 0 {
		return text[:i], text[i+2:]
	}
	return text, ""
}

// privileges looks at what the role may do in the schema.
func (e *examination) privileges(ctx context.Context) {
	var wanted []sql.DoctorPrivilege
	for _, need := range needs {
		for privilege := range strings.FieldsSeq(need.privileges) {
			wanted = append(wanted, sql.DoctorPrivilege{Object: quote(e.config.Schema) + "." + need.table, Privilege: privilege})
		}
	}
	var missing, inSchema []sql.DoctorPrivilege
	err := e.read(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		if missing, err = e.statements.DoctorMissingPrivileges(ctx, tx, wanted); err != nil {
			return err
		}
		inSchema, err = e.statements.DoctorMissingInSchema(ctx, tx, calls)
		return err
	})
	if err != nil {
		e.failed(groupPrivileges, "schema", err)
		return
	}
	missing = append(missing, inSchema...)
	if len(missing) == 0 {
		e.add(groupPrivileges, "schema", StatusOK, fmt.Sprintf("role %q may do all that replicas do in schema %q", e.session.Role, e.config.Schema))
		return
	}
	e.maySchema = e.maySchema && !slices.ContainsFunc(missing, func(p sql.DoctorPrivilege) bool { return p.Privilege == "SELECT" })
	e.add(groupPrivileges, "schema", StatusProblem, fmt.Sprintf("role %q lacks %s", e.session.Role, list(missing))).fix(e.grants(missing)).detail(rolesHint)
}

// jobPrivileges looks at what a cleanup job needs on the application's tables.
func (e *examination) jobPrivileges(ctx context.Context, job *retention.Job, parameters jobs.Parameters) {
	name := job.Definition().Name
	needed := job.Privileges(e.config.Schema, parameters)
	wanted := make([]sql.DoctorPrivilege, len(needed))
	for i, need := range needed {
		wanted[i] = sql.DoctorPrivilege{Object: need.Table, Privilege: need.Privilege}
	}
	var missing []sql.DoctorPrivilege
	err := e.read(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		missing, err = e.statements.DoctorMissingPrivileges(ctx, tx, wanted)
		return err
	})
	switch {
	case err != nil:
		e.failed(groupPrivileges, "job "+name, err)
	case len(missing) > 0:
		e.addOf(groupPrivileges, "job", name, StatusProblem, fmt.Sprintf("role %q lacks %s", e.session.Role, list(missing))).fix(e.grants(missing))
	default:
		e.addOf(groupPrivileges, "job", name, StatusOK, fmt.Sprintf("role %q may do what the job does to its tables", e.session.Role))
	}
}

// list names a few privileges.
func list(missing []sql.DoctorPrivilege) string {
	const few = 4
	var texts []string
	for i, p := range missing {
		if i == few {
			texts = append(texts, fmt.Sprintf("%d more", len(missing)-few))
			break
		}
		texts = append(texts, p.Privilege+" on "+p.Object)
	}
	return strings.Join(texts, ", ")
}

// grants is the SQL that gives the role what it lacks, a line for each object.
func (e *examination) grants(missing []sql.DoctorPrivilege) string {
	var objects []string
	privileges := make(map[string][]string)
	for _, p := range missing {
		kind := ""
		switch p.Privilege {
		case "EXECUTE":
			kind = "FUNCTION "
		case "USAGE":
			kind = "SEQUENCE "
		}
		object := kind + p.Object
		if privileges[object] == nil {
			objects = append(objects, object)
		}
		privileges[object] = append(privileges[object], p.Privilege)
	}
	var lines []string
	for _, object := range objects {
		lines = append(lines, fmt.Sprintf("GRANT %s ON %s TO %s;", strings.Join(privileges[object], ", "), object, quote(e.session.Role)))
	}
	return strings.Join(lines, "\n")
}
