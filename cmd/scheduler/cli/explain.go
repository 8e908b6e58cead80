package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
dropped, with their bounds.

It looks at the catalog and asks the planner, and changes nothing. The job need not be
declared yet: what the configuration says is explained before a replica has it. To count the rows,
ask for a dry run.`,
		Example: `  scheduler explain cleanup_inactive_sessions
  scheduler explain database_cleanup --sql | less
  scheduler explain database_cleanup --json | jq '.[] | {target, plan}'`,
		Args:              oneArg("a job's name"),
		ValidArgsFunction: a.completeJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
				row, declaredErr := client.Job(cmd.Context(), args[0])
				if declaredErr != nil && !errors.Is(declaredErr, jobs.ErrUnknownJob) {
					return declaredErr
				}
				job, err := explainable(a.registry(), args[0])
				if errors.Is(err, jobs.ErrUnknownJob) {
					return cmp.Or(declaredErr, err)
				}
				if err != nil {
					return err
				}
				if declaredErr != nil {
					if row, err = a.undeclared(job.Definition()); err != nil {
						return err
					}
				}
				values, err := parseParameters(row, params)
				if err != nil {
					return err
				}
				if declaredErr != nil {
					values = a.configured(args[0], values)
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

// undeclared is a job of this program that no leader has declared yet, as far as its
// parameters go.
func (a *app) undeclared(definition jobs.Definition) (scheduler.Job, error) {
	specs, err := json.Marshal(definition.Parameters)
	return scheduler.Job{JobName: definition.Name, ParameterSpecs: specs}, err
}

// configured are the parameters that the configuration sets for a job, and over them those
// that are given.
func (a *app) configured(name string, given map[string]any) map[string]any {
	values := make(map[string]any)
	if settings, err := a.settings(); err == nil {
		for _, job := range settings.Scheduler.Jobs {
			if job.Name == name {
				maps.Copy(values, job.Parameters)
			}
		}
	}
	maps.Copy(values, given)
	return values
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
