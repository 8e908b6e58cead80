package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
)

func (a *app) rolloutCommand() *cobra.Command {
	var end bool
	cmd := &cobra.Command{
		Use:   "rollout [NAME]",
		Short: "Show what jobs in rollout would have changed so far, or end a rollout",
		Long: `Shows the jobs whose scheduled runs are dry runs for a while after they were declared
(dry_run_for in the configuration): until when, and for each target the least, the
most and the last number of rows that a run would have changed.

With --end, the rollout of the named job ends now: its scheduled runs are real from
now on. A deploy does not begin it again.`,
		Example: `  scheduler rollout
  scheduler rollout database_cleanup --json | jq '.[] | {target, max_rows}'
  scheduler rollout database_cleanup --end`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case end && len(args) == 0:
				return &usageError{command: cmd, err: errors.New("--end needs a job's name")}
			case len(args) == 0:
				return nil
			}
			return oneArg("a job's name")(cmd, args)
		},
		ValidArgsFunction: a.completeJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
				if end {
					return a.endRollout(cmd.Context(), client, name)
				}
				return a.showRollouts(cmd.Context(), client, name)
			})
		},
	}
	cmd.Flags().BoolVar(&end, "end", false, "end the job's rollout now")
	a.addJSON(cmd)
	return cmd
}

func (a *app) endRollout(ctx context.Context, client *scheduler.Client, name string) error {
	if err := client.EndRollout(ctx, name); err != nil {
		return err
	}
	job, now, err := a.jobAndClock(ctx, client, name)
	if err != nil {
		return err
	}
	if a.json {
		d, err := details(job, now)
		if err != nil {
			return err
		}
		return a.writeJSON(d)
	}
	text := job.JobName + " is not in rollout any more"
	if job.NextRun != nil && !job.DryRun {
		text += "; its next real run is at " + timeTextIn(job.NextRun, now, shownIn(job))
	}
	fmt.Fprintln(a.stdout, text)
	return nil
}

func (a *app) showRollouts(ctx context.Context, client *scheduler.Client, name string) error {
	if name != "" {
		if _, err := a.findJob(ctx, client, name); err != nil {
			return err
		}
	}
	list, err := client.Rollouts(ctx, name)
	if err != nil {
		return err
	}
	if a.json {
		return a.writeJSON(listJSON(list))
	}
	now, err := client.Now(ctx)
	if err != nil {
		return err
	}
	a.writeRollouts(list, name, now)
	return nil
}

func (a *app) writeRollouts(list []scheduler.Rollout, name string, now time.Time) {
	switch {
	case len(list) == 0 && name != "":
		fmt.Fprintf(a.stdout, "%s is not in rollout.\n", name)
		return
	case len(list) == 0:
		fmt.Fprintln(a.stdout, "No job is in rollout. A job's entry in the configuration may have dry_run_for.")
		return
	}
	rows := make([][]string, 0, len(list))
	for i, r := range list {
		row := []string{
			r.JobName, timeText(&r.DryRunUntil, now), fmt.Sprint(r.DryRuns), fmt.Sprint(r.Blocked), fmt.Sprint(r.Failed),
			orDash(r.Target), orDash(r.MinRows), orDash(r.MaxRows), orDash(r.LastRows),
		}
		if i > 0 && list[i-1].JobName == r.JobName {
			clear(row[:5])
		}
		rows = append(rows, row)
	}
	writeTable(a.stdout, []string{"JOB", "DRY UNTIL", "DRY RUNS", "BLOCKED", "FAILED", "TARGET", "LEAST ROWS", "MOST", "LAST"}, rows)
}
