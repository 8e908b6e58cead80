package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// cancelled is what became of a run that was to be cancelled.
type cancelled struct {
	RunID     int64 `json:"run_id"`
	Cancelled bool  `json:"cancelled"`
	// Status is the run's status now; nil if there is no such run.
	Status *jobs.Status `json:"status"`
	// Error is why it was not cancelled.
	Error *string `json:"error"`
}

// cancelledBackfill is a backfill, some of whose runs were taken back.
type cancelledBackfill struct {
	scheduler.Backfill

	TakenBack int64 `json:"taken_back"`
}

func (a *app) cancelCommand() *cobra.Command {
	var reason string
	var backfill int64
	cmd := &cobra.Command{
		Use:   "cancel RUN...|--backfill ID",
		Short: "Cancel runs that have not ended, or take back a backfill",
		Long: `Cancels runs that have not ended, by their ids: those that run, and those that wait
in line or are scheduled for a time to come. One that runs is stopped at once; what
its committed batches did stays.

With --backfill, all runs of that backfill are taken back that have not begun.

Several runs are cancelled one after the other. If some could not be cancelled, the
exit code is 1, and 2 if none could.`,
		Example: `  scheduler cancel 17
  scheduler cancel 17 18 19 --reason 'wrong parameters'
  scheduler cancel --backfill 3`,
		Args: func(cmd *cobra.Command, args []string) error {
			byBackfill := cmd.Flags().Changed("backfill")
			switch {
			case byBackfill && len(args) > 0:
				return &usageError{command: cmd, err: fmt.Errorf("--backfill is for all runs of a backfill; leave out either it or %q", args[0])}
			case byBackfill && backfill < 1:
				return &usageError{command: cmd, err: fmt.Errorf("--backfill is %d, must be the id of a backfill, as in: scheduler backfills", backfill)}
			case !byBackfill && len(args) == 0:
				return &usageError{command: cmd, err: fmt.Errorf("%q needs a run's id, as in: scheduler runs; or --backfill with the id of a backfill", cmd.CommandPath())}
			}
			_, err := runIDs(cmd, args)
			return err
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := runIDs(cmd, args)
			if err != nil {
				return err
			}
			return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
				if len(ids) == 0 {
					return a.cancelBackfill(cmd.Context(), client, backfill, reason)
				}
				return a.cancelRuns(cmd.Context(), client, ids, reason)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever reads the ledger")
	cmd.Flags().Int64Var(&backfill, "backfill", 0, "take back the backfill of this `ID`")
	_ = cmd.RegisterFlagCompletionFunc("reason", cobra.NoFileCompletions)   // it exists
	_ = cmd.RegisterFlagCompletionFunc("backfill", cobra.NoFileCompletions) // it exists
	a.addJSON(cmd)
	return cmd
}

// runIDs reads the ids of runs, each once.
func runIDs(cmd *cobra.Command, args []string) ([]int64, error) {
	ids := make([]int64, 0, len(args))
	for _, arg := range args {
		id, err := parseID(arg, "run")
		if err != nil {
			return nil, &usageError{command: cmd, err: err}
		}
		if !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// parseID reads the id of a run or a backfill.
func parseID(text, what string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, fmt.Errorf("%q is not the id of a %s, a whole number as in: scheduler %ss", text, what, what)
	}
	return id, nil
}

// cancelRuns cancels runs and goes on after those that cannot be cancelled.
func (a *app) cancelRuns(ctx context.Context, client *scheduler.Client, ids []int64, reason string) error {
	results := make([]cancelled, 0, len(ids))
	var errs []error
	for _, id := range ids {
		run, err := a.cancelRun(ctx, client, id, reason)
		if err != nil && !isRefused(err) {
			return fmt.Errorf("cancel run %d: %w", id, err)
		}
		result := cancelled{RunID: id, Cancelled: err == nil}
		if run.ID != 0 {
			result.Status = &run.Status
		}
		if err != nil {
			errs = append(errs, err)
			text := message(err)
			result.Error = &text
		}
		results = append(results, result)
	}
	if a.json {
		if err := a.writeJSON(results); err != nil {
			return err
		}
	}
	if err := errors.Join(errs...); err == nil || len(errs) == len(ids) {
		return err
	}
	return &partialError{err: fmt.Errorf("%d of %d runs were not cancelled: %w", len(errs), len(ids), errors.Join(errs...))}
}

// cancelRun cancels one run, says so, and returns what it is then. If it cannot be
// cancelled, it is returned as it is, if there is one.
func (a *app) cancelRun(ctx context.Context, client *scheduler.Client, id int64, reason string) (scheduler.Run, error) {
	run, err := client.Run(ctx, id)
	if err != nil {
		return scheduler.Run{}, err
	}
	if err := client.Cancel(ctx, id, reason); err != nil {
		return run, err
	}
	if run, err = client.Run(ctx, id); err != nil || a.json {
		return run, err
	}
	text := fmt.Sprintf("run %d of %s is cancelled", run.ID, run.JobName)
	if !run.Status.Ended() {
		text = fmt.Sprintf("run %d of %s is %s and about to be cancelled", run.ID, run.JobName, run.Status)
	}
	if run.RowsAffected != nil && *run.RowsAffected > 0 && !run.DryRun {
		text += fmt.Sprintf("; what its committed batches did to %s stays", plural(*run.RowsAffected, "row"))
	}
	fmt.Fprintln(a.stdout, text)
	return run, nil
}

func (a *app) cancelBackfill(ctx context.Context, client *scheduler.Client, id int64, reason string) error {
	if _, err := client.Backfill(ctx, id); err != nil {
		return err
	}
	n, err := client.CancelBackfill(ctx, id, reason)
	if err != nil {
		return err
	}
	backfill, err := client.Backfill(ctx, id)
	if err != nil {
		return err
	}
	if a.json {
		return a.writeJSON(cancelledBackfill{Backfill: backfill, TakenBack: n})
	}
	text := fmt.Sprintf("backfill %d of %s: %s taken back", id, backfill.JobName, plural(n, "run"))
	if backfill.Working > 0 {
		text += fmt.Sprintf("; %s begun: scheduler runs --backfill %d", hasHave(backfill.Working), backfill.ID)
	}
	fmt.Fprintln(a.stdout, text)
	return nil
}
