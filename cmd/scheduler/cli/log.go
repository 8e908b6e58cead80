package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
)

func (a *app) logCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log RUN",
		Short: "Show what a run has logged",
		Long: `Shows what is kept of a run's log: of each attempt that has ended, the first and the
last lines at level info and above, at most log_lines together and 64 kB. An attempt
whose replica was killed has left none here; they are in that replica's own log.`,
		Example: `  scheduler log 4711
  scheduler log 4711 --json | jq -r '.[] | select(.level == "ERROR") | .message'`,
		Args:              oneArg("a run's id, as in: scheduler runs"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := runIDs(cmd, args)
			if err != nil {
				return err
			}
			return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
				list, err := client.Log(cmd.Context(), ids[0])
				if err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(listJSON(list))
				}
				a.writeLog(list)
				return nil
			})
		},
	}
	a.addJSON(cmd)
	return cmd
}

func (a *app) writeLog(list []scheduler.LogLine) {
	if len(list) == 0 {
		fmt.Fprintln(a.stdout, "Nothing is kept of this run's log.")
		return
	}
	attempt, replica := 0, ""
	for _, line := range list {
		if line.Attempt != attempt || line.ReplicaID != replica {
			attempt, replica = line.Attempt, line.ReplicaID
			fmt.Fprintf(a.stdout, "Attempt %d, on %s\n", attempt, replica)
		}
		at := strings.Repeat(" ", len("15:04:05.000"))
		if line.At != nil {
			at = line.At.Local().Format("15:04:05.000") //nolint:gosmopolitan // for people, as every time on the terminal
		}
		fmt.Fprintf(a.stdout, "  %s  %-5s  %s%s\n", at, line.Level, indented(line.Message), attributesText(line.Attributes))
	}
}

// indented keeps the lines of a text under each other.
func indented(text string) string {
	return strings.ReplaceAll(printable(text), "\n", "\n"+strings.Repeat(" ", 23))
}

// attributesText is what follows a message: its attributes as they are stored, which is
// JSON on one line.
func attributesText(attributes json.RawMessage) string {
	if text := printable(string(attributes)); text != "" && text != "{}" {
		return "  " + text
	}
	return ""
}

// printable leaves out what a terminal would take for an order.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r >= ' ' && r != 0x7f && (r < 0x80 || r >= 0xa0) {
			return r
		}
		return -1
	}, text)
}
