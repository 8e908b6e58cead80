package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

func (a *app) jobsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "List the jobs: whether they run, when next, and how the last run went",
		Example: `  scheduler jobs
  scheduler jobs --json | jq -r '.[] | select(.state == "paused") | .job_name'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
				list, err := client.Jobs(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(listJSON(list))
				}
				state, now, err := stateAndClock(cmd.Context(), client)
				if err != nil {
					return err
				}
				a.writeJobs(list, state, now)
				return nil
			})
		},
	}
	a.addJSON(cmd)
	return cmd
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

func (a *app) writeJobs(list []scheduler.Job, state scheduler.State, now time.Time) {
	notes := stateNotes(state, now)
	if len(list) == 0 {
		fmt.Fprintln(a.stdout, "There are no jobs yet: a replica writes them when it leads. Start one with: scheduler serve")
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
	if !job.Registered {
		list = append(list, "is not registered: its code is gone from the running version, or its module is not imported")
	}
	if job.DryRunUntil != nil {
		list = append(list, fmt.Sprintf("is in rollout: scheduled runs are dry until %s; see what they would change with: scheduler rollout %s",
			timeText(job.DryRunUntil, now), job.JobName))
	}
	if job.Problem != nil {
		list = append(list, "has a problem: "+*job.Problem)
	}
	if job.LastError != nil && (job.LastStatus == nil || *job.LastStatus != string(jobs.StatusBlocked) || job.ScheduleProblem != nil) {
		list = append(list, "went wrong the last time: "+firstLine(*job.LastError, 200))
	}
	return list
}
