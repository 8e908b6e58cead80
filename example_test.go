package scheduler_test

import (
	"context"
	"os"
	"strings"
	"testing"

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

// A program that schedules what its imports have registered.
func Example() {
	s, err := scheduler.New(scheduler.Config{
		DatabaseURL: os.Getenv("DATABASE_URL"),
		Migrate:     true,
	})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // end it with a signal, for example by signal.NotifyContext
	if err := s.Run(ctx); err != nil {
		panic(err)
	}
}
