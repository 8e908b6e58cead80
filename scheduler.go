package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/systempromptio/scheduler/river/leader"
	"github.com/systempromptio/scheduler/river/periodic"
	"github.com/systempromptio/scheduler/river/worker"
	"github.com/systempromptio/scheduler/sql"
)

// Scheduler is one replica.
type Scheduler struct {
	config     Config
	statements *sql.Statements
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
// left running. A clean end returns nil.
//
// The errors before anything was changed: [ErrStandby], [ErrSchema], [ErrPooled],
// [ErrUnsupportedServer], or the server's refusal (a *pgconn.PgError), such as a
// wrong password.
func (s *Scheduler) Run(ctx context.Context) error {
	start := time.Now()
	leaderURL := s.config.LeaderDatabaseURL
	if leaderURL == "" {
		leaderURL = s.config.DatabaseURL
	}
	leaderConfig, err := pgx.ParseConfig(leaderURL)
	if err != nil {
		return fmt.Errorf("leader_database_url: %w", err)
	}
	if err := s.prepare(ctx, leaderConfig); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	pool, pollOnly, err := s.openPool(ctx, leaderConfig)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer pool.Close()

	ticks, err := periodic.New(periodic.Config{
		Statements: s.statements, Declarations: s.config.declarations(), BootstrapJobs: s.config.BootstrapJobs,
		Disabled: s.config.Disabled, Logger: s.config.Logger,
	})
	if err != nil {
		return err
	}
	elector, err := leader.New(leader.Config{
		ConnConfig: leaderConfig, Statements: s.statements, ReplicaID: s.config.ReplicaID, RehearseFunc: ticks.Rehearse, Logger: s.config.Logger,
	})
	if err != nil {
		return err
	}
	work, err := worker.New(worker.Config{
		Pool: pool, Statements: s.statements, Registry: s.config.Registry, ReplicaID: s.config.ReplicaID,
		Presence: elector.Presence(), MaxWorkers: s.config.MaxWorkers, ShutdownTimeout: s.config.ShutdownTimeout,
		PollOnly: pollOnly, App: s.config.App, Logger: s.config.Logger,
	})
	if err != nil {
		return err
	}
	s.config.Logger.InfoContext(ctx, "ready", slog.String("replica", s.config.ReplicaID), slog.String("schema", s.config.Schema),
		slog.Int("jobs", len(s.config.Registry.List())), slog.Duration("after", time.Since(start)))
	return s.run(ctx, elector, ticks, work)
}

// run joins what a replica consists of. Leaving has an order: leadership first,
// and the presence lock last, since losing it hands the runs to others.
func (s *Scheduler) run(ctx context.Context, elector *leader.Elector, ticks *periodic.Service, work *worker.Service) error {
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
		if err := elector.HoldPresence(presenceCtx); err != nil && presenceCtx.Err() == nil {
			s.config.Logger.WarnContext(ctx, "the presence lock is lost while leaving; runs are given to others", slog.Any("error", err))
		}
		return nil
	})
	return group.Wait()
}

// openPool opens the pool in which jobs run, and says whether it leads through a
// pooler that does not carry LISTEN.
func (s *Scheduler) openPool(ctx context.Context, leaderConfig *pgx.ConnConfig) (pool *pgxpool.Pool, pollOnly bool, err error) {
	config, err := pgxpool.ParseConfig(s.config.DatabaseURL)
	if err != nil {
		return nil, false, fmt.Errorf("database_url: %w", err)
	}
	config.MaxConns = int32(s.config.MaxWorkers) + poolReserve
	config.MaxConnIdleTime = poolIdleTime
	config.ConnConfig.RuntimeParams["application_name"] = "scheduler worker " + s.config.ReplicaID
	if s.config.LeaderDatabaseURL != "" {
		// Through a pooler, another client's prepared statement may be in the way.
		plain := config.ConnConfig.Copy()
		plain.DefaultQueryExecMode = pgx.QueryExecModeExec
		conn, err := s.waitForDatabase(ctx, plain)
		if err != nil {
			return nil, false, err
		}
		defer closeConn(ctx, conn)
		if err := s.checkSameDatabase(ctx, leaderConfig, conn); err != nil {
			return nil, false, err
		}
		err = leader.CheckSession(ctx, config.ConnConfig, s.statements)
		if err != nil && !errors.Is(err, leader.ErrPooled) {
			return nil, false, err
		}
		if pollOnly = err != nil; pollOnly {
			// Named prepared statements do not survive the change of a server.
			config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
			s.config.Logger.InfoContext(ctx, "database_url leads through a pooler in transaction mode: looking for work instead of listening for it")
		}
	}
	pool, err = pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, false, fmt.Errorf("open the pool: %w", err)
	}
	return pool, pollOnly, nil
}

const (
	// poolReserve is what River and progress reports need beside the runs.
	poolReserve = 4

	// poolIdleTime closes what a burst of runs has opened.
	poolIdleTime = 30 * time.Second
)
