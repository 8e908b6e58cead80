package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

const runsLimitDefault = 20

func (a *app) runsCommand() *cobra.Command {
	var filter scheduler.RunFilter
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "List runs, newest first",
		Long: `Lists the ledger, newest first: runs, also those that wait in line or are scheduled
for a time to come, and ticks that were skipped or missed, with the reason.`,
		Example: `  scheduler runs
  scheduler runs --status scheduled
  scheduler runs --job database_cleanup --status failed --limit 100
  scheduler runs --json | jq '.[] | {id, status, rows_affected}'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if filter.Status != "" && !slices.Contains(jobs.Statuses(), filter.Status) {
				return &usageError{command: cmd, err: fmt.Errorf("--status is %q, must be one of: %s", filter.Status, strings.Join(statuses(), ", "))}
			}
			if filter.BackfillID < 0 || filter.BackfillID == 0 && cmd.Flags().Changed("backfill") {
				return &usageError{command: cmd, err: fmt.Errorf("--backfill is %d, must be the id of a backfill; list them with: scheduler backfills", filter.BackfillID)}
			}
			if filter.Limit < 1 {
				return &usageError{command: cmd, err: fmt.Errorf("--limit is %d, must be at least 1", filter.Limit)}
			}
			return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
				if filter.BackfillID != 0 {
					if _, err := client.Backfill(cmd.Context(), filter.BackfillID); err != nil {
						return err
					}
				}
				list, err := client.Runs(cmd.Context(), filter)
				if err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(listJSON(list))
				}
				now, err := client.Now(cmd.Context())
				if err != nil {
					return err
				}
				a.writeRuns(list, now)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&filter.JobName, "job", "", "only runs of this job")
	cmd.Flags().StringVar((*string)(&filter.Status), "status", "", "only runs in this status: "+strings.Join(statuses(), ", "))
	cmd.Flags().Int64Var(&filter.BackfillID, "backfill", 0, "only runs of the backfill with this id (default all)")
	cmd.Flags().IntVar(&filter.Limit, "limit", runsLimitDefault, "at most so many")
	_ = cmd.RegisterFlagCompletionFunc("backfill", cobra.NoFileCompletions)                                              // it exists
	_ = cmd.RegisterFlagCompletionFunc("job", a.completeJobName)                                                         // it exists
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(statuses(), cobra.ShellCompDirectiveNoFileComp)) // it exists
	a.addJSON(cmd)
	return cmd
}

func statuses() []string {
	var list []string
	for _, status := range jobs.Statuses() {
		list = append(list, string(status))
	}
	return list
}

func (a *app) writeRuns(list []scheduler.Run, now time.Time) {
	if len(list) == 0 {
		fmt.Fprintln(a.stdout, "There are no such runs.")
		return
	}
	rows := make([][]string, 0, len(list))
	for _, run := range list {
		rows = append(rows, []string{
			fmt.Sprint(run.ID), run.JobName, timeText(&run.Tick, now), string(run.Trigger), string(run.Status),
			orDash(run.RowsAffected), secondsText(run.Duration), orDash(run.ReplicaID), remark(run),
		})
	}
	writeTable(a.stdout, []string{"RUN", "JOB", "TICK", "TRIGGER", "STATUS", "ROWS", "TOOK", "REPLICA", "REMARK"}, rows)
}

// remark is what is special about a run.
func remark(run scheduler.Run) string {
	var parts []string
	if run.DryRun {
		parts = append(parts, "dry run")
	}
	if run.MissedCount != nil && *run.MissedCount > 0 {
		parts = append(parts, plural(*run.MissedCount, "tick")+" missed")
	}
	if run.Attempt > 1 {
		parts = append(parts, fmt.Sprintf("attempt %d", run.Attempt))
	}
	switch run.Status { //nolint:exhaustive // the others were begun, or never will be
	case jobs.StatusRequested, jobs.StatusScheduled, jobs.StatusWaiting:
		if run.RequestedBy != nil {
			parts = append(parts, "asked for by "+*run.RequestedBy)
		}
	}
	if run.BackfillID != nil {
		parts = append(parts, fmt.Sprintf("backfill %d", *run.BackfillID))
	}
	for _, text := range []*string{run.Reason, run.Error} {
		if text != nil && *text != "" {
			parts = append(parts, firstLine(*text, 100))
		}
	}
	report := progressOf(run)
	if text := reportText(report); text != "" {
		parts = append(parts, text)
	}
	// What runs has its message in its report.
	if message := messageText(run); message != "" && report.Message != *run.Message {
		parts = append(parts, message)
	}
	return strings.Join(parts, "; ")
}
