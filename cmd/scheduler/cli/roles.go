package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
)

func (a *app) rolesCommand() *cobra.Command {
	roles := scheduler.RolesDefault()
	cmd := &cobra.Command{
		Use:   "roles",
		Short: "Write the SQL that makes the database's roles",
		Long: `Writes the SQL that makes three roles, for a database administrator to read and to run
with psql. It connects to nothing.

  reader    reads the scheduler's views, and nothing else
  operator  is a reader who also pauses, resumes, runs, cancels and reschedules, by
            the functions; it can write no table
  serve     is what replicas log in as: it can do what the leader and the workers
            need, and what the built-in jobs need on the tables that they clean; it
            owns nothing and cannot change the schema

The schema is made before, and brought up to date later, by its owner: scheduler migrate
up. The script can be run again, and has to be after a table was added that a job cleans.
Two schedulers in one database, or in one cluster, may share roles or have their own.`,
		Example: `  scheduler roles | psql postgres://postgres@db/platform
  scheduler roles --serve jobs --operator dba > roles.sql
  DATABASE_URL=postgres://scheduler_serve@db/platform scheduler serve`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := a.settings()
			if err != nil {
				return err
			}
			script, err := scheduler.RolesScript(settings.Scheduler.Schema, roles)
			if err != nil {
				return &usageError{command: cmd, err: err}
			}
			fmt.Fprint(a.stdout, strings.TrimSuffix(script, "\n")+"\n")
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&roles.Reader, "reader", roles.Reader, "name of the role that reads the views")
	flags.StringVar(&roles.Operator, "operator", roles.Operator, "name of the role that steers")
	flags.StringVar(&roles.Serve, "serve", roles.Serve, "name of the role of the replicas")
	return cmd
}
