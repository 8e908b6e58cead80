package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
)

// planWait is how long a command waits for the leader's plan.
const planWait = 5 * time.Second

func (a *app) rescheduleCommand() *cobra.Command {
	var reset bool
	cmd := &cobra.Command{
		Use:   "reschedule NAME EXPRESSION|--reset",
		Short: "Give a job another schedule, from now on",
		Long: `Sets a job's schedule over the declared one, from now on, and shows its next ticks. A
deploy does not undo it; --reset does. The expression is read in the job's time zone,
and refused if it is wrong, before anything is changed. "scheduler next" tries one
without a database.

Put the expression in quotes: the shell would replace each * by the names of files.`,
		Example: `  scheduler reschedule database_cleanup '30 2 * * *'
  scheduler reschedule database_cleanup '@every 6h'
  scheduler reschedule database_cleanup --reset`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := checkRescheduleArgs(cmd, args, reset); err != nil {
				return &usageError{command: cmd, err: err}
			}
			return nil
		},
		ValidArgsFunction: a.completeJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			expression := ""
			if !reset {
				expression = args[1]
			}
			return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
				return a.reschedule(cmd.Context(), client, args[0], expression)
			})
		},
	}
	cmd.Flags().BoolVar(&reset, "reset", false, "go back to the declared schedule")
	a.addJSON(cmd)
	return cmd
}

func checkRescheduleArgs(cmd *cobra.Command, args []string, reset bool) error {
	switch {
	case len(args) == 0:
		return fmt.Errorf("%q needs a job's name", cmd.CommandPath())
	case reset && len(args) > 1:
		return fmt.Errorf("--reset goes back to the declared schedule; leave out either it or %q", args[1])
	case reset:
		return nil
	case len(args) == 1:
		return fmt.Errorf("%q needs a cron expression in quotes, such as '0 3 * * *'; or --reset, which goes back to the declared schedule", cmd.CommandPath())
	case len(args) > 2:
		return fmt.Errorf("the expression came as %d arguments: put it in quotes, or the shell replaces each * by the names of files", len(args)-1)
	case strings.TrimSpace(args[1]) == "":
		return errors.New("the expression is empty; give one such as '0 3 * * *', or --reset, which goes back to the declared schedule")
	}
	return nil
}

func (a *app) reschedule(ctx context.Context, client *scheduler.Client, name, expression string) error {
	if err := client.Reschedule(ctx, name, expression); err != nil {
		return err
	}
	job, err := a.awaitPlan(ctx, client, name, "the new schedule waits")
	if err != nil {
		return fmt.Errorf("job %q is rescheduled, but its next ticks cannot be shown: %w", name, a.explain(ctx, err))
	}
	if job.ScheduleProblem != nil {
		return fmt.Errorf("job %q is rescheduled, but the leader cannot read it: %s; until then it follows %q", name, *job.ScheduleProblem, job.Schedule)
	}
	now, err := client.Now(ctx)
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
	follows := "follows from now on"
	if expression == "" {
		follows = "follows the declared schedule again"
	}
	fmt.Fprintf(a.stdout, "%s %s: %s  in %s\n", job.JobName, follows, job.Schedule, job.Timezone)
	a.writeNextTicks(d, now)
	return nil
}

// awaitPlan waits until the leader has planned a job's next run, or has found that it
// cannot. Where that may take longer, it says what waits and does not.
func (a *app) awaitPlan(ctx context.Context, client *scheduler.Client, name, waits string) (job scheduler.Job, err error) {
	planned := func() (bool, error) {
		job, err = client.Job(ctx, name)
		return job.NextRun != nil || job.ScheduleProblem != nil || job.State != "active", err
	}
	if nobody, err := a.saysNobodyLeads(ctx, client, "%s", waits); nobody || err != nil {
		if err == nil {
			_, err = planned()
		}
		return job, err
	}
	done, err := poll(ctx, planWait, planned)
	if err == nil && !done {
		fmt.Fprintf(a.stderr, "scheduler: the leader has not planned the next run within %s; look again with: scheduler job %s\n", planWait, name)
	}
	return job, err
}
