package jobs_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/systempromptio/scheduler/jobs"
)

type postman struct{ name string }

func (p *postman) Send(to string) string { return p.name + " to " + to }

type sender interface{ Send(to string) string }

type quietPostman struct{}

func (quietPostman) Send(string) string { return "" }

func TestAppFindsTheOneOfItsType(t *testing.T) {
	t.Parallel()
	client, mailer := &http.Client{}, &postman{"mailer"}
	for name, test := range map[string]struct {
		app   any
		found bool
	}{
		"a single value":                   {mailer, true},
		"a piece":                          {jobs.Provide(client, mailer, "text"), true},
		"a piece of pieces":                {jobs.Provide(client, jobs.Provide("text", mailer)), true},
		"the one of two that is not nil":   {jobs.Provide((*postman)(nil), mailer), true},
		"nothing":                          {nil, false},
		"no pieces":                        {jobs.Provide(), false},
		"nil pieces":                       {(*jobs.Pieces)(nil), false},
		"other pieces":                     {jobs.Provide(client, "text"), false},
		"another value":                    {client, false},
		"a nil pointer":                    {(*postman)(nil), false},
		"a nil piece":                      {jobs.Provide(client, (*postman)(nil), nil), false},
		"two pieces that implement it":     {jobs.Provide(mailer, quietPostman{}), false},
		"two pieces of the very same type": {jobs.Provide(mailer, &postman{"other"}), false},
	} {
		run := &jobs.Run{Job: "report", App: test.app}
		got, err := jobs.App[sender](run)
		definition := jobs.Definition{Name: "report", Needs: []jobs.Need{jobs.Needs[sender]("sends the report")}}
		if needs := jobs.CheckNeeds(definition, test.app); (needs == nil) != test.found {
			t.Errorf("%s: CheckNeeds says %v", name, needs)
		}
		switch {
		case test.found && (err != nil || got.Send("us") != "mailer to us"):
			t.Errorf("%s: got %v, %v", name, got, err)
		case !test.found && (!errors.Is(err, jobs.ErrAppValue) || !strings.Contains(err.Error(), `job "report" needs jobs_test.sender`) || got != nil):
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	// The concrete type tells two implementations apart.
	if got, err := jobs.App[*postman](&jobs.Run{App: jobs.Provide(quietPostman{}, mailer)}); err != nil || got != mailer {
		t.Errorf("by its concrete type: %v, %v", got, err)
	}
}

func TestCheckNeedsReportsEverything(t *testing.T) {
	t.Parallel()
	definition := jobs.Definition{Name: "report", Needs: []jobs.Need{
		jobs.Needs[sender]("sends the report"), jobs.Needs[*http.Client](""), jobs.Needs[io.Reader]("reads the template"),
	}}
	err := jobs.CheckNeeds(definition, jobs.Provide(&http.Client{}, (*postman)(nil)))
	if !errors.Is(err, jobs.ErrAppValue) {
		t.Fatalf("got %v", err)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 2 {
		t.Fatalf("got %d lines, want one for each that is missing:\n%v", len(lines), err)
	}
	for i, want := range []string{"jobs_test.sender (sends the report)", "io.Reader (reads the template)"} {
		if !strings.Contains(lines[i], `job "report" needs `+want) || !strings.Contains(lines[i], "*http.Client, a nil *jobs_test.postman") {
			t.Errorf("line %d is %q", i, lines[i])
		}
	}
}

func TestEmptyNeedIsRefused(t *testing.T) {
	t.Parallel()
	err := jobs.Validate(jobs.Func(jobs.Definition{Name: "report", Schedule: "@daily", Needs: []jobs.Need{{}}}, nothing))
	if !errors.Is(err, jobs.ErrInvalidJob) || !strings.Contains(err.Error(), "jobs.Needs") {
		t.Errorf("got %v", err)
	}
}

// A job that sends mail says so, and the program that forgets the mailer does not start.
func ExampleNeeds() {
	definition := jobs.Definition{
		Name:     "weekly_report",
		Schedule: "0 7 * * MON",
		Needs:    []jobs.Need{jobs.Needs[sender]("sends the report")},
	}
	fmt.Println(jobs.CheckNeeds(definition, jobs.Provide(http.DefaultClient)))
	// Output:
	// job "weekly_report" needs jobs_test.sender (sends the report): application value missing or ambiguous: the program provides *http.Client; add one to jobs.Provide
}

// Several pieces are given once; each job takes what it needs, by its type.
func ExampleProvide() {
	app := jobs.Provide(http.DefaultClient, &postman{name: "postman"}) // in scheduler.Config
	run := &jobs.Run{Job: "weekly_report", App: app}                   // as a job is handed it
	mailer, err := jobs.App[sender](run)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(mailer.Send("the team"))
	// Output: postman to the team
}
