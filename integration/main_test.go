// Package integration tests the scheduler against real Postgres in containers.
package integration

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
)

func TestMain(m *testing.M) {
	if os.Getenv(replicaEnv) != "" {
		os.Exit(runReplica())
	}
	code := testdb.Main(m)
	closeBrowser()
	os.Exit(code)
}

// migrated is a database with the scheduler's schema and its roles, and the tables that
// the test jobs work on. Replicas run as the role that "scheduler roles" makes for them.
var migrated = testdb.Template("migrated", func(ctx context.Context, url string) error {
	if _, err := scheduler.MigrateUp(ctx, scheduler.MigrateConfig{DatabaseURL: url, Logger: discard()}); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if err := testdb.MakeRoles(ctx, url, scheduler.SchemaDefault); err != nil {
		return err
	}
	return execute(ctx, url, testTables)
})
