package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
)

func (a *app) explainCommand() *cobra.Command {
	var params []string
	var withSQL bool
	cmd := &cobra.Command{
		Use:   "explain NAME",
		Short: "Show what a cleanup or partition job would do in this database, and how",
		Long: `Shows for each target of a cleanup job how its rows would be worked in this database,
and why so: in waves, in block ranges, or in the order of the table; how many the
planner expects; and what would block the run, such as a foreign key without an index.

Of a partition job it shows which partitions would be created, and which detached or
dropped.

It looks at the catalog and asks the planner, and changes nothing. To count the rows,
ask for a dry run.`,
		Example: `  scheduler explain cleanup_inactive_sessions
  scheduler explain database_cleanup --sql | less
  scheduler explain database_cleanup --json | jq '.[] | {target, plan}'`,
		Args:              oneArg("a job's name"),
		ValidArgsFunction: a.completeJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
				row, err := client.Job(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				job, err := explainable(a.registry(), args[0])
				if err != nil {
					return err
				}
				values, err := parseParameters(row, params)
				if err != nil {
					return err
				}
				list, err := client.Explain(cmd.Context(), job, values)
				if err != nil {
					return err
				}
				if a.json {
					return a.writeJSON(list)
				}
				a.writeExplanations(list, withSQL)
				return nil
			})
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&params, "param", nil, paramUsage)
	flags.BoolVar(&withSQL, "sql", false, "show the statements, too")
	_ = cmd.RegisterFlagCompletionFunc("param", a.completeParameters) // it exists
	a.addJSON(cmd)
	return cmd
}

// explainable is a job of this program that can explain itself.
func explainable(registry *jobs.Registry, name string) (retention.Explainer, error) {
	job, err := registry.Get(name)
	if errors.Is(err, jobs.ErrUnknownJob) {
		return nil, fmt.Errorf("job %q is neither in this program nor declared in its configuration: explain it with those that serve it: %w", name, err)
	}
	if err != nil {
		return nil, err
	}
	explainer, ok := job.(retention.Explainer)
	if !ok {
		return nil, refused("job %q is neither made of cleanup rules nor a declared partition job: what it does is in its code, or in the configuration", name)
	}
	return explainer, nil
}

func (a *app) writeExplanations(list []retention.Explanation, withSQL bool) {
	for i, e := range list {
		if i > 0 {
			fmt.Fprintln(a.stdout)
		}
		fmt.Fprintf(a.stdout, "%s: %s %s\n", e.Target, e.Action, e.Table)
		fmt.Fprintf(a.stdout, "  %s\n", e.Plan)
		if e.Rows > 0 {
			fmt.Fprintf(a.stdout, "  The planner expects %s.\n", plural(e.Rows, "row"))
		}
		if e.Problem != "" {
			fmt.Fprintf(a.stdout, "  A run would be blocked: %s\n", e.Problem)
		}
		if withSQL {
			for _, text := range append([]string{e.Count, e.Pass}, append(e.Batch, e.OneStatement, e.Range)...) {
				if text != "" {
					fmt.Fprintf(a.stdout, "\n%s\n", indent(text))
				}
			}
		}
	}
}

func indent(text string) string { return "    " + strings.ReplaceAll(text, "\n", "\n    ") }
