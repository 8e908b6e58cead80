package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
)

func (a *app) backfillsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backfills [ID]",
		Short: "List backfills, newest first, or show one: how far they are",
		Long: `Lists the newest 50 backfills: how many runs they have, and how far they are. With an
id it shows that one, and --json gives an object in place of a list.`,
		Example: `  scheduler backfills
  scheduler backfills 3
  scheduler backfills --json | jq '.[] | select(.status == "running") | .id'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			if err := oneArg("the id of a backfill")(cmd, args); err != nil {
				return err
			}
			if _, err := parseID(args[0], "backfill"); err != nil {
				return &usageError{command: cmd, err: err}
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
				if len(args) == 1 {
					id, err := parseID(args[0], "backfill")
					if err != nil {
						return err
					}
					backfill, err := client.Backfill(cmd.Context(), id)
					if err != nil {
						return err
					}
					return a.showBackfill(backfill)
				}
				list, err := client.Backfills(cmd.Context())
				if err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(listJSON(list))
				}
				a.writeBackfills(list)
				return nil
			})
		},
	}
	a.addJSON(cmd)
	return cmd
}

// showBackfill writes one backfill.
func (a *app) showBackfill(b scheduler.Backfill) error {
	switch {
	case a.json:
		return a.writeJSON(b)
	case b.Status == "cancelled" && b.Error != nil && b.Runs == 0:
		fmt.Fprintf(a.stdout, "backfill %d of %s was %s\n", b.ID, b.JobName, *b.Error) // which says by whom
	case b.Error != nil && b.Runs == 0:
		fmt.Fprintf(a.stdout, "backfill %d of %s is %s: %s\n", b.ID, b.JobName, b.Status, *b.Error)
	default:
		a.writeBackfill(b)
		if b.Waiting+b.Working > 0 {
			fmt.Fprintln(a.stdout, backfillProgress(b))
		}
	}
	return nil
}

func (a *app) writeBackfills(list []scheduler.Backfill) {
	if len(list) == 0 {
		fmt.Fprintln(a.stdout, "There are no backfills. Ask for one with: scheduler backfill NAME --from TIME")
		return
	}
	rows := make([][]string, 0, len(list))
	for _, b := range list {
		remark := unsuccessful(b)
		if b.Error != nil {
			remark = firstLine(*b.Error, 100)
		}
		if b.DryRun {
			remark = joinNotEmpty("dry run", remark)
		}
		rows = append(rows, []string{
			fmt.Sprint(b.ID), b.JobName, localTime(b.FromTick), localTime(b.ToTick), b.Status, fmt.Sprint(b.Runs),
			fmt.Sprint(b.Runs - b.Waiting - b.Working), orDash(b.LeftOut), orDash(b.Remaining), b.RequestedBy, remark,
		})
	}
	writeTable(a.stdout, []string{"BACKFILL", "JOB", "FROM", "TO", "STATUS", "RUNS", "ENDED", "LEFT OUT", "REMAINING", "ASKED BY", "REMARK"}, rows)
}

func joinNotEmpty(a, b string) string {
	if b == "" {
		return a
	}
	return a + "; " + b
}
