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
	"github.com/systempromptio/scheduler/sql/platform"
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
	if err := platform.Create(ctx, conn); err != nil {
		return nil, err
	}
	for _, statements := range []string{
		"CREATE TABLE invitations (email text, expires_at timestamptz)",
		`INSERT INTO markdown_content (id, slug, title, body, author, published_at, image, source_id, version_hash)
		VALUES ('a1', 'hello', 'Hello', 'Hello.', 'author', '2026-11-01', '/images/hello.png', 'blog', '')`,
		`INSERT INTO conversation_evaluations (context_id, goal_achieved, goal_achievement_confidence, primary_category,
		    issues_encountered, overall_score, evaluation_summary, total_turns, conversation_duration_seconds, completion_status, analyzed_at)
		VALUES ('c1', 'yes', 0.9, 'billing', NULL, 0.95, 'Solved.', 3, 60, 'completed', '2026-11-02 09:00+00'),
		    ('c2', 'no', 0.8, 'billing', 'the invoice was not found', 0.25, 'Not solved.', 9, 600, 'abandoned', '2026-11-02 10:00+00')`,
	} {
		if _, err := conn.Exec(ctx, statements); err != nil {
			return nil, err
		}
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
	for ctx.Err() == nil {
		if list, err := client.Jobs(ctx); err == nil && len(list) > 0 {
			break // somebody leads, and has declared the jobs
		}
		<-time.After(10 * time.Millisecond)
	}
	return func() error {
		stop()
		return <-ended
	}, ctx.Err()
}
