package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/systempromptio/scheduler/jobs"
)

// mailer is what the job below needs; that it sends by SMTP, only the program knows.
type mailer interface{ send(to, text string) string }

type smtp struct{ host string }

func (s *smtp) send(to, text string) string { return fmt.Sprintf("%s to %s by %s", text, to, s.host) }

// A job asks for what it needs by type, and declares it, so that a program that does not
// provide it is refused at its start.
func ExampleApp() {
	job := jobs.Func(jobs.Definition{
		Name: "weekly_greeting", Schedule: "@weekly", Needs: []jobs.Need{jobs.Needs[mailer]("sends the greeting")},
	}, func(_ context.Context, run *jobs.Run) (jobs.Result, error) {
		m, err := jobs.App[mailer](run)
		if err != nil {
			return jobs.Result{}, err
		}
		return jobs.Result{RowsAffected: 1, Message: m.send("sales", "a good week")}, nil
	})

	// In the program, once: the App of scheduler.Config.
	app := jobs.Provide(http.DefaultClient, &smtp{host: "mail.example.com"})
	result, err := job.Run(context.Background(), &jobs.Run{Job: "weekly_greeting", App: app})
	fmt.Println(result.Message, err)
	// Output:
	// a good week to sales by mail.example.com <nil>
}

// What scheduler.New asks of each job that is to run.
func ExampleCheckNeeds() {
	need := jobs.Needs[mailer]("sends the greeting")
	fmt.Println(need.Type(), "-", need.Purpose())
	definition := jobs.Definition{Name: "weekly_greeting", Schedule: "@weekly", Needs: []jobs.Need{need}}

	err := jobs.CheckNeeds(definition, jobs.Provide(http.DefaultClient))
	fmt.Println(errors.Is(err, jobs.ErrAppValue))
	fmt.Println(err)
	fmt.Println(jobs.CheckNeeds(definition, &smtp{}))
	// Output:
	// jobs_test.mailer - sends the greeting
	// true
	// job "weekly_greeting" needs jobs_test.mailer (sends the greeting): application value missing or ambiguous: the program provides *http.Client; add one to jobs.Provide
	// <nil>
}
