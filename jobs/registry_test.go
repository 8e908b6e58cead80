package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/systempromptio/scheduler/jobs"
)

func nothing(context.Context, *jobs.Run) (jobs.Result, error) { return jobs.Result{}, nil }

func named(name string) jobs.Job {
	return jobs.Func(jobs.Definition{Name: name, Schedule: "@hourly"}, nothing)
}

type formless struct{}

func (formless) Definition() jobs.Definition {
	return jobs.Definition{Name: "formless", Schedule: "@hourly"}
}

func TestRegistryRefuses(t *testing.T) {
	t.Parallel()
	with := func(change func(*jobs.Definition)) jobs.Job {
		d := jobs.Definition{Name: "job", Schedule: "@hourly"}
		change(&d)
		return jobs.Func(d, nothing)
	}
	for name, test := range map[string]struct {
		job  jobs.Job
		want error
		says string
	}{
		"nil":                {nil, jobs.ErrInvalidJob, "nil"},
		"empty name":         {named(""), jobs.ErrInvalidJob, "empty name"},
		"name with a dash":   {named("clean-up"), jobs.ErrInvalidJob, "clean-up"},
		"name in upper case": {named("CleanUp"), jobs.ErrInvalidJob, "lower-case"},
		"name too long":      {named(strings.Repeat("x", 101)), jobs.ErrInvalidJob, "100"},
		"no form":            {formless{}, jobs.ErrInvalidJob, "TxJob"},
		"no schedule":        {with(func(d *jobs.Definition) { d.Schedule = "" }), jobs.ErrInvalidSchedule, "job"},
		"bad schedule":       {with(func(d *jobs.Definition) { d.Schedule = "99 * * * *" }), jobs.ErrInvalidSchedule, "minute"},
		"never fires":        {with(func(d *jobs.Definition) { d.Schedule = "0 0 31 2 *" }), jobs.ErrInvalidSchedule, "never"},
		"bad time zone":      {with(func(d *jobs.Definition) { d.TimeZone = "Mars/Olympus" }), jobs.ErrInvalidSchedule, "Mars/Olympus"},
		"negative timeout":   {with(func(d *jobs.Definition) { d.Timeout = -1 }), jobs.ErrInvalidJob, "Timeout"},
		"negative attempts":  {with(func(d *jobs.Definition) { d.MaxAttempts = -1 }), jobs.ErrInvalidJob, "MaxAttempts"},
		"unnamed parameter":  {with(func(d *jobs.Definition) { d.Parameters = []jobs.Parameter{{Type: jobs.TypeString, Default: ""}} }), jobs.ErrInvalidParameter, "name"},
		"parameter twice": {with(func(d *jobs.Definition) {
			d.Parameters = slices.Repeat([]jobs.Parameter{{Name: "a", Type: jobs.TypeString, Default: ""}}, 2)
		}), jobs.ErrInvalidParameter, "twice"},
		"parameter untyped": {with(func(d *jobs.Definition) { d.Parameters = []jobs.Parameter{{Name: "a", Default: ""}} }), jobs.ErrInvalidParameter, "type"},
		"no default":        {with(func(d *jobs.Definition) { d.Parameters = []jobs.Parameter{{Name: "a", Type: jobs.TypeInteger}} }), jobs.ErrInvalidParameter, "default"},
		"default out of line": {with(func(d *jobs.Definition) {
			d.Parameters = []jobs.Parameter{{Name: "a", Type: jobs.TypeInteger, Default: 0, Minimum: jobs.Bound(1)}}
		}), jobs.ErrInvalidParameter, "at least 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var registry jobs.Registry
			err := registry.Add(named("good"), test.job)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %v that says %q", err, test.want, test.says)
			}
			if list := registry.List(); len(list) != 0 {
				t.Errorf("a refused batch left %d jobs", len(list))
			}
		})
	}
}

func TestRegistryRefusesDuplicates(t *testing.T) {
	t.Parallel()
	var registry jobs.Registry
	if err := registry.Add(named("b"), named("a")); err != nil {
		t.Fatal(err)
	}
	for _, batch := range [][]jobs.Job{{named("c"), named("a")}, {named("d"), named("d")}} {
		if err := registry.Add(batch...); !errors.Is(err, jobs.ErrDuplicateJob) {
			t.Errorf("got %v, want ErrDuplicateJob", err)
		}
	}
	var names []string
	for _, job := range registry.List() {
		names = append(names, job.Definition().Name)
	}
	if !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("the registry lists %v, want what was accepted, sorted", names)
	}
	if _, err := registry.Get("z"); !errors.Is(err, jobs.ErrUnknownJob) || !strings.Contains(err.Error(), "a, b") {
		t.Errorf("got %v, want ErrUnknownJob that lists the jobs", err)
	}
}

func TestRegisterPanicsOnAMistake(t *testing.T) {
	t.Parallel()
	defer func() {
		if recovered := recover(); !strings.Contains(fmt.Sprint(recovered), "empty name") {
			t.Errorf("recovered %v, want the refusal", recovered)
		}
	}()
	jobs.Register(named(""))
}

var parameters = jobs.Definition{Name: "job", Schedule: "@hourly", Parameters: []jobs.Parameter{
	{Name: "count", Type: jobs.TypeInteger, Default: 3, Minimum: jobs.Bound(1), Maximum: jobs.Bound(9)},
	{Name: "share", Type: jobs.TypeNumber, Default: 0.5},
	{Name: "hard", Type: jobs.TypeBoolean, Default: false},
	{Name: "mode", Type: jobs.TypeString, Default: "keep", Enum: []string{"keep", "delete"}},
	{Name: "ids", Type: jobs.TypeStrings, Default: []string{"system"}},
	{Name: "wait", Type: jobs.TypeDuration, Default: "90s", Minimum: jobs.Bound(1)},
}}

func TestResolve(t *testing.T) {
	t.Parallel()
	p, err := jobs.ResolveJSON(parameters, []byte(`{"count": 5, "ids": []}`), nil, []byte(`{"count": 7, "wait": "2m", "mode": "delete"}`))
	if err != nil {
		t.Fatal(err)
	}
	if p.Int("count") != 7 || p.Float("share") != 0.5 || p.Bool("hard") || p.String("mode") != "delete" || len(p.Strings("ids")) != 0 || p.Duration("wait") != 2*time.Minute {
		t.Errorf("resolved to %v", p)
	}
	// What travels with a run resolves to the same.
	encoded, err := p.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	again, err := jobs.ResolveJSON(parameters, encoded)
	if err != nil || fmt.Sprint(again) != fmt.Sprint(p) {
		t.Errorf("after a journey as %s: %v, %v; want %v", encoded, again, err, p)
	}
}

func TestResolveRefuses(t *testing.T) {
	t.Parallel()
	for given, says := range map[string]string{
		`{"cuont": 1}`:              "cuont",
		`{"count": "1"}`:            "whole number",
		`{"count": 1.5}`:            "whole number",
		`{"count": 0}`:              "at least 1",
		`{"count": -1}`:             "at least 1",
		`{"count": 10}`:             "at most 9",
		`{"count": null}`:           "null",
		`{"count": 1e300}`:          "whole number",
		`{"share": "much"}`:         "number",
		`{"hard": 1}`:               "true or false",
		`{"mode": "lose"}`:          "keep, delete",
		`{"mode": 1}`:               "string",
		`{"ids": "system"}`:         "list of strings",
		`{"ids": [1]}`:              "list of strings",
		`{"wait": 90}`:              "duration",
		`{"wait": "0s"}`:            "at least 1 seconds",
		`{"wait": "-2m"}`:           "at least 1 seconds",
		`{"count": 0, "hard": "x"}`: "hard",
		`[]`:                        "object",
		`{"count": 1`:               "object",
	} {
		_, err := jobs.ResolveJSON(parameters, []byte(given))
		if !errors.Is(err, jobs.ErrInvalidParameter) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), `job "job"`) {
			t.Errorf("%s: got %v, want ErrInvalidParameter that names the job and says %q", given, err, says)
		}
	}
	var refused *jobs.ParameterError
	if _, err := jobs.ResolveJSON(parameters, []byte(`{"count": 0}`)); !errors.As(err, &refused) || refused.Parameter != "count" {
		t.Errorf("got %v, want a ParameterError about count", err)
	}
}

func TestPermanent(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	if err := fmt.Errorf("wrapped: %w", jobs.Permanent(cause)); !jobs.IsPermanent(err) || !errors.Is(err, cause) {
		t.Errorf("%v is not permanent, or has lost its cause", err)
	}
	if jobs.Permanent(nil) != nil || jobs.IsPermanent(cause) {
		t.Error("nothing, or something else, is permanent")
	}
}

func TestTargetsMerge(t *testing.T) {
	t.Parallel()
	sum := jobs.Targets{"a": {Rows: 1, Batches: 1}}
	sum.Merge(jobs.Targets{"a": {Rows: 2, Batches: 1, Note: "slow"}, "b": {Absent: true}})
	if sum["a"] != (jobs.Target{Rows: 3, Batches: 2, Note: "slow"}) || !sum["b"].Absent || sum.Rows() != 3 {
		t.Errorf("merged to %v", sum)
	}
}
