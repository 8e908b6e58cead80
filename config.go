package scheduler

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cron"
	"github.com/systempromptio/scheduler/river/leader"
	"github.com/systempromptio/scheduler/river/periodic"
	"github.com/systempromptio/scheduler/river/worker"
	"github.com/systempromptio/scheduler/sql"
)

const (
	// SchemaDefault is the Postgres schema of a scheduler that names none.
	SchemaDefault = sql.SchemaDefault

	// TimeZoneDefault is the zone in which schedules are read that name none.
	TimeZoneDefault = "UTC"

	// LogLinesDefault is how many lines of an attempt's log are kept.
	LogLinesDefault = 100

	// LogLinesOff keeps none.
	LogLinesOff = -1

	// logLinesMax is what fits into 64 kB if the lines are short.
	logLinesMax = 1000

	// bootstrapJobDefault is run once when a fleet starts, as the platform always
	// did, if it is registered.
	bootstrapJobDefault = "cleanup_inactive_sessions"
)

// Config configures a [Scheduler]. The zero value is complete: it takes the
// database from libpq's environment variables and schedules every job of the
// default registry with its own defaults.
type Config struct {
	// DatabaseURL is where jobs run and where the scheduler's schema lives: a URL or
	// a keyword/value string, as libpq takes it. What it leaves out comes from
	// libpq's environment variables (PGHOST, PGPASSWORD, ...).
	DatabaseURL string

	// LeaderDatabaseURL is how the lock session connects, if DatabaseURL leads
	// through a pooler in transaction mode: a direct connection to the same
	// database. Empty means DatabaseURL.
	LeaderDatabaseURL string

	// BeforeConnectFunc is called before each connection is made, the first ones and
	// those after a loss, and may change its settings: a password that was issued a
	// moment ago, say. Whatever the connection string refers to, such as a password
	// file, is read anew by then. It is called by several goroutines at once, and has
	// ten seconds. An error is a connection that failed: it is tried again. Nil changes
	// nothing.
	BeforeConnectFunc func(ctx context.Context, config *pgx.ConnConfig) error

	// Schema is the Postgres schema of the scheduler: lower-case letters, digits and
	// underscores, at most 46 characters, not public. Two schedulers in one database
	// use two schemas. Empty means [SchemaDefault].
	Schema string

	// Migrate brings the schema up to date at the start. The zero value refuses to
	// start with a schema that is missing or old.
	Migrate bool

	// Registry holds the jobs. Nil means jobs.DefaultRegistry().
	Registry *jobs.Registry

	// Jobs changes what the registry's jobs declare. A job that is not listed is
	// scheduled with its own defaults.
	Jobs []JobConfig

	// BootstrapJobs names jobs that are run once when a fleet starts, that is when
	// a replica starts while no other is alive. Nil means
	// cleanup_inactive_sessions, if that is registered; an empty slice means none.
	BootstrapJobs []string

	// Disabled enqueues nothing: schedules rest, runs that are asked for are
	// skipped. The zero value enqueues.
	Disabled bool

	// TimeZone is the IANA name of the zone in which schedules are read that name
	// none. Empty means [TimeZoneDefault].
	TimeZone string

	// DryRun makes every job's runs report and change nothing, unless its own
	// JobConfig says otherwise.
	DryRun bool

	// MaxWorkers is the number of runs that this replica works at once. Zero means
	// worker.MaxWorkersDefault.
	MaxWorkers int

	// ShutdownTimeout is how long runs may go on after the end of Run's context,
	// before they are stopped, at a batch's end if they have batches, and given to
	// others. Zero means
	// worker.ShutdownTimeoutDefault.
	ShutdownTimeout time.Duration

	// LogLines is how many lines of what an attempt logs at level info and above, through
	// jobs.Run.Logger, are kept in the database with the run: the first half and the last
	// half of them, at most 64 kB. The view run_logs shows them, to whoever may read it.
	// Zero means [LogLinesDefault], [LogLinesOff] keeps none.
	LogLines int

	// ReplicaID identifies this process start in the ledger and in pg_stat_activity;
	// it must differ at every start. Letters, digits, dots, underscores and dashes,
	// at most 46. Empty means the host's name and a random suffix.
	ReplicaID string

	// App is handed to the jobs; see jobs.App. Optional.
	App any

	// Metrics is where the replica's metrics are registered while [Scheduler.Run] runs:
	// docs/reference/metrics.md lists them. Two schedulers need two, or one that is
	// wrapped with a label of each. Nil means no metrics; nothing reaches for
	// prometheus.DefaultRegisterer.
	Metrics prometheus.Registerer

	// TracerProvider makes the spans of what this replica enqueues and works. The trace
	// context travels with River's job, so a run is one trace over all replicas. Nil
	// makes none; nothing reaches for otel's global provider. Whoever made the provider
	// shuts it down after [Scheduler.Run] has returned.
	TracerProvider trace.TracerProvider

	// Version is what the metrics call the program's version. Empty means that of the
	// program's main module, as Go's build information has it.
	Version string

	// Logger receives the scheduler's log. Nil means slog.Default().
	Logger *slog.Logger
}

// JobConfig changes what one job declares. Zero values leave the job's own.
type JobConfig struct {
	// Name is the job's name. Required.
	Name string
	// Enabled schedules the job, or does not. Nil leaves the job's own default.
	Enabled *bool
	// Schedule is cron text.
	Schedule string
	// TimeZone is an IANA name.
	TimeZone string
	// Parameters are set over the job's defaults.
	Parameters map[string]any
	// Overlap names what happens to a run whose predecessor has not ended.
	Overlap string
	// CatchUp names what happens to ticks that were missed.
	CatchUp string
	// CatchUpLimit is how many missed ticks are made up for at most.
	CatchUpLimit int
	// CatchUpMaxAge is the age beyond which a missed tick is not made up for.
	CatchUpMaxAge time.Duration
	// Timeout bounds an attempt.
	Timeout time.Duration
	// MaxAttempts is the number of attempts.
	MaxAttempts int
	// DryRun makes scheduled runs report and change nothing. Nil leaves
	// Config.DryRun.
	DryRun *bool
	// DryRunFor makes the job's scheduled runs dry runs until so long after it was first
	// declared with it, by the database's clock: what it would do is in the view rollout.
	// Runs that are asked for are not affected. Zero means no such time.
	DryRunFor time.Duration
}

// ConfigError is one thing that [New] refuses. errors.As finds each of several
// through [ConfigErrors].
type ConfigError struct {
	// Job is the job's name, empty if the field is not a job's.
	Job string
	// Field is the field's name as in the configuration file, such as "schedule" or
	// "parameters.inactive_hours".
	Field string
	// Err says what is wrong.
	Err error
}

func (e *ConfigError) Error() string {
	if e.Job != "" && !strings.HasPrefix(e.Err.Error(), "job ") {
		return fmt.Sprintf("job %q: %s: %v", e.Job, e.Field, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.Field, e.Err)
}

// Unwrap gives the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// ConfigErrors lists every [ConfigError] in an error of [New], in the order of
// the configuration.
func ConfigErrors(err error) []*ConfigError {
	var list []*ConfigError
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			list = append(list, ConfigErrors(e)...)
		}
	} else if single, ok := errors.AsType[*ConfigError](err); ok {
		list = append(list, single)
	}
	return list
}

// withDefaults returns a copy with zero values filled in.
func (c Config) withDefaults() Config {
	if c.Schema == "" {
		c.Schema = SchemaDefault
	}
	if c.Registry == nil {
		c.Registry = jobs.DefaultRegistry()
	}
	if c.TimeZone == "" {
		c.TimeZone = TimeZoneDefault
	}
	if c.BootstrapJobs == nil {
		if _, err := c.Registry.Get(bootstrapJobDefault); err == nil {
			c.BootstrapJobs = []string{bootstrapJobDefault}
		}
	}
	if c.MaxWorkers == 0 {
		c.MaxWorkers = worker.MaxWorkersDefault
	}
	if c.ShutdownTimeout == 0 {
		c.ShutdownTimeout = worker.ShutdownTimeoutDefault
	}
	if c.LogLines == 0 {
		c.LogLines = LogLinesDefault
	}
	if c.ReplicaID == "" {
		c.ReplicaID = newReplicaID()
	}
	if c.Version == "" {
		c.Version = "unknown"
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
			c.Version = info.Main.Version
		}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Jobs = slices.Clone(c.Jobs)
	for i := range c.Jobs {
		c.Jobs[i].Parameters = maps.Clone(c.Jobs[i].Parameters)
	}
	return c
}

// newReplicaID is the host's name and 8 random characters.
func newReplicaID() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "replica"
	}
	host = strings.Map(func(r rune) rune {
		if leader.ReplicaIDAllows(r) {
			return r
		}
		return '-'
	}, host)
	host = host[:min(len(host), leader.ReplicaIDMax-9)]
	random := make([]byte, 5)
	_, _ = rand.Read(random) // never fails, see crypto/rand
	return host + "-" + strings.ToLower(base32.StdEncoding.EncodeToString(random))
}

// validate checks what can be checked without a database. The config must have
// its defaults.
func (c Config) validate() error {
	var errs []error
	refuse := func(field string, err error) {
		if err != nil {
			errs = append(errs, &ConfigError{Field: field, Err: err})
		}
	}
	refuse("schema", sql.CheckSchema(c.Schema))
	_, err := pgxpool.ParseConfig(c.DatabaseURL)
	refuse("database_url", err)
	if c.LeaderDatabaseURL != "" {
		_, err := pgxpool.ParseConfig(c.LeaderDatabaseURL)
		refuse("leader_database_url", err)
	}
	_, err = cron.LoadLocation(c.TimeZone)
	refuse("timezone", err)
	if c.MaxWorkers < 1 || c.MaxWorkers > 10_000 {
		refuse("max_workers", fmt.Errorf("is %d, must be between 1 and 10000", c.MaxWorkers))
	}
	if c.ShutdownTimeout < 0 {
		refuse("shutdown_timeout", fmt.Errorf("is %v, must not be negative", c.ShutdownTimeout))
	}
	if c.LogLines != LogLinesOff && (c.LogLines < 1 || c.LogLines > logLinesMax) {
		refuse("log_lines", fmt.Errorf("is %d, must be between 1 and %d, or 0 for none", c.LogLines, logLinesMax))
	}
	refuse("replica_id", leader.CheckReplicaID(c.ReplicaID))
	for _, name := range c.BootstrapJobs {
		_, err := c.Registry.Get(name)
		refuse("bootstrap_jobs", err)
	}
	seen := make(map[string]bool, len(c.Jobs))
	for _, job := range c.Jobs {
		if seen[job.Name] {
			errs = append(errs, &ConfigError{Job: job.Name, Field: "name", Err: errors.New("configured twice; merge the two entries")})
		}
		seen[job.Name] = true
		errs = append(errs, job.validate(c.Registry)...)
	}
	if len(errs) == 0 {
		// A text may have ticks in one zone and none in another.
		for _, d := range c.declarations() {
			if err := jobs.CheckSchedule(d.Definition.Name, d.Schedule, d.TimeZone); err != nil {
				errs = append(errs, &ConfigError{Job: d.Definition.Name, Field: "schedule", Err: err})
			}
		}
	}
	return errors.Join(errs...)
}

func (j JobConfig) validate(registry *jobs.Registry) []error {
	var errs []error
	refuse := func(field string, err error) {
		if err != nil {
			errs = append(errs, &ConfigError{Job: j.Name, Field: field, Err: err})
		}
	}
	job, err := registry.Get(j.Name)
	if err != nil {
		refuse("name", err)
		return errs
	}
	definition := job.Definition()
	if j.Schedule != "" {
		refuse("schedule", jobs.CheckSchedule(j.Name, j.Schedule, ""))
	}
	if j.TimeZone != "" {
		_, err := cron.LoadLocation(j.TimeZone)
		refuse("timezone", err)
	}
	for _, name := range slices.Sorted(maps.Keys(j.Parameters)) {
		_, err := jobs.Resolve(definition, map[string]any{name: j.Parameters[name]})
		refuse("parameters."+name, err)
	}
	refuse("overlap", jobs.Overlap(j.Overlap).Check())
	refuse("catch_up", jobs.CatchUp(j.CatchUp).Check())
	refuse("catch_up_limit", jobs.CheckCatchUpLimit(j.CatchUpLimit))
	if j.CatchUpMaxAge < 0 {
		refuse("catch_up_max_age", fmt.Errorf("is %v, must be positive", j.CatchUpMaxAge))
	}
	if j.Timeout < 0 {
		refuse("timeout", fmt.Errorf("is %v, must be positive", j.Timeout))
	}
	if j.DryRunFor < 0 {
		refuse("dry_run_for", fmt.Errorf("is %v, must not be negative", j.DryRunFor))
	}
	if j.MaxAttempts < 0 || j.MaxAttempts > 32767 {
		refuse("max_attempts", fmt.Errorf("is %d, must be between 1 and 32767", j.MaxAttempts))
	}
	return errs
}

// declarations are all registered jobs as this config has them.
func (c Config) declarations() []periodic.Declaration {
	configured := make(map[string]JobConfig, len(c.Jobs))
	for _, job := range c.Jobs {
		configured[job.Name] = job
	}
	var declarations []periodic.Declaration
	for _, job := range c.Registry.List() {
		definition := job.Definition()
		declarations = append(declarations, c.declare(definition, configured[definition.Name]))
	}
	return declarations
}

func (c Config) declare(definition jobs.Definition, job JobConfig) periodic.Declaration {
	return periodic.Declaration{
		Definition:    definition,
		Schedule:      cmp.Or(job.Schedule, definition.Schedule),
		TimeZone:      cmp.Or(job.TimeZone, definition.TimeZone, c.TimeZone),
		Enabled:       orElse(job.Enabled, !definition.DisabledByDefault),
		Overlap:       cmp.Or(jobs.Overlap(job.Overlap), definition.Overlap, jobs.OverlapSkip),
		CatchUp:       cmp.Or(jobs.CatchUp(job.CatchUp), definition.CatchUp, jobs.CatchUpLatest),
		CatchUpLimit:  cmp.Or(job.CatchUpLimit, definition.CatchUpLimit, jobs.CatchUpLimitDefault),
		CatchUpMaxAge: cmp.Or(job.CatchUpMaxAge, definition.CatchUpMaxAge),
		Timeout:       cmp.Or(job.Timeout, definition.Timeout, jobs.TimeoutDefault),
		MaxAttempts:   cmp.Or(job.MaxAttempts, definition.MaxAttempts, jobs.MaxAttemptsDefault),
		DryRun:        orElse(job.DryRun, c.DryRun),
		DryRunFor:     job.DryRunFor,
		Parameters:    job.Parameters,
	}
}

func orElse[T any](value *T, otherwise T) T {
	if value == nil {
		return otherwise
	}
	return *value
}
