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
	os.Exit(testdb.Main(m))
}

// migrated is a database with the scheduler's schema, and the tables that the
// test jobs work on.
var migrated = testdb.Template("migrated", func(ctx context.Context, url string) error {
	if _, err := scheduler.MigrateUp(ctx, scheduler.MigrateConfig{DatabaseURL: url, Logger: discard()}); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return execute(ctx, url, testTables)
})
