package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

func (a *app) runCommand() *cobra.Command {
	var params []string
	var dryRun, wait bool
	cmd := &cobra.Command{
		Use:   "run NAME",
		Short: "Ask for a run of a job now",
		Long: `Asks for a run of a job. The leader decides about it within milliseconds: it is
enqueued, or skipped if the job's policy says so, as when the run before has not
ended.

With --wait, the progress is shown on standard error and the result on standard
output; the exit code is 1 if the run failed, was cancelled or skipped. Without it
the exit code says only that the run was asked for.`,
		Example: `  scheduler run cleanup_inactive_sessions --wait
  scheduler run cleanup_empty_contexts --param retention_hours=48 --dry-run --wait
  scheduler run database_cleanup --param log_retention_days=7 --param system_user_ids=system,cron`,
		Args:              oneArg("a job's name"),
		ValidArgsFunction: a.completeJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			var dry *bool
			if cmd.Flags().Changed("dry-run") {
				dry = &dryRun
			}
			return a.withClient(ctx, func(client *scheduler.Client) error {
				run, err := ask(ctx, client, args[0], params, dry)
				if err != nil {
					return err
				}
				if wait {
					ended, err := a.follow(ctx, client, run.ID)
					if err != nil {
						return fmt.Errorf("run %d of %s goes on, but is not waited for any more: %w", run.ID, run.JobName, a.explain(ctx, err))
					}
					run = ended
				}
				if err := a.writeRun(run); err != nil {
					return err
				}
				if wait {
					return failure(run)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringArrayVar(&params, "param", nil, "set a parameter of the run, as `name=value`; a list with commas between its items; may be repeated")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "report what the run would do and change nothing (default as the job is configured)")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the run's end and show its progress")
	_ = cmd.RegisterFlagCompletionFunc("param", a.completeParameters) // it exists
	a.addJSON(cmd)
	return cmd
}

// ask asks for a run.
func ask(ctx context.Context, client *scheduler.Client, name string, params []string, dryRun *bool) (scheduler.Run, error) {
	job, err := client.Job(ctx, name)
	if err != nil {
		return scheduler.Run{}, err
	}
	if job.PausedAt != nil {
		return scheduler.Run{}, refused("job %q is paused since %s by %s: %s; let it run again with: scheduler resume %s",
			name, timeText(job.PausedAt, time.Now()), orDash(job.PausedBy), orDash(job.PausedReason), name)
	}
	values, err := parseParameters(job, params)
	if err != nil {
		return scheduler.Run{}, err
	}
	id, err := client.RunNow(ctx, name, values, dryRun)
	if err != nil {
		return scheduler.Run{}, err
	}
	return client.Run(ctx, id)
}

// follow waits for a run's end and shows its progress.
func (a *app) follow(ctx context.Context, client *scheduler.Client, id int64) (scheduler.Run, error) {
	leader, err := client.Leader(ctx)
	if err != nil {
		return scheduler.Run{}, err
	}
	if leader == nil {
		fmt.Fprintf(a.stderr, "scheduler: nobody leads; run %d waits until a replica does: scheduler serve\n", id)
	}
	progress := newProgress(a.stderr, isTerminal(a.stderr))
	defer progress.end()
	return client.Wait(ctx, id, progress.show)
}

// failure is the error of a run that did not succeed.
func failure(run scheduler.Run) error {
	if run.Status == string(jobs.StatusSuccess) {
		return nil
	}
	err := fmt.Errorf("run %d of %s: %s", run.ID, run.JobName, run.Status)
	switch {
	case run.Reason != nil:
		err = fmt.Errorf("%w: %s", err, *run.Reason)
	case run.Error != nil:
		err = fmt.Errorf("%w: %s", err, firstLine(*run.Error, 500))
	}
	return err
}

func (a *app) writeRun(run scheduler.Run) error {
	if a.json {
		return a.writeJSON(run)
	}
	if !jobs.Status(run.Status).Ended() {
		fmt.Fprintf(a.stdout, "run %d of %s: %s; see how it goes with: scheduler runs --job %s\n", run.ID, run.JobName, run.Status, run.JobName)
		return nil
	}
	fmt.Fprintln(a.stdout, runText(run))
	targets, err := targetRows(run)
	if err != nil {
		return err
	}
	writeTable(a.stdout, nil, targets)
	return nil
}

// runText says how a run went, in one line.
func runText(run scheduler.Run) string {
	text := fmt.Sprintf("run %d of %s: %s", run.ID, run.JobName, run.Status)
	if run.RowsAffected != nil {
		text += ", " + plural(*run.RowsAffected, "row")
	}
	if run.Duration != nil {
		text += " in " + secondsText(run.Duration)
	}
	if run.DryRun {
		text += " (dry run: nothing was changed)"
	}
	if message := messageText(run); message != "" {
		text += "; " + message
	}
	return text
}

// messageText is a run's message, if it says more than the count of its rows.
func messageText(run scheduler.Run) string {
	if run.Message == nil {
		return ""
	}
	if run.RowsAffected != nil {
		for _, form := range []string{"%d rows affected", "%d rows would be affected"} { // package retention
			if *run.Message == fmt.Sprintf(form, *run.RowsAffected) {
				return ""
			}
		}
	}
	return firstLine(*run.Message, 200)
}

// targetRows are what a run did to each of its targets, as rows of a table.
func targetRows(run scheduler.Run) ([][]string, error) {
	if len(run.Targets) == 0 {
		return nil, nil
	}
	var targets jobs.Targets
	if err := json.Unmarshal(run.Targets, &targets); err != nil {
		return nil, fmt.Errorf("run %d: read its targets: %w", run.ID, err)
	}
	rows := make([][]string, 0, len(targets))
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		target := targets[name]
		count, note := fmt.Sprint(target.Rows), target.Note
		if target.Absent {
			count = "absent"
		}
		rows = append(rows, []string{"  " + name, count, note})
	}
	return rows, nil
}

// waitBriefly is a timer that a context ends early.
func waitBriefly(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
