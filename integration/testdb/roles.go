package testdb

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler"
)

// RolePassword is that of the roles of MakeRoles.
const RolePassword = "role"

// makeRoles: two databases of one server have the same roles, and two who grant them
// something at once are in each other's way.
var makeRoles sync.Mutex

// MakeRoles runs the script of "scheduler roles" on a database whose scheduler was
// migrated in the schema, as an administrator would: the roles have their default names,
// and can log in. Tables that the owner of the schema makes afterwards in the schema public may
// be written by the role of replicas, as those of an application may that says so by ALTER
// DEFAULT PRIVILEGES; those that are there before only as far as the script goes.
func MakeRoles(ctx context.Context, databaseURL, schema string) (err error) {
	roles := scheduler.RolesDefault()
	script, err := scheduler.RolesScript(schema, roles)
	if err != nil {
		return err
	}
	makeRoles.Lock()
	defer makeRoles.Unlock()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	for _, role := range []string{roles.Reader, roles.Operator, roles.Serve} {
		script += fmt.Sprintf("ALTER ROLE %s LOGIN PASSWORD '%s';\n", role, RolePassword)
	}
	script += fmt.Sprintf(`
		DO $$
		DECLARE
			owner name := (SELECT tableowner FROM pg_tables WHERE schemaname = '%[2]s' AND tablename = 'job_runs');
		BEGIN
			EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %%I IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %[1]s', owner);
			EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %%I IN SCHEMA public GRANT USAGE ON SEQUENCES TO %[1]s', owner);
		END $$;`, roles.Serve, schema)
	if _, err := conn.Exec(ctx, script); err != nil {
		return fmt.Errorf("make the roles: %w", err)
	}
	return nil
}

// ServeURL is the URL of a database for a replica: as the role that [MakeRoles] has
// made for it, if it is the superuser's URL; any other is left alone.
func ServeURL(databaseURL string) string {
	return RoleURL(databaseURL, scheduler.RolesDefault().Serve)
}

// RoleURL is the superuser's URL for a role of [MakeRoles]; any other is left alone.
func RoleURL(databaseURL, role string) string {
	u, err := url.Parse(databaseURL)
	if err != nil || u.User.Username() != superuser {
		return databaseURL
	}
	u.User = url.UserPassword(role, RolePassword)
	return u.String()
}
