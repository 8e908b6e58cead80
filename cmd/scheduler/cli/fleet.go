package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
)

func (a *app) leaderCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "leader",
		Short: "Show who leads",
		Long:  `Shows which replica leads. With --json it is null if nobody does.`,
		Example: `  scheduler leader
  scheduler leader --json | jq -r '.replica_id'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
				leader, err := client.Leader(cmd.Context())
				if err != nil {
					return err
				}
				now, err := client.Now(cmd.Context())
				if err != nil {
					return err
				}
				switch {
				case a.json:
					return a.writeJSON(leader)
				case leader == nil:
					fmt.Fprintln(a.stdout, "Nobody leads. Start a replica with: scheduler serve")
				default:
					writeTable(a.stdout, []string{"REPLICA", "TERM", "BACKEND PID", "LEADS SINCE"}, [][]string{{
						leader.ReplicaID, fmt.Sprint(leader.Epoch), fmt.Sprint(leader.BackendPID), timeText(&leader.AcquiredAt, now),
					}})
				}
				return nil
			})
		},
	}
	a.addJSON(cmd)
	return cmd
}

func (a *app) replicasCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "replicas",
		Short:             "List the replicas that live",
		Example:           `  scheduler replicas`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
				list, err := client.Replicas(cmd.Context())
				if err != nil {
					return err
				}
				now, err := client.Now(cmd.Context())
				if err != nil {
					return err
				}
				switch {
				case a.json:
					return a.writeJSON(listJSON(list))
				case len(list) == 0:
					fmt.Fprintln(a.stdout, "No replica lives. Start one with: scheduler serve")
				default:
					a.writeReplicas(list, now)
				}
				return nil
			})
		},
	}
	a.addJSON(cmd)
	return cmd
}

func (a *app) writeReplicas(list []scheduler.Replica, now time.Time) {
	rows := make([][]string, 0, len(list))
	for _, replica := range list {
		leads := ""
		if replica.IsLeader {
			leads = "leads"
		}
		rows = append(rows, []string{
			orDash(replica.ReplicaID), fmt.Sprint(replica.BackendPID), orDash(replica.ClientAddr), timeText(replica.ConnectedAt, now),
			fmt.Sprint(replica.Running), leads,
		})
	}
	writeTable(a.stdout, []string{"REPLICA", "BACKEND PID", "ADDRESS", "CONNECTED", "RUNNING", "LEADER"}, rows)
}
