package scheduler_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

func registry(t *testing.T) *jobs.Registry {
	t.Helper()
	r := &jobs.Registry{}
	err := r.Add(jobs.Func(jobs.Definition{
		Name: "clean", Schedule: "@hourly", Parameters: []jobs.Parameter{{Name: "days", Type: jobs.TypeInteger, Default: 30, Minimum: jobs.Bound(1)}},
	}, func(context.Context, *jobs.Run) (jobs.Result, error) { return jobs.Result{}, nil }))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNewFillsDefaultsInACopy(t *testing.T) {
	t.Parallel()
	given := scheduler.Config{Registry: registry(t), Jobs: []scheduler.JobConfig{{Name: "clean", Parameters: map[string]any{"days": 7}}}}
	s, err := scheduler.New(given)
	if err != nil {
		t.Fatal(err)
	}
	c := s.Config()
	if c.Schema != "scheduler" || c.TimeZone != "UTC" || c.MaxWorkers != 10 || c.ShutdownTimeout != 30*time.Second || c.ReplicaID == "" {
		t.Errorf("the defaults are %+v", c)
	}
	if given.Schema != "" || given.ReplicaID != "" {
		t.Error("the caller's configuration was changed")
	}
	c.Jobs[0].Parameters["days"] = -1
	if s.Config().Jobs[0].Parameters["days"] != 7 {
		t.Error("the scheduler's configuration can be changed from outside")
	}
	other, err := scheduler.New(given)
	if err != nil || other.Config().ReplicaID == c.ReplicaID {
		t.Errorf("two replicas have the id %s (%v)", c.ReplicaID, err)
	}
}

func TestNewReportsEverything(t *testing.T) {
	t.Parallel()
	_, err := scheduler.New(scheduler.Config{
		Registry: registry(t), Schema: "Public!", DatabaseURL: "postgres://%zz", LeaderDatabaseURL: "port=x", TimeZone: "Mars/Olympus",
		MaxWorkers: -1, ShutdownTimeout: -time.Second, ReplicaID: strings.Repeat("x", 51), BootstrapJobs: []string{"nobody"},
		Jobs: []scheduler.JobConfig{
			{Name: "somebody"},
			{
				Name: "clean", Schedule: "99 * * * *", TimeZone: "Mars/Olympus", Parameters: map[string]any{"days": 0, "weeks": 1},
				Overlap: "pile", CatchUp: "never", Timeout: -1, MaxAttempts: -1,
			},
			{Name: "clean"},
		},
	})
	var fields []string
	for _, e := range scheduler.ConfigErrors(err) {
		fields = append(fields, strings.TrimPrefix(e.Job+" "+e.Field, " "))
	}
	want := []string{
		"schema", "database_url", "leader_database_url", "timezone", "max_workers", "shutdown_timeout", "replica_id", "bootstrap_jobs",
		"somebody name", "clean schedule", "clean timezone", "clean parameters.days", "clean parameters.weeks", "clean overlap",
		"clean catch_up", "clean timeout", "clean max_attempts", "clean name",
	}
	slices.Sort(fields)
	slices.Sort(want)
	if !slices.Equal(fields, want) {
		t.Errorf("reported %v\nwant     %v", fields, want)
	}
	for _, sentinel := range []error{jobs.ErrUnknownJob, jobs.ErrInvalidSchedule, jobs.ErrInvalidParameter} {
		if !errors.Is(err, sentinel) {
			t.Errorf("%v is not reachable through errors.Is", sentinel)
		}
	}
}

func TestSchemaNames(t *testing.T) {
	t.Parallel()
	for name, good := range map[string]bool{
		"scheduler": true, "_x9": true, strings.Repeat("s", 46): true,
		"public": false, "pg_mine": false, "Upper": false, "9x": false, "a-b": false, `a"b`: false, strings.Repeat("s", 47): false,
	} {
		_, err := scheduler.New(scheduler.Config{Registry: registry(t), Schema: name})
		if (err == nil) != good {
			t.Errorf("schema %q: got %v", name, err)
		}
	}
}
