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

	// Pool, if not nil, is the application's own pool, and stands for DatabaseURL: runs and
	// River work on its connections, at most MaxWorkers and 4 at once, and it must have
	// room for them. What is set up on its connections holds for the jobs. The lock session
	// and the listener are connections of their own, made as the pool makes its: by its
	// configuration and its BeforeConnect, but without the hooks that come later. The pool
	// is left open; when the lock session was lost, its connections are replaced
	// (pgxpool.Pool.Reset), since they may lead to a server that is not the primary any more.
	Pool *pgxpool.Pool

	// LeaderDatabaseURL is how the lock session connects, if DatabaseURL or Pool leads
	// through a pooler in transaction mode: a direct connection to the same
	// database. Empty means DatabaseURL, or as Pool does.
	LeaderDatabaseURL string

	// BeforeConnectFunc is called before each connection is made, the first ones and
	// those after a loss, and may change its settings: a password that was issued a
	// moment ago, say. Whatever the connection string refers to, such as a password
	// file, is read anew by then. It is called by several goroutines at once, and has
	// ten seconds. An error is a connection that failed: it is tried again. Of a Pool, it
	// is only asked for the connections that are not the pool's. Nil changes nothing.
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
	// scheduled with its own defaults, unless OnlyListedJobs is set.
	Jobs []JobConfig

	// OnlyListedJobs schedules none of the registered jobs but those that Jobs lists. The
	// others are registered and disabled. That holds for cleanup_job_runs, too, which
	// bounds the ledger. The zero value schedules what is registered.
	OnlyListedJobs bool

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
	// worker.MaxWorkersDefault or, if that is less, as many as Pool has room for.
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

	// App is what the program provides for its jobs: one value, or several with
	// jobs.Provide. What an enabled job lists in its Needs must be among it. Optional.
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
	Overlap jobs.Overlap
	// CatchUp names what happens to ticks that were missed.
	CatchUp jobs.CatchUp
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

// ConfigError is one thing that [New] refuses, or that a job's check has found before
// the start. errors.As finds each of several
// through [ConfigErrors].
type ConfigError struct {
	// Job is the job's name, empty if the field is not a job's.
	Job string
	// Field is the field's name as in the configuration file, such as "schedule" or
	// "parameters.inactive_hours".
	Field string
	// Position is the character of the field's text at which it is wrong, from 1. Zero
	// means the whole.
	Position int
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
	c.Registry = c.Registry.Clone()
	if c.TimeZone == "" {
		c.TimeZone = TimeZoneDefault
	}
	if c.BootstrapJobs == nil {
		listed := slices.ContainsFunc(c.Jobs, func(j JobConfig) bool { return j.Name == bootstrapJobDefault })
		if _, err := c.Registry.Get(bootstrapJobDefault); err == nil && (listed || !c.OnlyListedJobs) {
			c.BootstrapJobs = []string{bootstrapJobDefault}
		}
	}
	if c.MaxWorkers == 0 {
		c.MaxWorkers = worker.MaxWorkersDefault
		if c.Pool != nil {
			c.MaxWorkers = max(1, min(c.MaxWorkers, int(c.Pool.Config().MaxConns)-poolReserve))
		}
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
	c.BootstrapJobs = slices.Clone(c.BootstrapJobs)
	c.Jobs = slices.Clone(c.Jobs)
	for i := range c.Jobs {
		c.Jobs[i] = c.Jobs[i].clone()
	}
	return c
}

// clone shares nothing with j that somebody could change.
func (j JobConfig) clone() JobConfig {
	clonePointer := func(b *bool) *bool {
		if b == nil {
			return nil
		}
		return new(*b)
	}
	j.Enabled, j.DryRun = clonePointer(j.Enabled), clonePointer(j.DryRun)
	j.Parameters = maps.Clone(j.Parameters)
	for name, value := range j.Parameters {
		switch list := value.(type) {
		case []string:
			j.Parameters[name] = slices.Clone(list)
		case []any:
			j.Parameters[name] = slices.Clone(list)
		}
	}
	return j
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

// declarations are all registered jobs as this config has them.
func (c Config) declarations() []periodic.Declaration {
	configured := make(map[string]JobConfig, len(c.Jobs))
	for _, job := range c.Jobs {
		configured[job.Name] = job
	}
	var declarations []periodic.Declaration
	for _, job := range c.Registry.List() {
		definition := job.Definition()
		config, listed := configured[definition.Name]
		declaration := c.declare(definition, config)
		declaration.Enabled = declaration.Enabled && (listed || !c.OnlyListedJobs)
		declarations = append(declarations, declaration)
	}
	return declarations
}

// RegisteredJob is a job of the registry as a configuration has it: what this program
// would declare if it led.
type RegisteredJob struct {
	JobName     string `json:"job_name"`
	Schedule    string `json:"schedule"`
	Timezone    string `json:"timezone"`
	Enabled     bool   `json:"enabled"`
	Description string `json:"description"`
	// Configured: Jobs lists it.
	Configured bool `json:"configured"`
}

// RegisteredJobs lists the jobs of the registry by name, whether the configuration lists
// them or not. It needs no database. The configuration must be one that Validate lets
// pass.
func (c Config) RegisteredJobs() []RegisteredJob {
	c = c.withDefaults()
	list := make([]RegisteredJob, 0, len(c.Registry.List()))
	for _, d := range c.declarations() {
		list = append(list, RegisteredJob{
			JobName: d.Definition.Name, Schedule: d.Schedule, Timezone: d.TimeZone, Enabled: d.Enabled, Description: d.Definition.Description,
			Configured: slices.ContainsFunc(c.Jobs, func(j JobConfig) bool { return j.Name == d.Definition.Name }),
		})
	}
	return list
}

func (c Config) declare(definition jobs.Definition, job JobConfig) periodic.Declaration {
	return periodic.Declaration{
		Definition:    definition,
		Schedule:      cmp.Or(job.Schedule, definition.Schedule),
		TimeZone:      cmp.Or(job.TimeZone, definition.TimeZone, c.TimeZone),
		Enabled:       orElse(job.Enabled, !definition.DisabledByDefault),
		Overlap:       cmp.Or(job.Overlap, definition.Overlap, jobs.OverlapSkip),
		CatchUp:       cmp.Or(job.CatchUp, definition.CatchUp, jobs.CatchUpLatest),
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
