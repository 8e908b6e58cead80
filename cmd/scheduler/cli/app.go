package cli

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/internal/config"
)

// app is one call of the program: what it was given, and where it writes to.
type app struct {
	given Program
	// program is how the program was called.
	program        string
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	lookupEnv      func(string) (string, bool)

	flags configFlags
	json  bool
	// started is set when the command line has been understood.
	started bool
	// reportFunc, if not nil, takes the error of the command in place of a line on
	// standard error.
	reportFunc func(message string)
}

// run is the program after its environment was collected. It returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	var usage *usageError
	if !a.started && !errors.As(err, &usage) {
		err = &usageError{command: command, err: err}
	}
	a.report(err)
	return exitCode(err)
}

func (a *app) report(err error) {
	if a.reportFunc != nil {
		a.reportFunc(message(err))
		return
	}
	writeError(a.stderr, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "scheduler",
		Short: "A Postgres-native scheduler: replicas elect a leader, schedules and runs live in the database",
		Long: `A Postgres-native scheduler. Any number of replicas run against one database and
elect one leader; the leader turns schedules into runs, every replica works them.

The database is the one of --database-url, DATABASE_URL or a configuration file, and
otherwise what libpq's variables (PGHOST, PGUSER, PGPASSWORD, ...) say. Where none of
these is set and a development database of "scheduler dev" runs in the folder .dev,
it is that one; standard error says so.

A flag wins over an environment variable, a variable over the configuration file
(--config, SCHEDULER_CONFIG), the file over the default. The variable of a setting is
SCHEDULER_ and its name, such as SCHEDULER_MAX_WORKERS for --max-workers.

Times are shown in the machine's time zone (TZ), a job's next runs in the job's, each
with its zone; those of the database are in UTC in JSON.

Results go to standard output, the log and errors to standard error. Exit codes:

  0  done
  1  it failed: a run did not succeed, the database could not be reached, only some of
     several runs could be cancelled
  2  refused, and nothing was changed: flags, arguments, configuration, an unknown
     job, run or backfill, a paused job, a run that has ended, an invalid parameter,
     schedule or time, a wrong password, a missing privilege or table, a database that is
     read-only or behind a pooler, a schema that is missing or old
  3  a replica ended as asked, and other replicas go on with what it was running
  4  a replica ended as asked, though a job did not return: its transaction was
     rolled back, what else it did ended with the process
  128 and a signal's number: ended at once by a second signal`,
		Example: `  scheduler dev                  # try it: a database, a replica, rows that get cleaned
  scheduler serve --migrate      # a replica
  scheduler jobs                 # what is scheduled
  scheduler agenda               # what comes next
  scheduler run database_cleanup --dry-run --wait`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownCommand(cmd, args[0])
		},
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error { a.started = true; return nil },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return &usageError{command: cmd, err: flagError(err)} })
	a.flags.addFile(root.PersistentFlags())
	a.flags.add(root.PersistentFlags(), "database_url", "schema")
	root.AddCommand(
		a.serveCommand(), a.devCommand(), a.migrateCommand(),
		a.jobsCommand(), a.jobCommand(), a.explainCommand(), a.agendaCommand(), a.runCommand(), a.runsCommand(), a.logCommand(), a.cancelCommand(),
		a.pauseCommand(), a.resumeCommand(), a.rescheduleCommand(), a.rolloutCommand(), a.backfillCommand(), a.backfillsCommand(),
		a.analyticsCommand(), a.leaderCommand(), a.replicasCommand(), a.doctorCommand(), a.nextCommand(), a.rolesCommand(), a.importCommand(), a.versionCommand(), a.referenceCommand(),
	)
	return root
}

// settings reads the configuration.
func (a *app) settings() (config.Settings, error) {
	return config.Load(config.Source{Path: a.flags.path, LookupEnvFunc: a.lookupEnv, Flags: a.flags.texts})
}

// settingsForDatabase reads the configuration, and finds the development database
// where no other is named.
func (a *app) settingsForDatabase(ctx context.Context) (config.Settings, error) {
	settings, err := a.settings()
	if err != nil {
		return settings, err
	}
	if settings.Scheduler.DatabaseURL == "" && !a.hasLibpqVariables() {
		settings.Scheduler.DatabaseURL = a.developmentURL(ctx)
	}
	return settings, nil
}

// withClient runs a function with a client of the database.
func (a *app) withClient(ctx context.Context, do func(*scheduler.Client) error) error {
	settings, err := a.settingsForDatabase(ctx)
	if err != nil {
		return err
	}
	client, err := scheduler.NewClient(ctx, settings.Scheduler.DatabaseURL, settings.Scheduler.Schema)
	if err != nil {
		return a.explain(ctx, err)
	}
	defer client.Close()
	return a.explain(ctx, do(client))
}

// explain gives an error that a signal has caused its true cause.
func (a *app) explain(ctx context.Context, err error) error {
	if err != nil && errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// isTerminal says whether somebody sits at the other end.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
