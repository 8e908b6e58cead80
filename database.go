package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/systempromptio/scheduler/internal/connection"
	"github.com/systempromptio/scheduler/migrations"
	"github.com/systempromptio/scheduler/river/leader"
	"github.com/systempromptio/scheduler/sql"
)

var (
	// ErrStandby: the server is in recovery and cannot be written to.
	ErrStandby = errors.New("the server is a read-only standby")

	// ErrSchema: the scheduler's schema is missing, old, newer than this build knows,
	// or half migrated.
	ErrSchema = errors.New("the schema does not fit")

	// ErrPooled: the lock session would go through a pooler in transaction mode.
	ErrPooled = leader.ErrPooled

	// ErrUnsupportedServer: the server is older than PostgreSQL 14, which lacks
	// idle_session_timeout.
	ErrUnsupportedServer = errors.New("the server is too old")
)

const (
	serverVersionMin = 140000

	// sayEvery is how often a wait for the database is mentioned in the log.
	sayEvery = 30 * time.Second
)

// prepare waits for the database and refuses one that will not do, before
// anything is changed.
func (s *Scheduler) prepare(ctx context.Context, source connection.Source) error {
	conn, config, err := s.waitForDatabase(ctx, source, func(*pgx.ConnConfig) {})
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)

	state, err := s.statements.DatabaseState(ctx, conn)
	if err != nil {
		return explainPrivilege(config.User, err)
	}
	if err := checkServer(config, state); err != nil {
		return err
	}
	if err := leader.CheckSession(ctx, config, s.statements); err != nil {
		if errors.Is(err, leader.ErrPooled) {
			return fmt.Errorf("%s: %w; the leader's lock needs a session of its own: set leader_database_url (SCHEDULER_LEADER_DATABASE_URL) to a direct connection to this database", address(config), err)
		}
		return err
	}
	if !s.config.Migrate {
		if err := checkSchema(ctx, conn, s.statements); err != nil {
			return err
		}
	}
	// Before the schema is migrated: where a job does not fit, nothing has changed.
	if err := s.checkJobs(ctx, conn); err != nil {
		return err
	}
	if s.config.Migrate {
		if _, err := MigrateUp(ctx, s.migrateConfig(config)); err != nil {
			return explainPrivilege(config.User, err)
		}
		if err := checkSchema(ctx, conn, s.statements); err != nil {
			return err
		}
	}
	return checkPrivileges(ctx, conn, s.statements)
}

func (s *Scheduler) migrateConfig(config *pgx.ConnConfig) MigrateConfig {
	c := MigrateConfig{Schema: s.config.Schema, BeforeConnectFunc: s.config.BeforeConnectFunc, Logger: s.config.Logger}
	if s.config.Pool != nil && s.config.LeaderDatabaseURL == "" {
		c.Pool = s.config.Pool
	} else {
		c.DatabaseURL = config.ConnString()
	}
	return c
}

// waitForDatabase connects, for as long as it takes if the server cannot be
// reached or is starting. What it refuses for good is returned at once. change may
// change the settings of the connection, which are returned with it.
func (s *Scheduler) waitForDatabase(ctx context.Context, source connection.Source, change func(*pgx.ConnConfig)) (*pgx.Conn, *pgx.ConnConfig, error) {
	var said time.Time
	var backoff connection.Backoff
	for {
		config, err := source.Config(ctx)
		where := "database_url"
		var conn *pgx.Conn
		if err == nil {
			change(config)
			where = address(config)
			conn, err = connect(ctx, config)
		} else if !connection.IsAway(err) {
			err = fmt.Errorf("database_url: %w", err)
		}
		if err == nil {
			if !said.IsZero() {
				s.config.Logger.InfoContext(ctx, "the database is there")
			}
			return conn, config, nil
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if !connection.IsAway(err) {
			return nil, nil, err
		}
		if said.IsZero() || time.Since(said) > sayEvery {
			said = time.Now()
			s.config.Logger.WarnContext(ctx, "waiting for the database; going on when it is there", slog.String("database", where), slog.Any("error", err))
		}
		backoff.Wait(ctx)
	}
}

func connect(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connection.Timeout(config))
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config.Copy())
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address(config), err)
	}
	return conn, nil
}

// checkSameDatabase refuses a leader_database_url that leads elsewhere: a lock
// taken there must be seen here.
func (s *Scheduler) checkSameDatabase(ctx context.Context, leaderSource connection.Source, conn *pgx.Conn) error {
	leaderConfig, err := leaderSource.Config(ctx)
	if err != nil {
		return fmt.Errorf("leader_database_url: %w", err)
	}
	other, err := connect(ctx, leaderConfig)
	if err != nil {
		return err
	}
	defer closeConn(ctx, other)
	mark := rand.Int32()
	if err := s.statements.TakeMark(ctx, other, mark); err != nil {
		return err
	}
	seen, err := s.statements.SeeMark(ctx, conn, mark)
	if err != nil {
		return err
	}
	if !seen {
		return &ConfigError{Field: "leader_database_url", Err: fmt.Errorf("leads to %s, which is not the database of database_url", address(leaderConfig))}
	}
	return nil
}

func checkServer(config *pgx.ConnConfig, state sql.DatabaseState) error {
	if state.InRecovery {
		return fmt.Errorf("%s: %w: connect to the primary, for example with several hosts and target_session_attrs=read-write", address(config), ErrStandby)
	}
	if state.ServerVersion < serverVersionMin {
		return fmt.Errorf("%s: %w: PostgreSQL %d.%d; 14 is the oldest that works", address(config), ErrUnsupportedServer,
			state.ServerVersion/10000, state.ServerVersion%10000)
	}
	return nil
}

// checkSchema says whether this build works with the schema.
func checkSchema(ctx context.Context, conn *pgx.Conn, statements *sql.Statements) error {
	status, err := readStatus(ctx, conn, statements)
	if err != nil {
		return explainPrivilege(conn.Config().User, err)
	}
	return status.Check()
}

func readStatus(ctx context.Context, conn *pgx.Conn, statements *sql.Statements) (MigrationStatus, error) {
	latest, err := migrations.Latest()
	if err != nil {
		return MigrationStatus{}, err
	}
	riverLatest, err := riverLatestVersion()
	if err != nil {
		return MigrationStatus{}, err
	}
	status := MigrationStatus{Schema: statements.Schema(), Wanted: int64(latest), RiverWanted: riverLatest}
	state, err := statements.DatabaseState(ctx, conn)
	if err != nil {
		return status, err
	}
	status.Exists = state.SchemaExists
	if state.RiverMigrated {
		if status.RiverVersion, err = statements.RiverVersion(ctx, conn); err != nil {
			return status, err
		}
	}
	if !state.Migrated {
		return status, nil
	}
	status.Version, status.Dirty, err = statements.SchemaVersion(ctx, conn)
	if errors.Is(err, pgx.ErrNoRows) {
		return status, nil
	}
	if err != nil || status.Version < status.Wanted || status.Dirty {
		return status, err
	}
	status.OldestCompatible, err = statements.OldestCompatibleVersion(ctx, conn)
	return status, err
}

// riverLatestVersion is the version of River's schema that this build works with.
func riverLatestVersion() (int, error) {
	migrator, err := rivermigrate.New(riverpgxv5.New(nil), nil)
	if err != nil {
		return 0, fmt.Errorf("River's migrations: %w", err)
	}
	latest := 0
	for _, migration := range migrator.AllVersions() {
		latest = max(latest, migration.Version)
	}
	return latest, nil
}

// address is what an error may say of a connection: no password.
func address(config *pgx.ConnConfig) string {
	return fmt.Sprintf("database %q at %s:%d as user %q", config.Database, config.Host, config.Port, config.User)
}

func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	// Only reading was done; the socket is closed in any case.
	_ = conn.Close(ctx)
}
