package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// pausedState is whether the whole scheduler is paused, with the ids of the runs that
// go on.
type pausedState struct {
	scheduler.State

	UnfinishedRuns []int64 `json:"unfinished_runs"`
}

func (a *app) pauseCommand() *cobra.Command {
	var reason string
	var all, cancelRunning bool
	cmd := &cobra.Command{
		Use:   "pause NAME|--all --reason TEXT",
		Short: "Keep a job, or all of them, from running until it is resumed",
		Long: `Keeps a job from being enqueued until it is resumed, and with --all every job, also
those that are declared later. A deploy does not undo it. Ticks that pass meanwhile
are not made up for; the ledger counts them as missed. What is paused already keeps
the pause that it has, with its reason.

A run that has begun goes on, unless --cancel-running is given: then it is stopped
at once, and what its committed batches did stays. Runs that wait in line are
cancelled, too. What still runs is shown.`,
		Example: `  scheduler pause database_cleanup --reason 'restoring a backup'
  scheduler pause database_cleanup --reason 'it deletes too much' --cancel-running
  scheduler pause --all --reason 'the database is moved'`,
		Args:              jobOrAll(&all),
		ValidArgsFunction: a.completeJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return &usageError{command: cmd, err: errors.New("pausing needs a reason, for whoever finds it paused: --reason 'why'")}
			}
			return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
				if all {
					return a.pauseAll(cmd.Context(), client, reason, cancelRunning)
				}
				return a.pause(cmd.Context(), client, args[0], reason, cancelRunning)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever finds it paused (required)")
	cmd.Flags().BoolVar(&all, "all", false, "pause the whole scheduler")
	cmd.Flags().BoolVar(&cancelRunning, "cancel-running", false, "cancel what has begun or waits in line")
	_ = cmd.RegisterFlagCompletionFunc("reason", cobra.NoFileCompletions) // it exists
	a.addJSON(cmd)
	return cmd
}

// jobOrAll says that a command takes a job's name, or the flag --all in its place.
func jobOrAll(all *bool) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case *all && len(args) > 0:
			return &usageError{command: cmd, err: fmt.Errorf("--all is for the whole scheduler; leave out either it or %q", args[0])}
		case *all:
			return nil
		case len(args) == 0:
			return &usageError{command: cmd, err: fmt.Errorf("%q needs a job's name, or --all for the whole scheduler", cmd.CommandPath())}
		}
		return oneArg("a job's name")(cmd, args)
	}
}

func (a *app) pause(ctx context.Context, client *scheduler.Client, name, reason string, cancelRunning bool) error {
	before, err := a.findJob(ctx, client, name)
	if err != nil {
		return err
	}
	if err := client.Pause(ctx, name, reason, cancelRunning); err != nil {
		return err
	}
	job, now, err := a.jobAndClock(ctx, client, name)
	if err != nil {
		return err
	}
	runs, err := unfinished(ctx, client, name)
	if err != nil {
		return err
	}
	if a.json {
		d, err := details(job, now)
		if err != nil {
			return err
		}
		d.UnfinishedRuns = idsOf(runs)
		return a.writeJSON(d)
	}
	fmt.Fprintf(a.stdout, "%s %s\n", job.JobName, pausedText(before.PausedAt, job.PausedAt, job.PausedBy, job.PausedReason, now))
	a.writeUnfinished(runs)
	return nil
}

func (a *app) pauseAll(ctx context.Context, client *scheduler.Client, reason string, cancelRunning bool) error {
	before, err := client.State(ctx)
	if err != nil {
		return err
	}
	if err := client.PauseScheduler(ctx, reason, cancelRunning); err != nil {
		return err
	}
	state, now, err := stateAndClock(ctx, client)
	if err != nil {
		return err
	}
	runs, err := unfinished(ctx, client, "")
	if err != nil {
		return err
	}
	if a.json {
		return a.writeJSON(pausedState{State: state, UnfinishedRuns: idsOf(runs)})
	}
	fmt.Fprintf(a.stdout, "the scheduler %s\n", pausedText(before.PausedAt, state.PausedAt, state.PausedBy, state.PausedReason, now))
	a.writeUnfinished(runs)
	return nil
}

// unfinished lists the runs that a pause does not keep from being worked: of one job,
// or, if it has no name, of all.
func unfinished(ctx context.Context, client *scheduler.Client, jobName string) ([]scheduler.Run, error) {
	var runs []scheduler.Run
	for _, status := range []jobs.Status{jobs.StatusRunning, jobs.StatusPending, jobs.StatusRetrying} {
		list, err := client.Runs(ctx, scheduler.RunFilter{JobName: jobName, Status: status})
		if err != nil {
			return nil, err
		}
		runs = append(runs, list...)
	}
	return runs, nil
}

func idsOf(runs []scheduler.Run) []int64 {
	ids := make([]int64, 0, len(runs))
	for _, run := range runs {
		ids = append(ids, run.ID)
	}
	return ids
}

// writeUnfinished says what goes on although it is paused, and how to stop that.
func (a *app) writeUnfinished(runs []scheduler.Run) {
	if len(runs) == 0 {
		return
	}
	words := []string{"scheduler", "cancel"}
	for _, run := range runs {
		fmt.Fprintf(a.stdout, "run %d of %s is %s and goes on\n", run.ID, run.JobName, run.Status)
		words = append(words, fmt.Sprint(run.ID))
	}
	fmt.Fprintf(a.stdout, "Stop what goes on with: %s\n", strings.Join(words, " "))
}

func (a *app) resumeCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "resume NAME|--all",
		Short: "Let a paused job, or the whole scheduler, run again, from now on",
		Long: `Lets a paused job run again, from now on, and waits until the leader has planned its
next run. With --all, it ends a pause of the whole scheduler; jobs that were paused by
themselves stay paused.`,
		Example: `  scheduler resume database_cleanup
  scheduler resume --all`,
		Args:              jobOrAll(&all),
		ValidArgsFunction: a.completeJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
				if all {
					return a.resumeAll(cmd.Context(), client)
				}
				return a.resume(cmd.Context(), client, args[0])
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "resume the whole scheduler")
	a.addJSON(cmd)
	return cmd
}

func (a *app) resume(ctx context.Context, client *scheduler.Client, name string) error {
	if _, err := a.findJob(ctx, client, name); err != nil {
		return err
	}
	state, now, err := stateAndClock(ctx, client)
	if err != nil {
		return err
	}
	if state.PausedAt != nil {
		return refused("job %q cannot be resumed: the scheduler is paused %s", name, schedulerPauseText(state, now))
	}
	if err := client.Resume(ctx, name); err != nil {
		return err
	}
	job, err := a.awaitPlan(ctx, client, name, name+" does not run")
	if err != nil {
		return fmt.Errorf("job %q is resumed, but its next run cannot be shown: %w", name, a.explain(ctx, err))
	}
	if now, err = client.Now(ctx); err != nil {
		return err
	}
	if a.json {
		d, err := details(job, now)
		if err != nil {
			return err
		}
		return a.writeJSON(d)
	}
	text := fmt.Sprintf("%s is %s", job.JobName, job.State)
	if job.NextRun != nil {
		text += "; its next run is at " + timeTextIn(job.NextRun, now, shownIn(job))
	}
	fmt.Fprintln(a.stdout, text)
	if job.Problem != nil {
		fmt.Fprintf(a.stdout, "%s has a problem: %s\n", job.JobName, *job.Problem)
	}
	return nil
}

func (a *app) resumeAll(ctx context.Context, client *scheduler.Client) error {
	if err := client.ResumeScheduler(ctx); err != nil {
		return err
	}
	if _, err := a.saysNobodyLeads(ctx, client, "nothing is run"); err != nil {
		return err
	}
	if a.json {
		state, err := client.State(ctx)
		if err != nil {
			return err
		}
		return a.writeJSON(state)
	}
	list, err := client.Jobs(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(a.stdout, "the scheduler is resumed")
	for _, job := range list {
		if job.PausedAt != nil {
			fmt.Fprintf(a.stdout, "%s stays paused: %s; let it run again with: scheduler resume %s\n", job.JobName, orDash(job.PausedReason), job.JobName)
		}
	}
	return nil
}
