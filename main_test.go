package scheduler_test

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
)

func TestMain(m *testing.M) { os.Exit(testdb.MainForExamples(m, startExamples)) }

// startExamples prepares what the examples take for granted: a migrated database with the
// table of the example's job, and a replica that runs.
func startExamples(ctx context.Context, url string) (end func() error, err error) {
	logger := slog.New(slog.DiscardHandler)
	if _, err := scheduler.MigrateUp(ctx, scheduler.MigrateConfig{DatabaseURL: url, Logger: logger}); err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "CREATE TABLE invitations (email text, expires_at timestamptz)"); err != nil {
		return nil, err
	}
	replica, err := scheduler.New(scheduler.Config{DatabaseURL: url, Logger: logger})
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- replica.Run(running) }()
	client, err := scheduler.NewClient(ctx, url, "")
	if err != nil {
		stop()
		return nil, err
	}
	defer client.Close()
	for client.Ready(ctx) != nil && ctx.Err() == nil {
		<-time.After(10 * time.Millisecond)
	}
	return func() error {
		stop()
		return <-ended
	}, ctx.Err()
}
