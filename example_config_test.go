package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// oldInvitations is a cleanup job, which [scheduler.Client.Explain] explains.
var oldInvitations = retention.Must(retention.Config{
	Definition: jobs.Definition{Name: "old_invitations", Schedule: "0 5 * * *"},
	Rules: []retention.Rule{{
		Target: "invitations", Table: "invitations",
		SQL: "SELECT i.ctid FROM {table} i WHERE i.expires_at < @now::timestamptz - interval '1 year'",
	}},
})

func init() { jobs.Register(oldInvitations) }

// What New refuses, it refuses all at once, before anything is connected to.
func ExampleNew() {
	disabled := false
	_, err := scheduler.New(scheduler.Config{
		DatabaseURL: os.Getenv("DATABASE_URL"),
		TimeZone:    scheduler.TimeZoneDefault,
		LogLines:    scheduler.LogLinesDefault,
		Jobs: []scheduler.JobConfig{
			{Name: "expire_invitations", Schedule: "0 25 * * *"},
			{Name: "old_invitations", Parameters: map[string]any{"max_rows": -1}},
			{Name: "expire_everything", Enabled: &disabled},
		},
	})
	for _, one := range scheduler.ConfigErrors(err) {
		fmt.Println(one.Job, one.Field, errors.Is(one, jobs.ErrInvalidSchedule), errors.Is(one, jobs.ErrUnknownJob))
	}
	var first *scheduler.ConfigError
	fmt.Println(errors.As(err, &first))

	s, err := scheduler.New(scheduler.Config{LogLines: scheduler.LogLinesOff, ReplicaID: "blue-1"})
	fmt.Println(s.Config().ReplicaID, err)
	// Output:
	// expire_invitations schedule true false
	// old_invitations parameters.max_rows false false
	// expire_everything name false true
	// true
	// blue-1 <nil>
}

// Bring a schema up to date, look at it, and take it back.
func ExampleMigrateUp() {
	ctx := context.Background()
	config := scheduler.MigrateConfig{
		DatabaseURL: os.Getenv("DATABASE_URL"), Schema: "example_migrations", Logger: slog.New(slog.DiscardHandler),
	}
	status, err := scheduler.MigrateStatus(ctx, config)
	fmt.Println(status.Exists, errors.Is(status.Check(), scheduler.ErrSchema), err)

	status, err = scheduler.MigrateUp(ctx, config)
	fmt.Println(status.Version == status.Wanted, status.UpToDate(), status.Check(), err)

	var back scheduler.MigrationStatus
	back, err = scheduler.MigrateDown(ctx, config, 1)
	fmt.Println(status.Version-back.Version, err)
	// Output:
	// false true <nil>
	// true true <nil> <nil>
	// 1 <nil>
}

// The SQL that makes the roles, for an administrator to read and to run.
func ExampleRolesScript() {
	roles := scheduler.RolesDefault()
	roles.Reader = "grafana"
	script, err := scheduler.RolesScript(scheduler.SchemaDefault, roles)
	fmt.Println(strings.Contains(script, "grafana"), strings.Contains(script, "scheduler_operator"), err)
	// Output: true true <nil>
}

// What a cleanup job would do in this database, before it does it.
func ExampleClient_Explain() {
	ctx := context.Background()
	client, err := scheduler.NewClient(ctx, os.Getenv("DATABASE_URL"), "")
	if err != nil {
		panic(err)
	}
	defer client.Close()

	explanations, err := client.Explain(ctx, oldInvitations, map[string]any{"batch_time": 20 * time.Millisecond})
	for _, e := range explanations {
		fmt.Println(e.Action, e.Table)
	}
	fmt.Println(err)
	// Output:
	// DELETE invitations
	// <nil>
}

// What this program would declare if it led, without a database.
func ExampleConfig_RegisteredJobs() {
	config := scheduler.Config{Jobs: []scheduler.JobConfig{{Name: "old_invitations", Schedule: "@weekly"}}}
	for _, job := range config.RegisteredJobs() {
		fmt.Println(job.JobName, job.Schedule, job.Configured)
	}
	// Output:
	// expire_invitations 0 4 * * * false
	// old_invitations @weekly true
}
