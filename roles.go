package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/scheduler/migrations"
	"github.com/systempromptio/scheduler/sql"
)

// ErrPrivilege: the database's role lacks a privilege.
var ErrPrivilege = errors.New("a privilege is missing")

// Roles are the names of the roles that [RolesScript] makes; see [sql.Roles].
type Roles = sql.Roles

// RolesDefault are the roles by their default names: scheduler_reader,
// scheduler_operator and scheduler_serve.
func RolesDefault() Roles { return sql.RolesDefault() }

// RolesScript is the SQL that makes the roles of a scheduler and gives them what they
// need, for psql: reader reads the views, operator steers by the functions as well, serve
// is the role of the replicas. It is run after [MigrateUp], by a superuser or a role that
// may create roles and owns the schema; a second run changes nothing. An empty schema
// means [SchemaDefault]; names that no role can have are an error.
func RolesScript(schema string, roles Roles) (string, error) {
	schema = cmp.Or(schema, SchemaDefault)
	if err := sql.CheckSchema(schema); err != nil {
		return "", err
	}
	if err := roles.Check(); err != nil {
		return "", err
	}
	version, err := migrations.Latest()
	if err != nil {
		return "", err
	}
	var command strings.Builder
	command.WriteString("scheduler roles")
	for _, flag := range []struct{ name, value, fallback string }{
		{"schema", schema, SchemaDefault},
		{"reader", roles.Reader, sql.RoleReaderDefault},
		{"operator", roles.Operator, sql.RoleOperatorDefault},
		{"serve", roles.Serve, sql.RoleServeDefault},
	} {
		if flag.value != flag.fallback {
			fmt.Fprintf(&command, " --%s '%s'", flag.name, strings.ReplaceAll(flag.value, "'", `'\''`))
		}
	}
	return sql.For(schema).RolesScript(roles, command.String(), version), nil
}

// checkPrivileges refuses a role that could not do a replica's work.
func checkPrivileges(ctx context.Context, conn *pgx.Conn, statements *sql.Statements) error {
	missing, err := statements.MissingPrivileges(ctx, conn)
	if err != nil {
		return err
	}
	if len(missing) == 0 {
		return nil
	}
	const shown = 3
	names := make([]string, 0, shown)
	for _, privilege := range missing[:min(len(missing), shown)] {
		names = append(names, privilege.String())
	}
	list := strings.Join(names, ", ")
	if more := len(missing) - len(names); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Errorf("role %q: %w: it needs %s; %s", conn.Config().User, ErrPrivilege, list, privilegeFix)
}

const privilegeFix = `"scheduler roles" writes the SQL that grants what is needed`

// explainPrivilege names the role in the server's refusal, and the fix.
func explainPrivilege(role string, err error) error {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != codeInsufficientPrivilege || errors.Is(err, ErrPrivilege) {
		return err
	}
	return &privilegeError{role: role, message: pgErr.Message, cause: err}
}

const codeInsufficientPrivilege = "42501"

type privilegeError struct {
	role, message string
	cause         error
}

func (e *privilegeError) Error() string {
	if e.role == "" {
		return e.message + "; " + privilegeFix
	}
	return fmt.Sprintf("role %q: %s; %s", e.role, e.message, privilegeFix)
}

func (e *privilegeError) Unwrap() []error { return []error{ErrPrivilege, e.cause} }

// checkMayMigrate refuses a role that may not migrate, before anything is changed.
func (m *migrator) checkMayMigrate(ctx context.Context, status MigrationStatus) error {
	may, err := m.statements.MayMigrate(ctx, m.conn)
	if err != nil || may.May {
		return err
	}
	if may.Owner == "" {
		return fmt.Errorf("schema %q: %w: role %q needs CREATE on the database to make it, or somebody makes it for that role: CREATE SCHEMA %s AUTHORIZATION %s",
			m.statements.Schema(), ErrPrivilege, may.Role, pgx.Identifier{m.statements.Schema()}.Sanitize(), pgx.Identifier{may.Role}.Sanitize())
	}
	return fmt.Errorf(`schema %q: %w: it has version %d, this build needs %d, and role %q may not migrate it, since it is not the owner: run "scheduler migrate up" as %q`,
		m.statements.Schema(), ErrPrivilege, status.Version, status.Wanted, may.Role, may.Owner)
}
