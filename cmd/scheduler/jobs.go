package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
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
				a.writeJobs(list, time.Now())
				return nil
			})
		},
	}
	a.addJSON(cmd)
	return cmd
}

func (a *app) writeJobs(list []scheduler.Job, now time.Time) {
	if len(list) == 0 {
		fmt.Fprintln(a.stdout, "There are no jobs yet: a replica writes them when it leads. Start one with: scheduler serve")
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
	separator := "\n"
	for _, job := range list {
		for _, remark := range remarks(job, now) {
			fmt.Fprintf(a.stdout, "%s%s %s\n", separator, job.JobName, remark)
			separator = ""
		}
	}
}

func stateText(job scheduler.Job) string {
	if job.DryRun {
		return job.State + ", dry run"
	}
	return job.State
}

// remarks is what somebody should know of a job beside its row.
func remarks(job scheduler.Job, now time.Time) []string {
	var list []string
	if job.PausedAt != nil {
		text := "is paused since " + timeText(job.PausedAt, now)
		if job.PausedBy != nil {
			text += " by " + *job.PausedBy
		}
		if job.PausedReason != nil {
			text += ": " + *job.PausedReason
		}
		list = append(list, text)
	}
	if !job.Registered {
		list = append(list, "is not registered: its code is gone from the running version, or its module is not imported")
	}
	if job.Problem != nil {
		list = append(list, "has a problem: "+*job.Problem)
	}
	if job.LastError != nil {
		list = append(list, "went wrong the last time: "+firstLine(*job.LastError, 200))
	}
	return list
}
