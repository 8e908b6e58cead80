package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/internal/config"
	"github.com/systempromptio/scheduler/internal/devdb"
	"github.com/systempromptio/scheduler/internal/web"
	"github.com/systempromptio/scheduler/jobs"
)

const (
	// replicasMax is what one machine has room for.
	replicasMax = 9

	// databaseStopTimeout is how long the development database may take for its
	// checkpoint.
	databaseStopTimeout = 10 * time.Second
)

func (a *app) devCommand() *cobra.Command {
	replicas := 1
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Try it: a development database with rows to clean, and replicas",
		Long: `Starts all that it takes to see the scheduler work, runs every cleanup job once and
shows what it did. Ctrl-C ends all of it.

Without DATABASE_URL or --database-url it starts a PostgreSQL of its own, which keeps
its files in the folder .dev of the working directory, with tables like those of the
platform and generated rows. Other commands find that database by themselves when
they are called in the same folder.

With DATABASE_URL it works in that database: there it makes nothing but the
scheduler's schema, and every job starts in dry run, whatever the configuration says,
unless --dry-run=false is given. It refuses to join a fleet that is running there.

With --replicas 3 it starts three processes: kill the one that leads, and watch
another take over. With --listen 8080, the first one serves HTTP there, the others on
the ports after it.`,
		Example: `  scheduler dev
  scheduler dev --replicas 3 --listen 8080
  DATABASE_URL=postgres://localhost/platform scheduler dev --schema scheduler_dev`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if replicas < 1 || replicas > replicasMax {
				return &usageError{command: cmd, err: fmt.Errorf("--replicas is %d, must be between 1 and %d", replicas, replicasMax)}
			}
			settings, err := a.settings()
			if err != nil {
				return err
			}
			d := &development{app: a, settings: settings, logger: newLogger(a.stderr, settings), replicas: replicas, out: &lines{w: a.stdout}}
			return a.explain(cmd.Context(), d.run(cmd.Context()))
		},
	}
	cmd.Flags().IntVar(&replicas, "replicas", replicas, fmt.Sprintf("how many replicas to start, each a process of its own, at most %d", replicasMax))
	a.flags.addRest(cmd.Flags(), "migrate")
	cmd.Flags().Lookup("bootstrap-jobs").Usage = "jobs to run once at the start, separated by commas; an empty list for none (default all)"
	cmd.Flags().Lookup("dry-run").Usage = "every run reports what it would do and changes nothing (default only in a database of yours)"
	completeFields(cmd)
	return cmd
}

// development is one call of "dev".
type development struct {
	*app

	settings config.Settings
	logger   *slog.Logger
	replicas int
	// out is the standard output.
	out *lines
	// database is the development database; nil if there is another.
	database *devdb.DB
}

func (d *development) run(ctx context.Context) (err error) {
	if d.settings.Scheduler.DatabaseURL == "" {
		if err := d.startDatabase(ctx); err != nil {
			return err
		}
		defer func() {
			stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), databaseStopTimeout)
			defer cancel()
			err = errors.Join(err, d.database.Stop(stopCtx))
		}()
	} else if err := d.useDatabase(ctx); err != nil {
		return err
	}
	if _, err := scheduler.MigrateUp(ctx, migrateConfig(d.settings, slog.New(slog.DiscardHandler))); err != nil {
		return err
	}
	client, err := scheduler.NewClient(ctx, d.settings.Scheduler.DatabaseURL, d.settings.Scheduler.Schema)
	if err != nil {
		return err
	}
	defer client.Close()
	return d.runFleet(ctx, client)
}

// startDatabase starts the development database and fills it.
func (d *development) startDatabase(ctx context.Context) error {
	d.out.printf("Starting the development database, which is kept in %s.", devFolder)
	d.settings.Scheduler.LeaderDatabaseURL = "" // is of another database
	database, err := devdb.Start(ctx, devdb.Options{Dir: devFolder, Logger: d.logger})
	if err != nil {
		return err
	}
	d.database, d.settings.Scheduler.DatabaseURL = database, database.URL
	err = database.Prepare(ctx)
	var added int64
	if err == nil {
		added, err = database.Seed(ctx)
	}
	if err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), databaseStopTimeout)
		defer cancel()
		return errors.Join(err, database.Stop(stopCtx))
	}
	switch {
	case database.Created:
		d.out.printf("It has tables like those of the platform, with generated rows. Its URL is in %s/url.", devFolder)
	case added > 0:
		d.out.printf("It has its rows of the last time, and %d new ones to clean. Its URL is in %s/url.", added, devFolder)
	default:
		d.out.printf("It has its rows of the last time. Its URL is in %s/url.", devFolder)
	}
	return nil
}

// useDatabase says what will happen in a database that belongs to somebody, before
// anything does, and refuses one where a replica more would be more than a try.
func (d *development) useDatabase(ctx context.Context) error {
	c := &d.settings.Scheduler
	parsed, err := pgconn.ParseConfig(c.DatabaseURL)
	if err != nil {
		return err
	}
	schema := c.Schema
	if schema == "" {
		schema = scheduler.SchemaDefault
	}
	d.out.printf("This is your own %s, from %s.", address(parsed), d.settings.Origin("database_url"))
	d.out.printf("Nothing is made in it but the schema %q.", schema)
	if d.reallyCleans() {
		d.out.printf("The jobs really clean it, as --dry-run=false says.")
	} else {
		d.out.printf("Every job is in dry run: it reports what it would clean and changes nothing.")
		c.DryRun = true
		for i := range c.Jobs {
			c.Jobs[i].DryRun = nil
		}
	}
	status, err := scheduler.MigrateStatus(ctx, migrateConfig(d.settings, d.logger))
	if err != nil || status.Version == 0 {
		return err
	}
	return d.checkUnused(ctx)
}

// reallyCleans says whether somebody has asked for it on the command line.
func (d *development) reallyCleans() bool { return d.flags.texts["dry_run"] == "false" }

// checkUnused refuses a schema that is somebody's: a leader puts its configuration
// in force for the whole fleet, and a replica goes on with runs that are no dry
// runs.
func (d *development) checkUnused(ctx context.Context) error {
	const fix = `choose a schema for this try, such as --schema scheduler_dev`
	schema := d.settings.Scheduler.Schema
	client, err := scheduler.NewClient(ctx, d.settings.Scheduler.DatabaseURL, schema)
	if err != nil {
		return err
	}
	defer client.Close()
	replicas, err := client.Replicas(ctx)
	if err != nil {
		return err
	}
	if len(replicas) > 0 {
		return refused("%s running in this schema, such as %s, and this would join them; %s",
			isAre(len(replicas), "replica"), orDash(replicas[0].ReplicaID), fix)
	}
	if d.reallyCleans() {
		return nil
	}
	for _, status := range jobs.Statuses() {
		if status.Ended() {
			continue
		}
		runs, err := client.Runs(ctx, scheduler.RunFilter{Status: status})
		if err != nil {
			return err
		}
		for _, run := range runs {
			if !run.DryRun {
				return refused("run %d of %s in this schema is %s and no dry run: a replica would go on with it; %s", run.ID, run.JobName, run.Status, fix)
			}
		}
	}
	return nil
}

// runFleet starts the replicas and ends with them, or when ctx ends.
func (d *development) runFleet(ctx context.Context, client *scheduler.Client) (err error) {
	newest, err := newestRun(ctx, client)
	if err != nil {
		return err
	}
	bootstrap := d.bootstrapJobs()
	fleetCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	fleet, err := d.startFleet(fleetCtx, bootstrap)
	defer fleet.wait()
	defer stop()
	if err != nil {
		return err
	}

	reportCtx, endReport := context.WithCancel(ctx)
	var report sync.WaitGroup
	defer report.Wait()
	defer endReport()
	report.Go(func() {
		err := d.reportBootstrap(reportCtx, client, bootstrap, newest)
		if err == nil {
			err = d.tryNext(reportCtx, client, fleet)
		}
		if err != nil && reportCtx.Err() == nil {
			d.out.printf("The jobs' results cannot be shown: %s", message(err))
		}
	})

	var databaseEnded <-chan struct{}
	if d.database != nil {
		databaseEnded = d.database.Done()
	}
	for left := len(fleet.replicas); left > 0; {
		select {
		case <-ctx.Done():
			d.out.printf("Ending; runs may finish.")
			return nil
		case <-databaseEnded:
			return fmt.Errorf("the development database has ended; its log is %s/postgres.log", devFolder)
		case r := <-fleet.ended:
			left--
			d.out.printf("%s (process %d) has ended: %s. %s", r.name, r.pid, r.state(), leftText(left))
		}
	}
	return errors.New("no replica is left")
}

func leftText(left int) string {
	switch left {
	case 0:
		return "It was the last."
	case 1:
		return "The other one goes on."
	}
	return fmt.Sprintf("The other %d go on.", left)
}

// bootstrapJobs are those that the configuration names, and otherwise all.
func (d *development) bootstrapJobs() []string {
	if d.settings.Origin("bootstrap_jobs").IsSet() {
		return d.settings.Scheduler.BootstrapJobs
	}
	var names []string
	for _, job := range d.settings.Scheduler.Registry.List() {
		names = append(names, job.Definition().Name)
	}
	return names
}

// startFleet starts the replicas. Those that were started are in the fleet, even if
// there is an error.
func (d *development) startFleet(ctx context.Context, bootstrap []string) (*fleet, error) {
	f := &fleet{ended: make(chan *replica, d.replicas)}
	out := &lines{w: d.stderr}
	listens, err := d.listens()
	if err != nil {
		return f, err
	}
	for i := 1; i <= d.replicas; i++ {
		r, err := f.start(ctx, fmt.Sprintf("r%d", i), append(d.serveArgs(bootstrap), listens[i-1]...), d.serveEnviron(), out)
		if err != nil {
			return f, err
		}
		d.out.printf("%s is process %d.", r.name, r.pid)
	}
	return f, nil
}

// serveArgs are the arguments of a replica: what was set here, and what is
// different here. A password is in none of them.
func (d *development) serveArgs(bootstrap []string) []string {
	args := []string{"serve", "--bootstrap-jobs=" + strings.Join(bootstrap, ",")}
	if d.flags.path != "" {
		args = append(args, "--config="+d.flags.path)
	}
	for _, field := range config.Fields() {
		switch field.Name {
		case "database_url", "bootstrap_jobs", "listen", "http_token":
		case "leader_database_url":
			if d.settings.Scheduler.LeaderDatabaseURL == "" {
				args = append(args, "--leader-database-url=")
			}
		case "dry_run":
			args = append(args, fmt.Sprintf("--dry-run=%t", d.settings.Scheduler.DryRun))
		default:
			if text, ok := d.flags.texts[field.Name]; ok {
				args = append(args, "--"+field.Flag()+"="+text)
			}
		}
	}
	return args
}

// listens are the arguments that say where each replica serves HTTP: the first one
// where it was asked for, the others on the ports after it. Where nobody has set a
// secret, one is made and shown.
func (d *development) listens() ([][]string, error) {
	list := make([][]string, d.replicas)
	if d.settings.HTTP.Listen == "" {
		return list, nil
	}
	addresses, err := web.Addresses(d.settings.HTTP.Listen, d.replicas)
	if err != nil {
		return nil, err
	}
	for i, address := range addresses {
		list[i] = []string{"--listen=" + address}
	}
	if d.settings.HTTP.Token == "" && d.settings.HTTP.BasicAuth == "" {
		d.settings.HTTP.Token = strings.ToLower(rand.Text())
		d.out.printf("Pages are at the addresses that the log says. To change something there: any user, and the password %s", d.settings.HTTP.Token)
	}
	return list, nil
}

// serveEnviron is the environment of a replica, with the database and the secret of its
// HTTP surface in it.
func (d *development) serveEnviron() []string {
	values := map[string]string{
		"SCHEDULER_HTTP_TOKEN":          d.settings.HTTP.Token,
		"SCHEDULER_DATABASE_URL":        d.settings.Scheduler.DatabaseURL,
		"SCHEDULER_LEADER_DATABASE_URL": d.settings.Scheduler.LeaderDatabaseURL,
	}
	var environ []string
	for _, variable := range d.environ {
		name, _, _ := strings.Cut(variable, "=")
		if _, ok := values[name]; !ok {
			environ = append(environ, variable)
		}
	}
	for name, value := range values {
		environ = append(environ, name+"="+value)
	}
	return environ
}
