package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// nextTicks is how many ticks "job" shows.
const nextTicks = 5

// jobDetails is a job as every command writes one in JSON.
type jobDetails struct {
	scheduler.Job

	NextTicks []time.Time `json:"next_ticks"`
	// UnfinishedRuns are the ids of the runs that go on although it is paused, where a
	// command looks for them.
	UnfinishedRuns []int64 `json:"unfinished_runs"`
}

// details adds its next ticks to a job. One that has a problem may have none.
func details(job scheduler.Job, now time.Time) (jobDetails, error) {
	d := jobDetails{Job: job, NextTicks: []time.Time{}, UnfinishedRuns: []int64{}}
	ticks, err := scheduler.NextTicks(job, now, nextTicks)
	if err != nil && job.ScheduleProblem == nil {
		return d, err
	}
	for _, tick := range ticks {
		d.NextTicks = append(d.NextTicks, tick.UTC())
	}
	return d, nil
}

func (a *app) jobCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "job NAME",
		Short: "Show one job: its parameters, its policies and its next ticks",
		Example: `  scheduler job database_cleanup
  scheduler job database_cleanup --json | jq '.next_ticks'`,
		Args:              oneArg("a job's name"),
		ValidArgsFunction: a.completeJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
				job, err := a.findJob(cmd.Context(), client, args[0])
				if err != nil {
					return err
				}
				state, now, err := stateAndClock(cmd.Context(), client)
				if err != nil {
					return err
				}
				d, err := details(job, now)
				if err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(d)
				}
				return a.writeJob(d, state, now)
			})
		},
	}
	a.addJSON(cmd)
	return cmd
}

func (a *app) writeJob(d jobDetails, state scheduler.State, now time.Time) error {
	job := d.Job
	parameters, err := parameterRows(job)
	if err != nil {
		return err
	}
	fmt.Fprintln(a.stdout, job.JobName)
	if job.Description != "" {
		fmt.Fprintln(a.stdout, job.Description)
	}
	fmt.Fprintln(a.stdout)
	last := "never"
	if job.LastRun != nil {
		last = fmt.Sprintf("%s: %s, rows %s, took %s", timeText(job.LastRun, now), orDash(job.LastStatus), orDash(job.LastRows), secondsText(job.LastDuration))
	}
	rows := [][]string{{"State", stateText(job)}, {"Schedule", job.Schedule + "  in " + job.Timezone}}
	if job.ScheduleOverride != nil {
		rows = append(rows,
			[]string{"Override", *job.ScheduleOverride + "  set over the declared one; go back with: scheduler reschedule " + job.JobName + " --reset"},
			[]string{"Declared", job.DeclaredSchedule})
	}
	writeTable(a.stdout, nil, append(rows, [][]string{
		{"Next run", timeTextIn(job.NextRun, now, shownIn(job))},
		{"Last run", last},
		{"Runs", fmt.Sprint(job.RunCount)},
		{"Overlap", string(job.Overlap)},
		{"Catch-up", catchUpText(job)},
		{"Timeout", secondsText(&job.Timeout)},
		{"Attempts", fmt.Sprint(job.MaxAttempts)},
	}...))
	if state.DisabledAt != nil {
		fmt.Fprintf(a.stdout, "\n%s\n", disabledText(state, now))
	}
	if pausedWithAll(job, state) {
		fmt.Fprintf(a.stdout, "\nIt is paused with the whole scheduler, %s\n", schedulerPauseText(state, now))
	}
	for _, remark := range remarks(job, state, now) {
		fmt.Fprintf(a.stdout, "\nIt %s\n", remark)
	}
	if len(parameters) > 0 {
		fmt.Fprintln(a.stdout, "\nParameters")
		writeTable(a.stdout, []string{"  NAME", "TYPE", "VALUE", "DEFAULT", "ALLOWED", "DESCRIPTION"}, parameters)
	}
	a.writeNextTicks(d, now)
	return nil
}

// writeNextTicks writes a job's next ticks below a heading, after an empty line, in
// the job's time zone.
func (a *app) writeNextTicks(d jobDetails, now time.Time) {
	if len(d.NextTicks) == 0 {
		return
	}
	fmt.Fprintln(a.stdout, "\n"+ticksHeading(d.Job))
	for _, tick := range d.NextTicks {
		fmt.Fprintln(a.stdout, "  "+timeTextIn(&tick, now, shownIn(d.Job)))
	}
}

// catchUpText says what becomes of missed ticks, with the limits that are set.
func catchUpText(job scheduler.Job) string {
	text := string(job.CatchUp)
	if job.CatchUp == jobs.CatchUpAll {
		text += ", " + plural(int64(job.CatchUpLimit), "tick") + " at most"
	}
	if job.CatchUpMaxAge != nil && job.CatchUp != jobs.CatchUpNone {
		text += ", none older than " + secondsText(job.CatchUpMaxAge)
	}
	return text
}

func ticksHeading(job scheduler.Job) string {
	switch job.State {
	case "active":
		return "Next ticks"
	case "paused":
		return "Next ticks, once it is resumed"
	}
	return "Next ticks, if it were active"
}

// parameterRows are the job's parameters as rows of a table.
func parameterRows(job scheduler.Job) ([][]string, error) {
	specs, err := scheduler.ParameterSpecs(job)
	if err != nil {
		return nil, err
	}
	var values map[string]any
	if err := json.Unmarshal(job.Parameters, &values); err != nil {
		return nil, fmt.Errorf("job %q: read its parameters: %w", job.JobName, err)
	}
	rows := make([][]string, 0, len(specs))
	for _, spec := range specs {
		value, ok := values[spec.Name]
		if !ok {
			value = spec.Default
		}
		rows = append(rows, []string{
			"  " + spec.Name, string(spec.Type), valueText(value), valueText(spec.Default), allowedText(spec), spec.Description,
		})
	}
	return rows, nil
}

// valueText is a parameter's value as --param takes it.
func valueText(value any) string {
	list, ok := value.([]any)
	if !ok {
		return fmt.Sprint(value)
	}
	texts := make([]string, 0, len(list))
	for _, item := range list {
		texts = append(texts, fmt.Sprint(item))
	}
	return strings.Join(texts, ",")
}

// allowedText says what a parameter may be.
func allowedText(spec jobs.Parameter) string {
	bound := func(value float64) string {
		if spec.Type == jobs.TypeDuration {
			return durationText(time.Duration(value * float64(time.Second)))
		}
		return strings.TrimSuffix(fmt.Sprintf("%.6f", value), ".000000")
	}
	switch {
	case len(spec.Enum) > 0:
		return strings.Join(spec.Enum, ", ")
	case spec.Minimum != nil && spec.Maximum != nil:
		return bound(*spec.Minimum) + " to " + bound(*spec.Maximum)
	case spec.Minimum != nil:
		return "at least " + bound(*spec.Minimum)
	case spec.Maximum != nil:
		return "at most " + bound(*spec.Maximum)
	}
	return "any"
}
