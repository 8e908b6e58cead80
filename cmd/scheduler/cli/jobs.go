package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

func (a *app) jobsCommand() *cobra.Command {
	var registered bool
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "List the jobs: whether they run, when next, and how the last run went",
		Long: `Lists the jobs that the leader has declared, and those that this program has and the
leader does not: "undeclared", because nobody has led yet or an older version leads.

--registered lists what this program has, by the configuration, and asks no database.`,
		Example: `  scheduler jobs
  scheduler jobs --json | jq -r '.[] | select(.state == "paused") | .job_name'
  scheduler jobs --registered --config config.yaml    # which of them run, before anything does`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := a.settings()
			if err != nil {
				return err
			}
			here := settings.Scheduler.RegisteredJobs()
			if registered {
				return a.writeRegistered(here)
			}
			return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
				list, err := client.Jobs(cmd.Context())
				if err != nil {
					return err
				}
				none := len(list) == 0
				list = withUndeclared(list, here)
				if a.json {
					return a.writeJSON(listJSON(list))
				}
				state, now, err := stateAndClock(cmd.Context(), client)
				if err != nil {
					return err
				}
				a.writeJobs(list, slices.Concat(undeclaredNotes(list, none), unlisted(here, list)), state, now)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&registered, "registered", false, "list what this program has registered, without asking a database")
	a.addJSON(cmd)
	return cmd
}

// undeclared is the state of a job that this program has, and the leader does not.
const undeclared = "undeclared"

// withUndeclared adds the jobs that this program has, and the leader does not.
func withUndeclared(list []scheduler.Job, here []scheduler.RegisteredJob) []scheduler.Job {
	for _, job := range here {
		if slices.ContainsFunc(list, func(j scheduler.Job) bool { return j.JobName == job.JobName }) {
			continue
		}
		list = append(list, scheduler.Job{
			JobName: job.JobName, State: undeclared, Schedule: job.Schedule, DeclaredSchedule: job.Schedule, Timezone: job.Timezone,
			Description: job.Description, Parameters: []byte("{}"), ParameterSpecs: []byte("[]"),
		})
	}
	slices.SortFunc(list, func(a, b scheduler.Job) int { return cmp.Compare(a.JobName, b.JobName) })
	return list
}

// undeclaredNotes says why jobs are undeclared: nobody has led, or somebody else does.
func undeclaredNotes(list []scheduler.Job, nobody bool) []string {
	var names []string
	for _, job := range list {
		if job.State == undeclared {
			names = append(names, job.JobName)
		}
	}
	switch {
	case nobody:
		return []string{"There are no jobs yet: a replica declares them when it leads. Start one with: scheduler serve"}
	case len(names) > 0:
		return []string{"Registered in this program, and not in the one that leads, which is another one or an older version: " + strings.Join(names, ", ")}
	}
	return nil
}

// unlisted says which jobs rest because the configuration does not list them.
func unlisted(here []scheduler.RegisteredJob, list []scheduler.Job) []string {
	var notes []string
	for _, job := range here {
		rests := slices.ContainsFunc(list, func(j scheduler.Job) bool { return j.JobName == job.JobName && !j.Enabled })
		if !job.Configured && !job.Enabled && rests {
			notes = append(notes, job.JobName+" "+notConfigured)
		}
	}
	return notes
}

const notConfigured = "is registered and not configured: list it under jobs to have it scheduled"

// writeRegistered writes what this program has.
func (a *app) writeRegistered(here []scheduler.RegisteredJob) error {
	if a.json {
		return a.writeJSON(listJSON(here))
	}
	rows := make([][]string, 0, len(here))
	for _, job := range here {
		state := "disabled"
		if job.Enabled {
			state = "enabled"
		}
		if !job.Configured {
			state += ", not configured"
		}
		rows = append(rows, []string{job.JobName, state, job.Schedule, job.Timezone, job.Description})
	}
	writeTable(a.stdout, []string{"JOB", "STATE", "SCHEDULE", "TIME ZONE", "DESCRIPTION"}, rows)
	return nil
}

// stateAndClock reads whether the whole scheduler is paused, and the database's
// clock.
func stateAndClock(ctx context.Context, client *scheduler.Client) (scheduler.State, time.Time, error) {
	state, err := client.State(ctx)
	if err != nil {
		return scheduler.State{}, time.Time{}, err
	}
	now, err := client.Now(ctx)
	return state, now, err
}

func (a *app) writeJobs(list []scheduler.Job, notes []string, state scheduler.State, now time.Time) {
	notes = append(notes, stateNotes(state, now)...)
	if len(list) == 0 {
		a.writeNotes(notes)
		return
	}
	rows := make([][]string, 0, len(list))
	for _, job := range list {
		rows = append(rows, []string{
			job.JobName, stateText(job), job.Schedule, timeText(job.NextRun, now), timeText(job.LastRun, now),
			orDash(job.LastStatus), orDash(job.LastRows), secondsText(job.LastDuration),
		})
	}
	writeTable(a.stdout, []string{"JOB", "STATE", "SCHEDULE", "NEXT RUN", "LAST RUN", "RESULT", "ROWS", "TOOK"}, rows)
	for _, job := range list {
		for _, remark := range remarks(job, state, now) {
			notes = append(notes, job.JobName+" "+remark)
		}
	}
	a.writeNotes(notes)
}

// writeNotes writes lines after an empty one.
func (a *app) writeNotes(notes []string) {
	if len(notes) > 0 {
		fmt.Fprintf(a.stdout, "\n%s\n", strings.Join(notes, "\n"))
	}
}

func stateText(job scheduler.Job) string {
	switch {
	case job.DryRun:
		return job.State + ", dry run"
	case job.DryRunUntil != nil:
		return job.State + ", in rollout"
	}
	return job.State
}

// remarks is what somebody should know of a job beside its row. That it is paused
// with the whole scheduler is not among it.
func remarks(job scheduler.Job, state scheduler.State, now time.Time) []string {
	var list []string
	if job.PausedAt != nil && !pausedWithAll(job, state) {
		list = append(list, "is paused "+sinceText(job.PausedAt, job.PausedBy, job.PausedReason, now))
	}
	if !job.Registered && job.State != undeclared {
		list = append(list, "is not registered: its code is gone from the running version, or its module is not imported")
	}
	if job.DryRunUntil != nil {
		list = append(list, fmt.Sprintf("is in rollout: scheduled runs are dry until %s; see what they would change with: scheduler rollout %s",
			timeText(job.DryRunUntil, now), job.JobName))
	}
	if job.Problem != nil {
		list = append(list, "has a problem: "+*job.Problem)
	}
	if job.LastError != nil && (job.LastStatus == nil || *job.LastStatus != jobs.StatusBlocked || job.ScheduleProblem != nil) {
		list = append(list, "went wrong the last time: "+firstLine(*job.LastError, 200))
	}
	return list
}
