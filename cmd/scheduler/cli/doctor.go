package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler/internal/doctor"
)

func (a *app) doctorCommand() *cobra.Command {
	var verbose, strict bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look the database, its server and the fleet over, and say what is wrong",
		Long: `Goes through a list of checks, for before production and for the night: connections,
poolers, the schema's version, what the role may do, the server's settings, the fleet,
and what the next run of each cleanup would meet, and the declared jobs. Each says what was found and, where
something is wrong, what mends it, as SQL, a setting or a command to copy.

Give it the configuration of the replicas, and run it as their user and where they run.
It changes nothing: everything is asked in read-only transactions that wait for nobody.
Where something is broken it goes on with the rest, and says what it could not look at.

Exit code 1 if there is a problem, with --strict also if there is a warning; 0 if there
are only notes, 2 if flags or the configuration are refused.`,
		Example: `  scheduler doctor
  scheduler doctor --config config.yaml --strict
  scheduler doctor --json | jq -r '.checks[] | select(.status == "problem") | .fix'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := a.settingsForDatabase(cmd.Context())
			if err != nil {
				return err
			}
			report, err := doctor.Examine(cmd.Context(), doctor.Config{
				Scheduler: settings.Scheduler, Listens: settings.HTTP.Listen != "", Version: a.buildVersion(), LocateFunc: settings.Locate,
			})
			if err == nil {
				err = cmd.Context().Err()
			}
			if err != nil {
				return a.explain(cmd.Context(), err)
			}
			if a.json {
				err = a.writeJSON(report)
			} else {
				a.writeReport(report, verbose)
			}
			if err != nil {
				return err
			}
			return verdict(report, strict)
		},
	}
	a.flags.add(cmd.Flags(), "leader_database_url", "max_workers", "enabled", "dry_run", "timezone")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "also show plans, assumptions and other details")
	cmd.Flags().BoolVar(&strict, "strict", false, "exit with 1 also if there are only warnings")
	a.addJSON(cmd)
	cmd.Flags().Lookup("json").Usage = "write the report as JSON"
	return cmd
}

// verdict is the command's error: exit code 1.
func verdict(report doctor.Report, strict bool) error {
	switch {
	case report.Problems > 0:
		return fmt.Errorf("the doctor has found %s", plural(int64(report.Problems), "problem"))
	case strict && report.Warnings > 0:
		return fmt.Errorf("the doctor has found %s", plural(int64(report.Warnings), "warning"))
	}
	return nil
}

func (a *app) writeReport(report doctor.Report, verbose bool) {
	group := ""
	for _, check := range report.Checks {
		if check.Group != group {
			group = check.Group
			fmt.Fprintf(a.stdout, "%s\n", group)
		}
		fmt.Fprintf(a.stdout, "  %-8s %s: %s\n", check.Status, check.Label(), check.Found)
		for line := range strings.Lines(check.Fix) {
			fmt.Fprintf(a.stdout, "           fix: %s\n", strings.TrimRight(line, "\n"))
		}
		if !verbose {
			continue
		}
		for _, line := range check.Details {
			if line != "" {
				fmt.Fprintf(a.stdout, "           %s\n", line)
			}
		}
	}
	fmt.Fprintf(a.stdout, "\n%s, %s, %s, %d ok", plural(int64(report.Problems), "problem"), plural(int64(report.Warnings), "warning"),
		plural(int64(report.Notes), "note"), report.OK)
	if report.Skipped > 0 {
		fmt.Fprintf(a.stdout, ", %d not looked at", report.Skipped)
	}
	fmt.Fprintln(a.stdout)
}
