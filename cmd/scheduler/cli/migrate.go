package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/internal/config"
)

func (a *app) migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate {up|down|status}",
		Short: "Make, change, remove or look at the scheduler's schema",
		Long: `Makes, changes, removes or looks at the scheduler's own schema, River's tables in it
included. Nothing else in the database is ever touched.

It needs a real session: behind a pooler in transaction mode it uses
--leader-database-url.`,
		Example: `  scheduler migrate status
  scheduler migrate up`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return &usageError{command: cmd, err: errors.New("say what to do: migrate up, migrate down or migrate status")}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }, // Args refuses before
	}
	a.flags.add(cmd.PersistentFlags(), "leader_database_url", "log_level", "log_format")
	cmd.AddCommand(a.migrateUpCommand(), a.migrateDownCommand(), a.migrateStatusCommand())
	for _, child := range cmd.Commands() {
		a.addJSON(child)
	}
	return cmd
}

func (a *app) migrateUpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "up",
		Short: "Bring the schema to the version of this program",
		Long: `Makes the schema if it is not there, and brings River's tables and the scheduler's own
to the versions of this program. A schema that is newer is left as it is. Replicas of
the version before go on working; while an index of the ledger is built they wait, for
about two seconds with a million runs.`,
		Example:           `  DATABASE_URL=postgres://owner@db/platform scheduler migrate up`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.migrateConfig(cmd.Context())
			if err != nil {
				return err
			}
			before, err := scheduler.MigrateStatus(cmd.Context(), c)
			if err != nil {
				return a.explain(cmd.Context(), err)
			}
			status, err := scheduler.MigrateUp(cmd.Context(), c)
			if err != nil {
				return a.explain(cmd.Context(), err)
			}
			if a.json {
				return a.writeJSON(status)
			}
			if before.UpToDate() {
				fmt.Fprintf(a.stdout, "schema %q has version %d: nothing to do\n", status.Schema, status.Version)
				return nil
			}
			fmt.Fprintf(a.stdout, "schema %q: version %d is now %d, River's %d is now %d\n",
				status.Schema, before.Version, status.Version, before.RiverVersion, status.RiverVersion)
			return nil
		},
	}
}

func (a *app) migrateStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show in which version the schema is",
		Long: `Shows in which version the schema is and which this program needs. It changes nothing,
and exits with 0 whatever the version is.`,
		Example: `  scheduler migrate status
  scheduler migrate status --json | jq '.version == .wanted'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.migrateConfig(cmd.Context())
			if err != nil {
				return err
			}
			status, err := scheduler.MigrateStatus(cmd.Context(), c)
			if err != nil {
				return a.explain(cmd.Context(), err)
			}
			if a.json {
				return a.writeJSON(status)
			}
			writeTable(a.stdout, []string{"SCHEMA " + status.Schema, "HAS", "THIS PROGRAM NEEDS"}, [][]string{
				{"scheduler", versionText(status), fmt.Sprint(status.Wanted)},
				{"River", fmt.Sprint(status.RiverVersion), fmt.Sprint(status.RiverWanted)},
			})
			fmt.Fprintln(a.stdout, statusText(status))
			return nil
		},
	}
}

func versionText(status scheduler.MigrationStatus) string {
	if status.Dirty {
		return fmt.Sprintf("%d, not finished", status.Version)
	}
	return fmt.Sprint(status.Version)
}

func statusText(status scheduler.MigrationStatus) string {
	switch {
	case !status.Exists:
		return "It is not there yet; make it with: scheduler migrate up"
	case status.OldestCompatible > status.Wanted:
		return fmt.Sprintf("It is newer than this program and works with version %d and later: use a newer program.", status.OldestCompatible)
	case !status.UpToDate():
		return "It is old; bring it up to date with: scheduler migrate up"
	case status.Version > status.Wanted:
		return "It is newer than this program, and works with it."
	}
	return "It is up to date."
}

func (a *app) migrateDownCommand() *cobra.Command {
	var steps int
	var all, yes bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Take migrations back, and lose what they hold",
		Long: `Takes back the newest migration, so many of them as --steps says, or with --all the
whole schema: the ledger, what operators have set, and River's tables. It says what is
lost and asks first; --yes answers. It refuses while replicas run.`,
		Example: `  scheduler migrate down --steps 1
  scheduler migrate down --all --yes`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if steps < 1 {
				return &usageError{command: cmd, err: fmt.Errorf("--steps is %d, must be at least 1; for everything there is --all", steps)}
			}
			if all && cmd.Flags().Changed("steps") {
				return &usageError{command: cmd, err: errors.New("--steps and --all exclude each other")}
			}
			return a.migrateDown(cmd.Context(), steps, all, yes)
		},
	}
	cmd.Flags().IntVar(&steps, "steps", 1, "how many migrations to take back")
	cmd.Flags().BoolVar(&all, "all", false, "take back everything, and drop the schema")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (a *app) migrateDown(ctx context.Context, steps int, all, yes bool) error {
	c, err := a.migrateConfig(ctx)
	if err != nil {
		return err
	}
	status, err := scheduler.MigrateStatus(ctx, c)
	if err != nil {
		return a.explain(ctx, err)
	}
	switch {
	case !status.Exists:
		return refused("schema %q is not there: nothing to take back", status.Schema)
	case !all && int64(steps) > status.Version:
		return refused("schema %q has version %d: %d steps cannot be taken back; for everything, River's tables included, there is --all", status.Schema, status.Version, steps)
	}
	if err := refuseWhileRunning(ctx, c); err != nil {
		return a.explain(ctx, err)
	}
	fmt.Fprintln(a.stderr, lossText(c, status, steps, all))
	if !yes {
		if err := a.confirm(status.Schema); err != nil {
			return err
		}
	}
	if all {
		steps = 0
	}
	after, err := scheduler.MigrateDown(ctx, c, steps)
	if err != nil {
		return a.explain(ctx, err)
	}
	if a.json {
		return a.writeJSON(after)
	}
	if !after.Exists {
		fmt.Fprintf(a.stdout, "schema %q is gone\n", after.Schema)
		return nil
	}
	fmt.Fprintf(a.stdout, "schema %q: version %d is now %d\n", after.Schema, status.Version, after.Version)
	return nil
}

// refuseWhileRunning refuses before anybody is asked. MigrateDown looks again, under
// its lock; a schema that this program cannot read is its affair alone.
func refuseWhileRunning(ctx context.Context, c scheduler.MigrateConfig) error {
	client, err := scheduler.NewClient(ctx, c.DatabaseURL, c.Schema)
	if errors.Is(err, scheduler.ErrSchema) {
		return nil
	}
	if err != nil {
		return err
	}
	defer client.Close()
	replicas, err := client.Replicas(ctx)
	if err != nil {
		return err
	}
	if len(replicas) > 0 {
		return refused("nothing was changed: %s running, such as %s; stop them first", isAre(len(replicas), "replica"), orDash(replicas[0].ReplicaID))
	}
	return nil
}

// lossText says what a migration down takes away.
func lossText(c scheduler.MigrateConfig, status scheduler.MigrationStatus, steps int, all bool) string {
	where := fmt.Sprintf("schema %q", status.Schema)
	if parsed, err := pgconn.ParseConfig(c.DatabaseURL); err == nil {
		where += " of " + address(parsed)
	}
	if all {
		return "This removes " + where + ": every run in the ledger, what operators have paused or rescheduled, runs that wait, and River's tables. It cannot be undone."
	}
	to := status.Version - int64(steps)
	text := fmt.Sprintf("This takes %s from version %d back to %d, with all rows that the later version holds. ", where, status.Version, to)
	if to == 0 {
		text += "That is every run in the ledger, and what operators have paused or rescheduled. "
	}
	return text + "It cannot be undone, and replicas of this program refuse to start until it is migrated up again."
}

// confirm asks whoever sits at the terminal.
func (a *app) confirm(schema string) error {
	if !isTerminal(a.stdin) {
		return refused("nothing was changed: there is no terminal to ask at; confirm with --yes")
	}
	fmt.Fprintf(a.stderr, "Type the schema's name, %s, to go on: ", schema)
	answer, err := bufio.NewReader(a.stdin).ReadString('\n')
	if strings.TrimSpace(answer) != schema {
		return refused("nothing was changed: it was not confirmed")
	}
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return nil
}

// migrateConfig takes the direct connection, if there is one.
func (a *app) migrateConfig(ctx context.Context) (scheduler.MigrateConfig, error) {
	settings, err := a.settingsForDatabase(ctx)
	if err != nil {
		return scheduler.MigrateConfig{}, err
	}
	return migrateConfig(settings, newLogger(a.stderr, settings)), nil
}

func migrateConfig(settings config.Settings, logger *slog.Logger) scheduler.MigrateConfig {
	c := scheduler.MigrateConfig{DatabaseURL: settings.Scheduler.DatabaseURL, Schema: settings.Scheduler.Schema, Logger: logger}
	if settings.Scheduler.LeaderDatabaseURL != "" {
		c.DatabaseURL = settings.Scheduler.LeaderDatabaseURL
	}
	return c
}
