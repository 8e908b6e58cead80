package sql

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed roles/*.sql
var roleFiles embed.FS

// Roles are the names of the roles of a scheduler.
type Roles struct {
	// Reader reads the views.
	Reader string
	// Operator is a reader who steers, by the functions.
	Operator string
	// Serve is the role of the replicas.
	Serve string
}

// The names of the roles where no others are given.
const (
	RoleReaderDefault   = "scheduler_reader"
	RoleOperatorDefault = "scheduler_operator"
	RoleServeDefault    = "scheduler_serve"
)

// RolesDefault are the roles by their default names.
func RolesDefault() Roles {
	return Roles{Reader: RoleReaderDefault, Operator: RoleOperatorDefault, Serve: RoleServeDefault}
}

// Check refuses names that no role can have, and the same name twice.
func (r Roles) Check() error {
	for _, name := range []string{r.Reader, r.Operator, r.Serve} {
		if err := checkRole(name); err != nil {
			return fmt.Errorf("role %q: %w", name, err)
		}
	}
	if r.Reader == r.Operator || r.Reader == r.Serve || r.Operator == r.Serve {
		return fmt.Errorf("the roles are %q, %q and %q: give three different names", r.Reader, r.Operator, r.Serve)
	}
	return nil
}

// checkRole refuses what Postgres would refuse, or cut.
func checkRole(name string) error {
	const lengthMax = 63
	switch {
	case name == "":
		return errors.New("it needs a name")
	case len(name) > lengthMax:
		return fmt.Errorf("the name has %d bytes, Postgres takes %d", len(name), lengthMax)
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }):
		return errors.New("the name has control characters")
	case strings.Contains(name, "$roles$"):
		return errors.New("the name ends the script's quotes")
	case strings.HasPrefix(name, "pg_"), name == "public", name == "none":
		return errors.New("the name is reserved by Postgres")
	}
	return nil
}

// The kinds of roles, as role_grants has them.
const (
	RoleKindReader   = "reader"
	RoleKindOperator = "operator"
	RoleKindServe    = "serve"
)

// RolesScript is the script that makes the roles and gives them what they need, for
// psql. Command is the line that has made it, version that of the schema that it is
// for. The names must satisfy [Roles.Check].
func (s *Statements) RolesScript(roles Roles, command string, version uint) string {
	keys := []string{
		"{command}", command, "{version}", strconv.FormatUint(uint64(version), 10),
		"{schema}", pgx.Identifier{s.schema}.Sanitize(), "{schema_literal}", literal(s.schema),
		"{reader}", pgx.Identifier{roles.Reader}.Sanitize(), "{reader_literal}", literal(roles.Reader),
		"{operator}", pgx.Identifier{roles.Operator}.Sanitize(), "{operator_literal}", literal(roles.Operator),
		"{serve}", pgx.Identifier{roles.Serve}.Sanitize(), "{serve_literal}", literal(roles.Serve),
	}
	var b strings.Builder
	put := func(name string) {
		b.WriteString(fill(s.InSchema(roleFile(name)), keys))
		b.WriteString("\n")
	}
	put("begin")
	put("create")
	for _, role := range []struct{ kind, name string }{
		{RoleKindReader, roles.Reader}, {RoleKindOperator, roles.Operator}, {RoleKindServe, roles.Serve},
	} {
		fmt.Fprintf(&b, "-- %s\n%s\n", strings.ReplaceAll(role.name, "\n", " "), s.Grants(role.kind, role.name))
	}
	put("remember")
	put("application")
	b.WriteString("COMMIT;\n")
	return b.String()
}

// Grants is what a role of a kind needs in the scheduler's schema. An unknown kind is a
// programmer's mistake and panics.
func (s *Statements) Grants(kind, role string) string {
	files := map[string][]string{
		RoleKindReader:   {"reader"},
		RoleKindOperator: {"reader", "operator"},
		// Replicas have a surface of their own, on which people read and steer.
		RoleKindServe: {"reader", "operator", "serve"},
	}[kind]
	if files == nil {
		panic(fmt.Sprintf("no kind of roles %q", kind))
	}
	var b strings.Builder
	for _, name := range files {
		b.WriteString(fill(s.InSchema(roleFile(name)), []string{
			"{schema}", pgx.Identifier{s.schema}.Sanitize(), "{role}", pgx.Identifier{role}.Sanitize(),
		}))
	}
	return b.String()
}

// RegrantRoles gives the roles that the script has made what they need of the schema as
// it is now, and returns their names. Roles that are gone are passed over.
func (s *Statements) RegrantRoles(ctx context.Context, db Querier) ([]string, error) {
	rows, err := db.Query(ctx, s.Text("granted_roles"))
	if err != nil {
		return nil, fmt.Errorf("list the roles that have grants: %w", err)
	}
	type grant struct{ RoleName, Kind string }
	grants, err := pgx.CollectRows(rows, pgx.RowToStructByName[grant])
	if err != nil {
		return nil, fmt.Errorf("list the roles that have grants: %w", err)
	}
	names := make([]string, 0, len(grants))
	for _, g := range grants {
		if _, err := db.Exec(ctx, s.Grants(g.Kind, g.RoleName)); err != nil {
			return names, fmt.Errorf("grant role %q what it needs: %w", g.RoleName, err)
		}
		names = append(names, g.RoleName)
	}
	return names, nil
}

// Privilege is one that a role lacks.
type Privilege struct {
	// Privilege is its name, such as SELECT; Object what it is on.
	Privilege string
	Object    string
}

// String is the form "SELECT on scheduler.job_runs".
func (p Privilege) String() string { return p.Privilege + " on " + p.Object }

// MissingPrivileges returns those that a replica needs in the scheduler's schema, and
// the session's role does not have. The schema must be up to date.
func (s *Statements) MissingPrivileges(ctx context.Context, db Querier) ([]Privilege, error) {
	return collect[Privilege](ctx, db, "look at the role's privileges", s.Text("missing_privileges"), pgx.NamedArgs{"schema": s.schema})
}

// MayMigrate says who owns the schema and whether the session's role may migrate it.
type MayMigrate struct {
	// Role is the session's.
	Role string
	// Owner is that of the schema's tables, or of the schema, if there are none; empty if
	// there is no schema.
	Owner string
	// May: the role is the owner, or a member of it; without a schema, it may make one;
	// without tables, make them.
	May bool
}

// MayMigrate reads who may migrate the schema.
func (s *Statements) MayMigrate(ctx context.Context, db Querier) (MayMigrate, error) {
	rows, err := db.Query(ctx, s.Text("may_migrate"), pgx.NamedArgs{"schema": s.schema})
	if err == nil {
		var may MayMigrate
		if may, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[MayMigrate]); err == nil {
			return may, nil
		}
	}
	return MayMigrate{}, fmt.Errorf("look who may migrate: %w", err)
}

func fill(text string, keysAndValues []string) string {
	return strings.NewReplacer(keysAndValues...).Replace(text)
}

func roleFile(name string) string {
	content, err := roleFiles.ReadFile("roles/" + name + ".sql")
	if err != nil {
		panic(fmt.Sprintf("no file sql/roles/%s.sql", name))
	}
	return string(content)
}

// literal quotes a string for SQL, whatever standard_conforming_strings says.
func literal(text string) string {
	quoted := "'" + strings.ReplaceAll(text, "'", "''") + "'"
	if strings.Contains(text, `\`) {
		quoted = " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
