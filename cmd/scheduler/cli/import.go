package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler/internal/config"
	"github.com/systempromptio/scheduler/internal/connection"
	"github.com/systempromptio/scheduler/internal/importing"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cron"
)

// importOptions are the flags of the commands below import.
type importOptions struct {
	output   string
	force    bool
	system   bool
	timeZone string
}

func (a *app) importCommand() *cobra.Command {
	var options importOptions
	cmd := &cobra.Command{
		Use:   "import {pg_cron|crontab}",
		Short: "Write a configuration file of the jobs that pg_cron or cron has",
		Long: `Reads the jobs of another scheduler and writes a configuration file that declares them
here. Nothing is changed where they are read, and nothing here: look at the file, then
give it to "scheduler serve --config".

What has no equal is said in a comment beside the job. What cannot be a job here is in
the file as a comment, with the reason. Standard error counts both.`,
		Example: `  scheduler import pg_cron --output jobs.yaml
  crontab -l | scheduler import crontab - --timezone Europe/Berlin`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return &usageError{command: cmd, err: errors.New("say from where: import pg_cron or import crontab")}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }, // Args refuses before
	}
	cmd.PersistentFlags().StringVar(&options.output, "output", "", "write to this `file`, which must not exist (default standard output)")
	cmd.PersistentFlags().BoolVar(&options.force, "force", false, "replace the file")
	cmd.AddCommand(a.importPgCronCommand(&options), a.importCrontabCommand(&options))
	return cmd
}

func (a *app) importPgCronCommand(options *importOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "pg_cron",
		Short: "Write a configuration file of the jobs in cron.job",
		Long: `Reads pg_cron's table cron.job, in a transaction that is read-only, and writes a
configuration file in which each of its jobs is a declared one. Of each command it asks
the server whether it is one statement: the server parses it, and does not run it. Several
statements become a list, if there is no doubt where each ends.

The database is the one in which pg_cron keeps its jobs (SHOW cron.database_name); jobs
for another database are comments. A role that is no superuser sees its own jobs only.

While both run, a job runs twice: cron.unschedule it, or give it dry_run, until then.`,
		Example:           `  scheduler import pg_cron --database-url postgres://postgres@db/platform --output jobs.yaml`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, hidden, err := a.pgCronJobs(cmd.Context())
			if err != nil {
				return a.explain(cmd.Context(), err)
			}
			if hidden {
				fmt.Fprintln(a.stderr, "scheduler: row security is on for this role: it sees its own jobs only; connect as a superuser for all of them")
			}
			return a.writeImported(list, *options, []string{
				"The jobs of pg_cron, as \"scheduler import pg_cron\" has read them.",
				"",
				"Look at each before it runs. What differs for all of them: a run ends after an hour unless",
				"timeout says otherwise; a tick that was missed is made up for, once, unless catch_up says",
				"otherwise. As with pg_cron, what fails is not tried again, and a run waits for the one before.",
			})
		},
	}
}

// pgCronJobs reads the jobs of pg_cron. The database needs nothing of the scheduler's.
func (a *app) pgCronJobs(ctx context.Context) (list []importing.Job, hidden bool, err error) {
	settings, err := a.settingsForDatabase(ctx)
	if err != nil {
		return nil, false, err
	}
	c, err := connection.Source{URL: settings.Scheduler.DatabaseURL}.Config(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("database_url: %w", err)
	}
	connecting, cancel := context.WithTimeout(ctx, connection.Timeout(c))
	defer cancel()
	conn, err := pgx.ConnectConfig(connecting, c)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	return importing.PgCron(ctx, conn)
}

func (a *app) importCrontabCommand(options *importOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "crontab FILE",
		Short: "Write a configuration file of the jobs in a crontab",
		Long: `Reads a crontab, or standard input if FILE is -, and writes a configuration file in
which each line is a declared job that runs its command by the shell, with the variables
that the crontab sets above it. The comments right above a line describe its job.

--system reads the form of /etc/crontab and /etc/cron.d, in which a user stands before
the command. Here all commands run as the user of the replicas, on whichever of them
lives: what they need has to be there.

cron reads times in the machine's time zone, which is not in the file: --timezone, unless
the crontab sets CRON_TZ.`,
		Example: `  crontab -l | scheduler import crontab - --timezone Europe/Berlin
  scheduler import crontab /etc/crontab --system --output jobs.yaml`,
		Args: oneArg("a crontab, or - for standard input"),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := cron.LoadLocation(options.timeZone); err != nil {
				return refused("--timezone: %w", err)
			}
			content, err := a.readCrontab(args[0])
			if err != nil {
				return err
			}
			timeZone := options.timeZone
			if timeZone == "UTC" {
				timeZone = "" // that is the default
			}
			list, notes := importing.Crontab(content, options.system, timeZone)
			header := []string{
				"The jobs of a crontab, as \"scheduler import crontab\" has read them. Times are in " + options.timeZone + ".",
				"",
				"Look at each before it runs. What differs for all of them: a command runs on whichever",
				"replica lives, as its user; a run ends after an hour unless timeout says otherwise; a tick",
				"that was missed is made up for, once, unless catch_up says otherwise; where a run has not",
				"ended, the next one is skipped, while cron would start a second (overlap: allow). As with",
				"cron, what fails is not tried again.",
			}
			if len(notes) > 0 {
				header = append(append(header, ""), notes...)
			}
			return a.writeImported(list, *options, header)
		},
	}
	cmd.Flags().BoolVar(&options.system, "system", false, "a user stands before each command, as in /etc/crontab")
	cmd.Flags().StringVar(&options.timeZone, "timezone", "UTC", "IANA name of the time zone of the machine that cron runs on")
	_ = cmd.RegisterFlagCompletionFunc("timezone", cobra.FixedCompletions(cron.LocationNames(), cobra.ShellCompDirectiveNoFileComp)) // it exists
	return cmd
}

// crontabMax bounds a crontab. A real one has some kilobytes.
const crontabMax = 1 << 20

func (a *app) readCrontab(path string) (content []byte, err error) {
	in := a.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, refused("%w", err)
		}
		defer f.Close() //nolint:errcheck // it was only read
		in = f
	}
	content, err = io.ReadAll(io.LimitReader(in, crontabMax+1))
	switch {
	case err != nil:
		return nil, refused("read the crontab: %w", err)
	case len(content) > crontabMax:
		return nil, refused("%s is larger than %d KiB; is it a crontab?", path, crontabMax>>10)
	}
	return content, nil
}

// writeImported writes a configuration of the jobs.
func (a *app) writeImported(list []importing.Job, options importOptions, header []string) error {
	folder, err := os.MkdirTemp("", "scheduler-import-")
	if err != nil {
		return fmt.Errorf("make a folder for what is checked: %w", err)
	}
	defer os.RemoveAll(folder) //nolint:errcheck // it holds a copy
	var taken []string
	for _, job := range jobs.DefaultRegistry().List() {
		taken = append(taken, job.Definition().Name)
	}
	written, err := importing.Write(list, importing.Options{Header: header, Taken: taken, CheckFunc: func(content []byte) error {
		return checkConfiguration(filepath.Join(folder, "jobs.yaml"), content)
	}})
	if err != nil {
		return err
	}
	if err := a.writeOutput(written.Content, options); err != nil {
		return err
	}
	summary := plural(int64(written.Jobs), "job")
	if written.Refused > 0 {
		summary += fmt.Sprintf(", %d of them only as a comment", written.Refused)
	}
	if written.Notes > 0 {
		summary += ", " + plural(int64(written.Notes), "note")
	}
	fmt.Fprintf(a.stderr, "scheduler: %s\n", summary)
	return nil
}

// checkConfiguration reads a configuration as "serve" does.
func checkConfiguration(path string, content []byte) error {
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return err
	}
	_, err := config.Load(config.Source{Path: path})
	list, ok := errors.AsType[config.Errors](err)
	if !ok {
		return err
	}
	texts := make([]string, 0, len(list))
	for _, one := range list {
		texts = append(texts, strings.ReplaceAll(one.Err.Error(), path, "the file"))
	}
	return errors.New(strings.Join(texts, "; "))
}

// writeOutput writes to standard output, or to a file that is new, unless it may be
// replaced.
func (a *app) writeOutput(content []byte, options importOptions) error {
	if options.output == "" {
		if options.force {
			return refused("--force replaces the file of --output, which is not given")
		}
		_, err := a.stdout.Write(content)
		return err
	}
	if !options.force {
		claim, err := os.OpenFile(options.output, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		switch {
		case errors.Is(err, fs.ErrExist):
			return refused("--output: %s is there already; name another file, or replace it with --force", options.output)
		case err != nil:
			return refused("--output: %w", err)
		}
		if err := claim.Close(); err != nil {
			return fmt.Errorf("write %s: %w", options.output, err)
		}
	}
	// Nobody sees half a file.
	temporary, err := os.CreateTemp(filepath.Dir(options.output), ".scheduler-import-*")
	if err != nil {
		return refused("--output: %w", err)
	}
	defer os.Remove(temporary.Name()) //nolint:errcheck // it is gone if all went well
	_, err = temporary.Write(content)
	err = errors.Join(err, temporary.Chmod(0o644), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), options.output)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", options.output, err)
	}
	return nil
}
