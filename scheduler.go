package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/systempromptio/scheduler/internal/tracing"
	"github.com/systempromptio/scheduler/river/leader"
	"github.com/systempromptio/scheduler/river/periodic"
	"github.com/systempromptio/scheduler/river/worker"
	"github.com/systempromptio/scheduler/sql"
)

// ErrRunsLeft: the replica has ended, and had to leave runs unfinished. Others go on
// with them, or it does at its next start.
var ErrRunsLeft = worker.ErrLeft

// ErrJobStuck: the replica has ended, and a job has not, which ignores the end of its
// context. Its transaction was rolled back; what else it does goes on until the process
// ends.
var ErrJobStuck = worker.ErrStuck

// ErrAlreadyRun: [Scheduler.Run] was called before.
var ErrAlreadyRun = errors.New("the scheduler was run already: it is one replica's life; make another with New")

// Scheduler is one replica.
type Scheduler struct {
	config     Config
	statements *sql.Statements
	// ran: Run was called; isOver: it has returned.
	ran, isOver atomic.Bool
}

// New copies, completes and checks the configuration. It does not connect. The
// error lists everything that is wrong: see [ConfigErrors].
func New(config Config) (*Scheduler, error) {
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	return &Scheduler{config: config, statements: sql.For(config.Schema)}, nil
}

// Config is the configuration in force, with its defaults filled in.
func (s *Scheduler) Config() Config { return s.config.withDefaults() }

// Run is a replica's life. It waits for the database, checks it, takes part in
// the election and works jobs until ctx ends; then it gives leadership away, lets
// its runs finish for the shutdown timeout, and returns when nothing of it is
// left running, and everything that it has taken from a Pool is given back. A clean end
// returns nil; where runs had to be handed to others, the error is [ErrRunsLeft], and where
// a job did not return, [ErrJobStuck]. It can
// be called once, and then is [ErrAlreadyRun].
//
// The errors before anything was changed: [ErrStandby], [ErrSchema], [ErrPrivilege],
// [ErrPooled], [ErrUnsupportedServer], or the server's refusal (a *pgconn.PgError), such as a
// wrong password; a [*ConfigError] for each thing that the jobs' checks have found (see
// jobs.Checker and [ConfigErrors]), or one if Config.Metrics has another replica's
// metrics.
func (s *Scheduler) Run(ctx context.Context) error {
	if s.ran.Swap(true) {
		return ErrAlreadyRun
	}
	defer s.isOver.Store(true)
	start := time.Now()
	m, err := s.registerMetrics()
	if err != nil {
		return err
	}
	defer m.Close()
	watch := worker.NewWatch(s.config.Logger, m)
	pool, err := s.open(ctx, watch)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer pool.close()

	tracer := tracing.New(s.config.TracerProvider, s.config.ReplicaID, s.config.Schema)
	ticks, err := periodic.New(periodic.Config{
		Statements: s.statements, Declarations: s.config.declarations(), BootstrapJobs: s.config.BootstrapJobs,
		Disabled: s.config.Disabled, Tracer: tracer, Metrics: m, Logger: s.config.Logger,
	})
	if err != nil {
		return err
	}
	elector, err := leader.New(leader.Config{
		Source: s.leaderSource(), Statements: s.statements, ReplicaID: s.config.ReplicaID, RehearseFunc: ticks.Rehearse,
		// What else the replica has open may lead to a server that is gone, or is not
		// the primary any more.
		LostFunc: func() {
			pool.Reset()
			watch.Moved()
		},
		Metrics: m, Logger: s.config.Logger,
	})
	if err != nil {
		return err
	}
	work, err := worker.New(worker.Config{
		Pool: pool.Pool, SharedPool: pool.shared, SettingsRefused: pool.settingsRefused, ConnectFunc: s.connectOwn(s.leaderSource()),
		Statements: s.statements, Registry: s.config.Registry, ReplicaID: s.config.ReplicaID,
		Presence: elector.Presence(), Watch: watch, MaxWorkers: s.config.MaxWorkers, ShutdownTimeout: s.config.ShutdownTimeout,
		PollOnly: pool.pollOnly, LogLines: s.config.LogLines, App: s.config.App, Tracer: tracer, Metrics: m, Logger: s.config.Logger,
	})
	if err != nil {
		return err
	}
	s.config.Logger.InfoContext(ctx, "ready", slog.String("replica", s.config.ReplicaID), slog.String("schema", s.config.Schema),
		slog.Int("jobs", len(s.config.Registry.List())), slog.Duration("after", time.Since(start)))
	return s.run(ctx, elector, ticks, work, &sampler{pool: pool.Pool, statements: s.statements, metrics: m, logger: s.config.Logger})
}

// run joins what a replica consists of. Leaving has an order: leadership first,
// and the presence lock last, since losing it hands the runs to others.
func (s *Scheduler) run(ctx context.Context, elector *leader.Elector, ticks *periodic.Service, work *worker.Service, samples *sampler) error {
	group, groupCtx := errgroup.WithContext(ctx)
	workCtx, endWork := context.WithCancel(context.WithoutCancel(ctx))
	defer endWork()
	presenceCtx, endPresence := context.WithCancel(context.WithoutCancel(ctx))
	defer endPresence()

	group.Go(func() error {
		defer endPresence()
		return work.Run(workCtx)
	})
	group.Go(func() error {
		elector.Run(groupCtx, ticks.Lead)
		endWork()
		elector.HoldPresence(presenceCtx)
		return nil
	})
	group.Go(func() error {
		samples.run(presenceCtx)
		return nil
	})
	return group.Wait()
}
