package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/fleet"
	"github.com/systempromptio/scheduler/integration/testdb"
)

func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }

// migrated is a database with the scheduler's schema and the tables of the replicas'
// jobs.
var migrated = testdb.Template("chaos", func(ctx context.Context, url string) error {
	if _, err := scheduler.MigrateUp(ctx, scheduler.MigrateConfig{DatabaseURL: url, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return once(ctx, url, nil, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, fleet.Tables)
		return err
	})
})
