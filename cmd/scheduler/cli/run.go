package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// runOptions are the flags of the command run.
type runOptions struct {
	params []string
	// at is when, as it was typed; empty means now.
	at           string
	dryRun, wait bool
	// dryRunSet is set if dryRun was given.
	dryRunSet bool
}

// dry is what the run was told about a dry run; nil leaves it to the job.
func (o runOptions) dry() *bool {
	if !o.dryRunSet {
		return nil
	}
	return &o.dryRun
}

func (a *app) runCommand() *cobra.Command {
	var options runOptions
	cmd := &cobra.Command{
		Use:   "run NAME",
		Short: "Ask for a run of a job, now or at a time to come",
		Long: `Asks for a run of a job. The leader decides about it within milliseconds: it is
enqueued, put in line, or skipped if the job's policy says so, as when the run before
has not ended.

With --at, it is run once at that time, by the database's clock: RFC 3339, or a date
and a time of day in the job's time zone, or a duration from now with a plus. If
nobody leads at that time, it is run as soon as a replica does. Until then "scheduler
cancel" takes it back. A job that is paused at that time is not run.

With --wait, the progress is shown on standard error and the result on standard
output; the exit code is 1 if the run failed, was blocked, cancelled or skipped. Without it
the exit code says only that the run was asked for.`,
		Example: `  scheduler run cleanup_inactive_sessions --wait
  scheduler run cleanup_empty_contexts --param retention_hours=48 --dry-run --wait
  scheduler run database_cleanup --param log_retention_days=7 --param system_user_ids=system,cron
  scheduler run database_cleanup --at +90m
  scheduler run database_cleanup --at 2027-03-28T04:30 --json | jq '.id'`,
		Args:              oneArg("a job's name"),
		ValidArgsFunction: a.completeJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			options.dryRunSet = cmd.Flags().Changed("dry-run")
			if cmd.Flags().Changed("at") {
				if err := checkAt("at", options.at); err != nil {
					return &usageError{command: cmd, err: err}
				}
			}
			return a.withClient(ctx, func(client *scheduler.Client) error {
				run, err := a.ask(ctx, client, args[0], options)
				if err != nil {
					return err
				}
				return a.reportAsked(ctx, client, run, options.wait)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&options.at, "at", "", "run it once at this `time`: RFC 3339, a date and a time in the job's time zone, or +90m (default now)")
	flags.StringArrayVar(&options.params, "param", nil, paramUsage)
	flags.BoolVar(&options.dryRun, "dry-run", false, "report what the run would do and change nothing (default as the job is configured)")
	flags.BoolVar(&options.wait, "wait", false, "wait for the run's end and show its progress")
	_ = cmd.RegisterFlagCompletionFunc("at", cobra.NoFileCompletions) // it exists
	_ = cmd.RegisterFlagCompletionFunc("param", a.completeParameters) // it exists
	a.addJSON(cmd)
	return cmd
}

const paramUsage = "set a parameter of the run, as `name=value`; a list with commas between its items; may be repeated"

// ask asks for a run.
func (a *app) ask(ctx context.Context, client *scheduler.Client, name string, options runOptions) (scheduler.Run, error) {
	job, now, err := a.jobAndClock(ctx, client, name)
	if err != nil {
		return scheduler.Run{}, err
	}
	pause, err := pauseText(ctx, client, job, now)
	if err != nil {
		return scheduler.Run{}, err
	}
	if pause != "" && options.at == "" {
		return scheduler.Run{}, refused("%s", pause)
	}
	values, err := parseParameters(job, options.params)
	if err != nil {
		return scheduler.Run{}, err
	}
	var id int64
	if options.at == "" {
		id, err = client.RunNow(ctx, name, values, options.dry())
	} else {
		id, err = askAt(ctx, client, job, now, values, options)
	}
	if err != nil {
		return scheduler.Run{}, err
	}
	if pause != "" {
		fmt.Fprintf(a.stderr, "scheduler: run %d is skipped if that is still so at its time: %s\n", id, pause)
	}
	return client.Run(ctx, id)
}

func askAt(ctx context.Context, client *scheduler.Client, job scheduler.Job, now time.Time, values map[string]any, options runOptions) (int64, error) {
	location, err := locationOf(job)
	if err != nil {
		return 0, err
	}
	at, err := parseAt(options.at, location, now)
	if err != nil {
		return 0, refused("--at: %w", err)
	}
	return client.RunAt(ctx, job.JobName, at, values, options.dry())
}

// findJob reads a job. Of one that only this program has, it says what is to be done.
func (a *app) findJob(ctx context.Context, client *scheduler.Client, name string) (scheduler.Job, error) {
	job, err := client.Job(ctx, name)
	if errors.Is(err, jobs.ErrUnknownJob) {
		if _, notHere := a.registry().Get(name); notHere == nil {
			return job, fmt.Errorf("job %q: %w to the leader: this program has it, and nobody has led yet that has; start a replica with: scheduler serve", name, jobs.ErrUnknownJob)
		}
	}
	return job, err
}

// jobAndClock reads a job, and the database's clock.
func (a *app) jobAndClock(ctx context.Context, client *scheduler.Client, name string) (scheduler.Job, time.Time, error) {
	job, err := a.findJob(ctx, client, name)
	if err != nil {
		return scheduler.Job{}, time.Time{}, err
	}
	now, err := client.Now(ctx)
	return job, now, err
}

// reportAsked shows a run that was asked for, and before that waits for its end if
// it is told to.
func (a *app) reportAsked(ctx context.Context, client *scheduler.Client, run scheduler.Run, wait bool) error {
	if wait {
		ended, err := a.follow(ctx, client, run.ID)
		if err != nil {
			return fmt.Errorf("run %d of %s goes on, but is not waited for any more: %w", run.ID, run.JobName, a.explain(ctx, err))
		}
		run = ended
	} else if _, err := a.saysNobodyLeads(ctx, client, "run %d waits", run.ID); err != nil {
		return err
	}
	now, err := client.Now(ctx)
	if err != nil {
		return err
	}
	if err := a.writeRun(run, now); err != nil || !wait {
		return err
	}
	return failure(run)
}

// follow waits for a run's end and shows its progress.
func (a *app) follow(ctx context.Context, client *scheduler.Client, id int64) (scheduler.Run, error) {
	if _, err := a.saysNobodyLeads(ctx, client, "run %d waits", id); err != nil {
		return scheduler.Run{}, err
	}
	progress := newProgress(a.stderr, isTerminal(a.stderr))
	defer progress.end()
	return client.Wait(ctx, id, progress.show)
}

// failure is the error of a run that did not succeed.
func failure(run scheduler.Run) error {
	if run.Status == jobs.StatusSuccess {
		return nil
	}
	err := fmt.Errorf("run %d of %s: %s", run.ID, run.JobName, run.Status)
	// The reason of a failed run may be why it was begun at all.
	failed := run.Status == jobs.StatusFailed || run.Status == jobs.StatusBlocked
	switch {
	case run.Error != nil && (failed || run.Reason == nil):
		err = fmt.Errorf("%w: %s", err, firstLine(*run.Error, 500))
	case run.Reason != nil:
		err = fmt.Errorf("%w: %s", err, *run.Reason)
	}
	return err
}

func (a *app) writeRun(run scheduler.Run, now time.Time) error {
	if a.json {
		return a.writeJSON(run)
	}
	if !run.Status.Ended() {
		fmt.Fprintln(a.stdout, comingText(run, now))
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

// comingText says what becomes of a run that has not ended.
func comingText(run scheduler.Run, now time.Time) string {
	text := fmt.Sprintf("run %d of %s: %s", run.ID, run.JobName, run.Status)
	switch {
	case run.Status == jobs.StatusScheduled:
		return fmt.Sprintf("%s for %s; take it back with: scheduler cancel %d", text, timeText(&run.Tick, now), run.ID)
	case run.Status == jobs.StatusWaiting && run.Reason != nil:
		text += " (" + *run.Reason + ")"
	}
	return text + "; see how it goes with: scheduler runs --job " + run.JobName
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
	if run.RowsAffected != nil && repeatsCount(*run.Message, *run.RowsAffected) {
		return ""
	}
	return firstLine(*run.Message, 200)
}

// repeatsCount says whether a message says nothing but a number of rows.
func repeatsCount(message string, rows int64) bool {
	for _, form := range []string{"%d rows affected", "%d rows would be affected"} { // package retention
		if message == fmt.Sprintf(form, rows) {
			return true
		}
	}
	return false
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
