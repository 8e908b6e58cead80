package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
)

func (a *app) pauseCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "pause NAME --reason TEXT",
		Short: "Keep a job from running until it is resumed",
		Long: `Keeps a job from being enqueued until it is resumed. A run that has begun goes on.
A deploy does not undo it. Ticks that pass meanwhile are not made up for.`,
		Example:           `  scheduler pause database_cleanup --reason 'restoring a backup'`,
		Args:              oneArg("a job's name"),
		ValidArgsFunction: a.completeJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return &usageError{command: cmd, err: fmt.Errorf("pausing needs a reason, for whoever finds the job paused: --reason 'why'")}
			}
			return a.steer(cmd.Context(), args[0], func(client *scheduler.Client) error {
				return client.Pause(cmd.Context(), args[0], reason, false)
			}, func(job scheduler.Job) string {
				return fmt.Sprintf("%s is paused: %s", job.JobName, orDash(job.PausedReason))
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever finds the job paused (required)")
	_ = cmd.RegisterFlagCompletionFunc("reason", cobra.NoFileCompletions) // it exists
	a.addJSON(cmd)
	return cmd
}

func (a *app) resumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "resume NAME",
		Short:             "Let a paused job run again, from now on",
		Example:           `  scheduler resume database_cleanup`,
		Args:              oneArg("a job's name"),
		ValidArgsFunction: a.completeJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.steer(cmd.Context(), args[0], func(client *scheduler.Client) error {
				return client.Resume(cmd.Context(), args[0])
			}, func(job scheduler.Job) string {
				return fmt.Sprintf("%s is %s", job.JobName, job.State)
			})
		},
	}
	a.addJSON(cmd)
	return cmd
}

// steer changes a job and shows what it is then.
func (a *app) steer(ctx context.Context, name string, change func(*scheduler.Client) error, text func(scheduler.Job) string) error {
	return a.withClient(ctx, func(client *scheduler.Client) error {
		if err := change(client); err != nil {
			return err
		}
		job, err := client.Job(ctx, name)
		if err != nil {
			return err
		}
		if a.json {
			return a.writeJSON(job)
		}
		fmt.Fprintln(a.stdout, text(job))
		return nil
	})
}
