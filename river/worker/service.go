package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/systempromptio/scheduler/internal/connection"
	"github.com/systempromptio/scheduler/internal/metrics"
	"github.com/systempromptio/scheduler/internal/tracing"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

const (
	// MaxWorkersDefault is the number of runs that a replica works at once.
	MaxWorkersDefault = 10

	// ShutdownTimeoutDefault is how long a leaving replica lets its runs finish.
	ShutdownTimeoutDefault = 30 * time.Second

	// fetchCooldown caps the rate at about MaxWorkers / fetchCooldown. Measured with
	// River 0.51: at 5 ms a job starts 1.5 ms (p50) after its commit; 1 ms brings
	// tails of 9 to 28 ms, River's default of 100 ms a rate of less than half.
	fetchCooldown = 5 * time.Millisecond

	// fetchPollInterval is the fallback for a lost notification. Each poll is a
	// statement that an idle replica costs.
	fetchPollInterval = 2 * time.Second

	// fetchPollIntervalPollOnly is the same where no notification arrives, behind
	// a pooler.
	fetchPollIntervalPollOnly = 500 * time.Millisecond

	// endingAfter is how long after the shutdown timeout the end of an attempt may still
	// be recorded: its last batch is allowed to commit, and a
	// job that does not return is waited for.
	endingAfter = stuckAfter + 2*time.Second
)

// Presence says whether the replica can prove that it is alive.
type Presence interface {
	// Held waits until it can. The context that it returns ends when it cannot any
	// more; the error is that of ctx.
	Held(ctx context.Context) (context.Context, error)
}

// Config configures a [Service].
type Config struct {
	// Pool is where jobs run: the application's database, with the application's
	// search_path. Required. It needs MaxWorkers connections, and some for River.
	Pool *pgxpool.Pool

	// ConnectFunc opens a connection that is a session of its own, also where Pool leads
	// through a pooler: see jobs.Run.Connect. Required.
	ConnectFunc func(ctx context.Context) (*pgx.Conn, error)

	// Statements are the statements for the scheduler's schema. Required.
	Statements *sql.Statements

	// Registry holds the jobs that this replica can work. Required. Jobs added
	// after New are not worked.
	Registry *jobs.Registry

	// ReplicaID identifies this process start, to River as well. Required.
	ReplicaID string

	// Presence is required.
	Presence Presence

	// Watch is the tracer of the pool's connections, unless the pool is shared. Required.
	Watch *Watch

	// SharedPool: the pool is the application's, whose connections have neither Watch nor
	// settings of ours.
	SharedPool bool

	// SettingsRefused: the server refuses the settings that a transaction on a shared
	// pool begins with.
	SettingsRefused bool

	// MaxWorkers is the number of runs worked at once. Zero means
	// [MaxWorkersDefault].
	MaxWorkers int

	// ShutdownTimeout is how long runs may go on after the end of Run's context,
	// before they are cancelled and given to others. Zero means
	// [ShutdownTimeoutDefault].
	ShutdownTimeout time.Duration

	// PollOnly does without LISTEN, which a pooler in transaction mode does not
	// carry. Runs start up to half a second later.
	PollOnly bool

	// LogLines is how many lines of what an attempt logs are kept with the run. Zero
	// and less keep none.
	LogLines int

	// App is handed to the jobs. Optional.
	App any

	// Tracer makes the spans of runs. Nil makes none.
	Tracer *tracing.Tracer

	// Metrics is told of runs. Nil is told nothing.
	Metrics *metrics.Metrics

	// Logger is required.
	Logger *slog.Logger
}

// Service works River jobs of the registered kinds.
type Service struct {
	config Config
	client *river.Client[pgx.Tx]
	// ending ends a few seconds after the shutdown timeout: whatever could not be
	// recorded by then is left to the leader.
	ending context.Context //nolint:containedctx // it is the replica's
	end    context.CancelFunc
	known  known
	// settings is what each transaction begins with, beside BEGIN.
	settings string
	// leaving is set when runs are to be finished; left counts those that were not.
	leaving atomic.Bool
	left    atomic.Int64
	stuck   stuck
}

// ErrLeft: the replica had to leave runs unfinished; others go on with them.
var ErrLeft = errors.New("not every run had finished within the shutdown timeout; what is left is for other replicas, or for the next start")

// New checks the configuration and makes River's client. It does not connect.
func New(config Config) (*Service, error) {
	switch {
	case config.Pool == nil, config.ConnectFunc == nil, config.Statements == nil, config.Registry == nil, config.Presence == nil, config.Watch == nil, config.Logger == nil:
		return nil, errors.New("worker: Pool, ConnectFunc, Statements, Registry, Presence, Watch and Logger are required")
	case config.ReplicaID == "":
		return nil, errors.New("worker: ReplicaID is required")
	case config.MaxWorkers < 0 || config.MaxWorkers > river.QueueNumWorkersMax:
		return nil, fmt.Errorf("worker: MaxWorkers is %d, must be between 1 and %d", config.MaxWorkers, river.QueueNumWorkersMax)
	}
	if config.MaxWorkers == 0 {
		config.MaxWorkers = MaxWorkersDefault
	}
	if config.ShutdownTimeout <= 0 {
		config.ShutdownTimeout = ShutdownTimeoutDefault
	}
	s := &Service{config: config, known: known{ids: make(map[int64]int)}}
	if config.SharedPool {
		s.settings = settingsOf(config)
	}
	s.ending, s.end = context.WithCancel(context.Background()) //nolint:forbidigo // no caller's context lasts that long

	workers := river.NewWorkers()
	for _, job := range config.Registry.List() {
		definition := job.Definition()
		river.AddWorkerArgs(workers, jobs.Args{JobName: definition.Name}, &jobWorker{Service: s, job: job, definition: definition})
	}
	poll := fetchPollInterval
	if config.PollOnly {
		poll = fetchPollIntervalPollOnly
	}
	var err error
	s.client, err = river.NewClient(&driver{Driver: riverpgxv5.New(config.Pool), watch: config.Watch}, &river.Config{
		FetchCooldown:          fetchCooldown,
		FetchOnlyKnownKinds:    true,
		FetchPollInterval:      poll,
		ID:                     config.ReplicaID,
		JobTimeout:             -1,
		LeaderElectionDisabled: true,
		Logger:                 slog.New(riverLog{Handler: config.Logger.Handler(), watch: config.Watch, said: &saidTimes{at: make(map[string]time.Time)}, shared: config.SharedPool}),
		PollOnly:               config.PollOnly,
		Queues:                 map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: config.MaxWorkers}},
		Schema:                 config.Statements.Schema(),
		Workers:                workers,
	})
	if err != nil {
		return nil, fmt.Errorf("worker: River's client: %w", err)
	}
	return s, nil
}

// Run works jobs until ctx ends, then lets running ones finish for the shutdown
// timeout, then stops them, at the end of a batch where they have some, and gives
// them to others: then the error is [ErrLeft]. It returns when none is running any
// more. It can be called once.
func (s *Service) Run(ctx context.Context) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	defer s.end()
	unknownCtx, endUnknown := context.WithCancel(context.WithoutCancel(ctx))
	var unknown sync.WaitGroup
	unknown.Go(func() { s.giveBackUnknown(unknownCtx) })
	if s.config.SharedPool {
		unknown.Go(func() { s.probeShared(unknownCtx) })
	}
	defer unknown.Wait()
	defer endUnknown()
	select {
	case <-ctx.Done():
	case <-s.client.Stopped():
		if ctx.Err() != nil {
			return nil
		}
		return errors.New("River's client has stopped by itself")
	}
	s.leaving.Store(true)
	softCtx, cancelSoft := context.WithTimeout(context.WithoutCancel(ctx), s.config.ShutdownTimeout)
	defer cancelSoft()
	if s.client.Stop(softCtx) == nil {
		return s.leftRuns()
	}
	s.config.Logger.WarnContext(ctx, "runs have not finished within the shutdown timeout; they are stopped and given to other replicas",
		slog.Duration("shutdown_timeout", s.config.ShutdownTimeout))
	stop := time.AfterFunc(endingAfter, s.end)
	defer stop.Stop()
	if err := s.client.StopAndCancel(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("stop River's client: %w", err)
	}
	return s.leftRuns()
}

// leftRuns is the error of a replica that had to leave runs.
func (s *Service) leftRuns() error {
	var err error
	if left := s.left.Load(); left > 0 {
		err = fmt.Errorf("%w (runs: %d)", ErrLeft, left)
	}
	return errors.Join(err, s.stuck.err())
}

// start starts River's client, for as long as it takes if the database is away.
func (s *Service) start(ctx context.Context) error {
	var backoff connection.Backoff
	for {
		err := s.client.Start(context.WithoutCancel(ctx))
		if err == nil || ctx.Err() != nil {
			return nil //nolint:nilerr // there is nothing more to start
		}
		if !connection.IsAway(err) {
			return fmt.Errorf("start River's client: %w", err)
		}
		s.config.Watch.saw(ctx, err)
		backoff.Wait(ctx)
	}
}
