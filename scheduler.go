package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/systempromptio/scheduler/internal/connection"
	"github.com/systempromptio/scheduler/internal/tracing"
	"github.com/systempromptio/scheduler/river/leader"
	"github.com/systempromptio/scheduler/river/periodic"
	"github.com/systempromptio/scheduler/river/worker"
	"github.com/systempromptio/scheduler/sql"
)

// ErrRunsLeft: the replica has ended, and had to leave runs unfinished. Others go on
// with them, or it does at its next start.
var ErrRunsLeft = worker.ErrLeft

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
// left running. A clean end returns nil; where runs had to be handed to others, the
// error is [ErrRunsLeft].
//
// The errors before anything was changed: [ErrStandby], [ErrSchema], [ErrPrivilege],
// [ErrPooled], [ErrUnsupportedServer], or the server's refusal (a *pgconn.PgError), such as a
// wrong password; and a [*ConfigError] if Config.Metrics has another replica's metrics.
func (s *Scheduler) Run(ctx context.Context) error {
	start := time.Now()
	m, err := s.registerMetrics()
	if err != nil {
		return err
	}
	defer m.Close()
	leaderSource := s.source(cmp.Or(s.config.LeaderDatabaseURL, s.config.DatabaseURL))
	watch := worker.NewWatch(s.config.Logger, m)
	pool, pollOnly, err := s.open(ctx, leaderSource, watch)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer pool.Close()

	tracer := tracing.New(s.config.TracerProvider, s.config.ReplicaID, s.config.Schema)
	ticks, err := periodic.New(periodic.Config{
		Statements: s.statements, Declarations: s.config.declarations(), BootstrapJobs: s.config.BootstrapJobs,
		Disabled: s.config.Disabled, Tracer: tracer, Metrics: m, Logger: s.config.Logger,
	})
	if err != nil {
		return err
	}
	elector, err := leader.New(leader.Config{
		Source: leaderSource, Statements: s.statements, ReplicaID: s.config.ReplicaID, RehearseFunc: ticks.Rehearse,
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
		Pool: pool, Statements: s.statements, Registry: s.config.Registry, ReplicaID: s.config.ReplicaID,
		Presence: elector.Presence(), Watch: watch, MaxWorkers: s.config.MaxWorkers, ShutdownTimeout: s.config.ShutdownTimeout,
		PollOnly: pollOnly, LogLines: s.config.LogLines, App: s.config.App, Tracer: tracer, Metrics: m, Logger: s.config.Logger,
	})
	if err != nil {
		return err
	}
	s.config.Logger.InfoContext(ctx, "ready", slog.String("replica", s.config.ReplicaID), slog.String("schema", s.config.Schema),
		slog.Int("jobs", len(s.config.Registry.List())), slog.Duration("after", time.Since(start)))
	return s.run(ctx, elector, ticks, work, &sampler{pool: pool, statements: s.statements, metrics: m, logger: s.config.Logger})
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

// open checks the database and opens the pool. If the database goes away meanwhile, it
// begins again.
func (s *Scheduler) open(ctx context.Context, leaderSource connection.Source, watch *worker.Watch) (pool *pgxpool.Pool, pollOnly bool, err error) {
	var backoff connection.Backoff
	for {
		err := s.prepare(ctx, leaderSource)
		if err == nil {
			pool, pollOnly, err = s.openPool(ctx, leaderSource, watch)
		}
		if err == nil || ctx.Err() != nil || !connection.IsAway(err) {
			return pool, pollOnly, err
		}
		s.config.Logger.WarnContext(ctx, "the database went away while it was checked; beginning again", slog.Any("error", err))
		backoff.Wait(ctx)
	}
}

// source is how to connect by a connection string, now and whenever a connection is
// lost.
func (s *Scheduler) source(url string) connection.Source {
	return connection.Source{URL: url, BeforeConnectFunc: s.config.BeforeConnectFunc}
}

// openPool opens the pool in which jobs run, and says whether it leads through a
// pooler that does not carry LISTEN.
func (s *Scheduler) openPool(ctx context.Context, leaderSource connection.Source, watch *worker.Watch) (pool *pgxpool.Pool, pollOnly bool, err error) {
	source := s.source(s.config.DatabaseURL)
	config, err := pgxpool.ParseConfig(source.URL)
	if err != nil {
		return nil, false, fmt.Errorf("database_url: %w", err)
	}
	config.MaxConns = int32(s.config.MaxWorkers) + poolReserve
	config.MaxConnIdleTime = poolIdleTime
	config.BeforeConnect = source.Refresh
	config.AfterRelease = isWritable
	config.ConnConfig.RuntimeParams["application_name"] = "scheduler worker " + s.config.ReplicaID
	if s.config.LeaderDatabaseURL != "" {
		pollOnly, err = s.checkPooler(ctx, source, leaderSource)
		if err != nil {
			return nil, false, err
		}
	}
	if pollOnly {
		// Named prepared statements do not survive the change of a server.
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		s.config.Logger.InfoContext(ctx, "database_url leads through a pooler in transaction mode: looking for work instead of listening for it")
	} else {
		config.AfterConnect = s.configureWorker
	}
	config.ConnConfig.Tracer = watch
	pool, err = pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, false, fmt.Errorf("open the pool: %w", err)
	}
	return pool, pollOnly, nil
}

// checkPooler says whether database_url leads through a pooler in transaction mode,
// and refuses one that leads elsewhere than leader_database_url.
func (s *Scheduler) checkPooler(ctx context.Context, source, leaderSource connection.Source) (pooled bool, err error) {
	conn, config, err := s.waitForDatabase(ctx, source, func(config *pgx.ConnConfig) {
		// Through a pooler, another client's prepared statement may be in the way.
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
	})
	if err != nil {
		return false, err
	}
	defer closeConn(ctx, conn)
	if err := s.checkSameDatabase(ctx, leaderSource, conn); err != nil {
		return false, err
	}
	err = leader.CheckSession(ctx, config, s.statements)
	if err != nil && !errors.Is(err, leader.ErrPooled) {
		return false, err
	}
	return err != nil, nil
}

// configureWorker makes a session of the pool one that the server does not end for
// being idle, and does end when nobody is behind it. Timeouts of statements and locks
// are the role's.
func (s *Scheduler) configureWorker(ctx context.Context, conn *pgx.Conn) error {
	_, err := s.statements.SetSettingsSeparately(ctx, conn,
		sql.Setting{Name: "idle_session_timeout", Value: "0"},
		sql.Setting{Name: "client_connection_check_interval", Value: "1s"},
		sql.Setting{Name: "tcp_keepalives_idle", Value: "2"},
		sql.Setting{Name: "tcp_keepalives_interval", Value: "1"},
		sql.Setting{Name: "tcp_keepalives_count", Value: "3"},
		sql.Setting{Name: "tcp_user_timeout", Value: "4000"},
	)
	return err
}

// isWritable says whether a connection of the pool may be used again. One that was
// made while the database was read-only stays so after the database is not. The
// server reports both parameters by itself.
func isWritable(conn *pgx.Conn) bool {
	return conn.PgConn().ParameterStatus("default_transaction_read_only") != "on" && conn.PgConn().ParameterStatus("in_hot_standby") != "on"
}

const (
	// poolReserve is what River and progress reports need beside the runs.
	poolReserve = 4

	// poolIdleTime closes what a burst of runs has opened.
	poolIdleTime = 30 * time.Second
)
