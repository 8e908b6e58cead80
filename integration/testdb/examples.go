package testdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler"
)

// ExamplesDatabase is the variable that names the database of a package's examples.
const ExamplesDatabase = "DATABASE_URL"

// MainForExamples is [Main] for a package whose examples need a database: while they run,
// the variable DATABASE_URL is the URL of one that prepare has filled. What prepare
// returns, if it is not nil, is called after they have run.
func MainForExamples(m *testing.M, prepare func(ctx context.Context, url string) (end func() error, err error)) int {
	return supervise(func() int {
		code, err := withExamplesDatabase(m, prepare)
		if err != nil {
			fmt.Fprintf(os.Stderr, "testdb: the database of the examples: %v\n", err)
			return max(code, 1)
		}
		return code
	})
}

func withExamplesDatabase(m *testing.M, prepare func(ctx context.Context, url string) (func() error, error)) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), prepareTimeout)
	defer cancel()
	s, err := sharedServer()
	if err != nil {
		return 0, err
	}
	name := databaseName("examples")
	if err := s.create(ctx, name, newOptions{}); err != nil {
		return 0, err
	}
	url := s.URL(name)
	end, err := prepare(ctx, url)
	if err != nil {
		return 0, err
	}
	if err := os.Setenv(ExamplesDatabase, url); err != nil {
		return 0, err
	}
	code = m.Run()
	if end != nil {
		err = end()
	}
	return code, err
}

// Migrated prepares the database of a package's examples, for [MainForExamples]: with the
// scheduler's schema, and by some statements.
func Migrated(statements string) func(ctx context.Context, url string) (func() error, error) {
	return func(ctx context.Context, url string) (func() error, error) {
		if _, err := scheduler.MigrateUp(ctx, scheduler.MigrateConfig{DatabaseURL: url, Logger: slog.New(slog.DiscardHandler)}); err != nil {
			return nil, err
		}
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return nil, err
		}
		_, err = conn.Exec(ctx, statements)
		return nil, errors.Join(err, conn.Close(ctx))
	}
}
