package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// In a package of yours.
func init() {
	jobs.Register(jobs.Func(jobs.Definition{
		Name:     "expire_invitations",
		Schedule: "0 4 * * *",
	}, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		tag, err := run.Tx.Exec(ctx, "DELETE FROM invitations WHERE expires_at < $1", run.Now)
		return jobs.Result{RowsAffected: tag.RowsAffected()}, err
	}))
}

// TestREADMEHasTheExample keeps the README's code the code that is compiled here.
func TestREADMEHasTheExample(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(source), "// In a package of yours.\n")
	code, _, complete := strings.Cut(after, "\n}\n")
	if !found || !complete || strings.Count(code, "\n") > 14 {
		t.Fatal("the example is not where this test looks for it, or has grown past 15 lines")
	}
	if !strings.Contains(string(readme), "// In a package of yours.\n"+code+"\n}\n```") {
		t.Error("the README's example is not the one in example_test.go")
	}
	if _, err := jobs.DefaultRegistry().Get("expire_invitations"); err != nil {
		t.Error(err)
	}
}

// A program that schedules what its imports have registered. A real one makes its context
// with signal.NotifyContext, and so runs until it is stopped.
func Example() {
	s, err := scheduler.New(scheduler.Config{
		DatabaseURL: os.Getenv("DATABASE_URL"),
		Schema:      "example",
		Migrate:     true,
		Logger:      slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	switch err := s.Run(ctx); {
	case errors.Is(err, scheduler.ErrRunsLeft):
		fmt.Println("another replica goes on with what was running")
	case errors.Is(err, scheduler.ErrJobStuck):
		fmt.Println("a job ignores the end of its context; end the process:", err)
	case errors.Is(err, scheduler.ErrSchema), errors.Is(err, scheduler.ErrPrivilege):
		fmt.Println("migrate first, or grant what is missing:", err)
	case errors.Is(err, scheduler.ErrStandby), errors.Is(err, scheduler.ErrPooled), errors.Is(err, scheduler.ErrUnsupportedServer):
		fmt.Println("not this server, or not through this pooler:", err)
	default:
		fmt.Println(err)
	}
	// Output: <nil>
}
