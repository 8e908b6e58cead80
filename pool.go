package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/scheduler/internal/connection"
	"github.com/systempromptio/scheduler/river/leader"
	"github.com/systempromptio/scheduler/river/worker"
	"github.com/systempromptio/scheduler/sql"
)

// workPool is the pool on which jobs run.
type workPool struct {
	*pgxpool.Pool

	// shared: it is the application's.
	shared bool
	// pollOnly: it leads through a pooler that does not carry LISTEN.
	pollOnly bool
	// settingsRefused: see worker.Config.
	settingsRefused bool
}

// close closes a pool of ours.
func (p workPool) close() {
	if !p.shared {
		p.Close()
	}
}

// open checks the database and opens the pool. If the database goes away meanwhile, it
// begins again.
func (s *Scheduler) open(ctx context.Context, watch *worker.Watch) (pool workPool, err error) {
	var backoff connection.Backoff
	for {
		err := s.prepare(ctx, s.leaderSource())
		if err == nil {
			pool, err = s.openPool(ctx, watch)
		}
		if err == nil || ctx.Err() != nil || !connection.IsAway(err) {
			return pool, err
		}
		s.config.Logger.WarnContext(ctx, "the database went away while it was checked; beginning again", slog.Any("error", err))
		backoff.Wait(ctx)
	}
}

// source is how to connect to where the jobs run, now and whenever a connection is lost.
func (s *Scheduler) source() connection.Source { return s.config.source() }

func (c Config) source() connection.Source {
	source := connection.Source{URL: c.DatabaseURL, BeforeConnectFunc: c.BeforeConnectFunc}
	if c.Pool != nil {
		source.Base = c.Pool.Config()
	}
	return source
}

// leaderSource is how the lock session connects.
func (s *Scheduler) leaderSource() connection.Source {
	if s.config.LeaderDatabaseURL == "" {
		return s.source()
	}
	return connection.Source{URL: s.config.LeaderDatabaseURL, BeforeConnectFunc: s.config.BeforeConnectFunc}
}

// openPool opens the pool in which jobs run, or takes the application's.
func (s *Scheduler) openPool(ctx context.Context, watch *worker.Watch) (pool workPool, err error) {
	pool.shared, pool.Pool = s.config.Pool != nil, s.config.Pool
	source := s.source()
	if s.config.LeaderDatabaseURL != "" {
		if pool.pollOnly, err = s.checkPooler(ctx, source, s.leaderSource()); err != nil {
			return workPool{}, err
		}
	}
	if pool.pollOnly {
		s.config.Logger.InfoContext(ctx, "database_url leads through a pooler in transaction mode: looking for work instead of listening for it")
	}
	if pool.shared {
		pool.settingsRefused, err = s.trySettings(ctx, pool.Pool)
		return pool, err
	}
	config, err := source.PoolConfig()
	if err != nil {
		return workPool{}, fmt.Errorf("database_url: %w", err)
	}
	config.MaxConns = int32(s.config.MaxWorkers) + poolReserve
	config.MaxConnIdleTime = poolIdleTime
	config.AfterRelease = connection.IsWritable
	config.ConnConfig.RuntimeParams["application_name"] = "scheduler worker " + s.config.ReplicaID
	if pool.pollOnly {
		// Named prepared statements do not survive the change of a server.
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	} else {
		config.AfterConnect = s.configureWorker
	}
	config.ConnConfig.Tracer = watch
	if pool.Pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return workPool{}, fmt.Errorf("open the pool: %w", err)
	}
	return pool, nil
}

// trySettings finds out whether the server takes the settings that go with each
// transaction on the application's pool.
func (s *Scheduler) trySettings(ctx context.Context, pool *pgxpool.Pool) (refused bool, err error) {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return false, fmt.Errorf("take a connection of the pool: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	err = s.statements.TryTransactionSettings(ctx, tx)
	if err == nil || connection.IsAway(err) || ctx.Err() != nil {
		return false, err
	}
	s.config.Logger.WarnContext(ctx, "the server refuses what would make it end the transactions of a replica that is cut off at once", slog.Any("error", err))
	return true, nil
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

const (
	// poolReserve is what River and progress reports need beside the runs.
	poolReserve = 4

	// poolIdleTime closes what a burst of runs has opened.
	poolIdleTime = 30 * time.Second
)

// connectOwn makes the function that opens connections for jobs that work outside
// transactions: sessions of their own, and so by the way that the leader takes.
func (s *Scheduler) connectOwn(source connection.Source) func(ctx context.Context) (*pgx.Conn, error) {
	return func(ctx context.Context) (*pgx.Conn, error) {
		config, err := source.Config(ctx)
		if err != nil {
			return nil, err
		}
		config.RuntimeParams["application_name"] = "scheduler job " + s.config.ReplicaID
		conn, err := connect(ctx, config)
		if err != nil {
			return nil, err
		}
		if err := s.configureWorker(ctx, conn); err != nil {
			closeConn(ctx, conn)
			return nil, err
		}
		return conn, nil
	}
}
