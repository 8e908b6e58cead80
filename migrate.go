package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/golang-migrate/migrate/v4"
	migratedb "github.com/golang-migrate/migrate/v4/database"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/systempromptio/scheduler/internal/connection"
	"github.com/systempromptio/scheduler/migrations"
	"github.com/systempromptio/scheduler/sql"
)

// MigrateConfig says what to migrate.
type MigrateConfig struct {
	// DatabaseURL is as in [Config]; it must lead to a real session.
	DatabaseURL string

	// Pool, if not nil, stands for DatabaseURL: the migrations connect as it does.
	Pool *pgxpool.Pool
	// BeforeConnectFunc is as in [Config].
	BeforeConnectFunc func(ctx context.Context, config *pgx.ConnConfig) error
	// Schema is as in [Config].
	Schema string
	// Logger is told what is done. Nil means slog.Default().
	Logger *slog.Logger
}

// MigrationStatus says in which version a schema is and which one this build
// works with.
type MigrationStatus struct {
	Schema string `json:"schema"`
	// Exists: the schema is there, perhaps empty.
	Exists bool `json:"exists"`
	// Version is that of our migrations; 0 if none ran.
	Version int64 `json:"version"`
	// Wanted is the newest version that this build has.
	Wanted int64 `json:"wanted"`
	// Dirty: a migration was begun and not finished.
	Dirty bool `json:"dirty"`
	// OldestCompatible is the oldest build, by its newest version, that works with
	// the schema as it is.
	OldestCompatible int64 `json:"oldest_compatible"`
	RiverVersion     int   `json:"river_version"`
	RiverWanted      int   `json:"river_wanted"`
}

// UpToDate says whether there is nothing to migrate.
func (s MigrationStatus) UpToDate() bool {
	return s.Version >= s.Wanted && s.RiverVersion >= s.RiverWanted && !s.Dirty
}

// Check says whether this build works with the schema. The errors wrap
// [ErrSchema].
func (s MigrationStatus) Check() error {
	const fix = `run "scheduler migrate up", or start with --migrate`
	switch {
	case s.Version == 0:
		return fmt.Errorf("schema %q: %w: it has not been set up; %s", s.Schema, ErrSchema, fix)
	case s.Dirty:
		return fmt.Errorf("schema %q: %w: migration %d was not finished; %s", s.Schema, ErrSchema, s.Version, fix)
	case s.Version < s.Wanted:
		return fmt.Errorf("schema %q: %w: it has version %d, this build needs %d; %s", s.Schema, ErrSchema, s.Version, s.Wanted, fix)
	case s.RiverVersion < s.RiverWanted:
		return fmt.Errorf("schema %q: %w: River's tables have version %d, this build needs %d; %s", s.Schema, ErrSchema, s.RiverVersion, s.RiverWanted, fix)
	case s.OldestCompatible > s.Wanted:
		return fmt.Errorf("schema %q: %w: it has version %d, which works with builds of version %d and later, this one has %d; use a newer build", s.Schema, ErrSchema, s.Version, s.OldestCompatible, s.Wanted)
	}
	return nil
}

// MigrateUp brings River's tables and ours to the versions of this build, making
// the schema if it is not there. Two that migrate at once do it once. It does not
// touch a schema that is newer.
func MigrateUp(ctx context.Context, config MigrateConfig) (MigrationStatus, error) {
	return withMigrator(ctx, config, func(m *migrator) error {
		status, err := readStatus(ctx, m.conn, m.statements)
		if err != nil {
			return err
		}
		if status.UpToDate() {
			return nil
		}
		if err := m.checkMayMigrate(ctx, status); err != nil {
			return err
		}
		if !status.Exists {
			if _, err := m.conn.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+pgx.Identifier{m.statements.Schema()}.Sanitize()); err != nil {
				return fmt.Errorf("create schema %q (the role needs CREATE on the database, or somebody creates the schema for it): %w", m.statements.Schema(), err)
			}
		}
		if err := m.river(ctx, rivermigrate.DirectionUp, &rivermigrate.MigrateOpts{TargetVersion: status.RiverWanted}); err != nil {
			return err
		}
		if err := m.ours(ctx, func(ours *migrate.Migrate) error { return ours.Up() }); err != nil {
			return err
		}
		return m.regrant(ctx)
	})
}

// MigrateDown takes the newest steps of our migrations back; 0 takes back all of
// them, River's tables and, if nothing else is in it, the schema. That loses the
// ledger.
func MigrateDown(ctx context.Context, config MigrateConfig, steps int) (MigrationStatus, error) {
	if steps < 0 {
		return MigrationStatus{}, fmt.Errorf("steps is %d, must not be negative", steps)
	}
	return withMigrator(ctx, config, func(m *migrator) error {
		replicas, err := m.replicas(ctx)
		if err != nil {
			return err
		}
		if len(replicas) > 0 {
			return fmt.Errorf("schema %q: %d replicas are running, such as %s: stop them first", m.statements.Schema(), len(replicas), replicas[0])
		}
		err = m.ours(ctx, func(ours *migrate.Migrate) error {
			if steps == 0 {
				return ours.Down()
			}
			return ours.Steps(-steps)
		})
		if err != nil || steps > 0 {
			return err
		}
		if err := m.river(ctx, rivermigrate.DirectionDown, &rivermigrate.MigrateOpts{TargetVersion: -1}); err != nil {
			return err
		}
		schema := pgx.Identifier{m.statements.Schema()}
		if _, err := m.conn.Exec(ctx, "DROP TABLE IF EXISTS "+append(schema, migrationsTable).Sanitize()); err != nil {
			return fmt.Errorf("drop the table of migrations: %w", err)
		}
		if _, err := m.conn.Exec(ctx, "DROP SCHEMA "+schema.Sanitize()); err != nil {
			m.config.Logger.WarnContext(ctx, "the schema was not dropped", slog.Any("error", err))
		}
		return nil
	})
}

// MigrateStatus reads in which version the schema is. It changes nothing.
func MigrateStatus(ctx context.Context, config MigrateConfig) (MigrationStatus, error) {
	m, err := newMigrator(ctx, config)
	if err != nil {
		return MigrationStatus{}, err
	}
	defer closeConn(ctx, m.conn)
	return readStatus(ctx, m.conn, m.statements)
}

const (
	migrationsTable       = "schema_migrations"
	migrationLockInterval = 100 * time.Millisecond
)

type migrator struct {
	config     MigrateConfig
	statements *sql.Statements
	connConfig *pgx.ConnConfig
	// conn holds the migration lock.
	conn *pgx.Conn
}

func (c MigrateConfig) source() connection.Source {
	return Config{DatabaseURL: c.DatabaseURL, Pool: c.Pool, BeforeConnectFunc: c.BeforeConnectFunc}.source()
}

func newMigrator(ctx context.Context, config MigrateConfig) (*migrator, error) {
	if config.Schema == "" {
		config.Schema = SchemaDefault
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if err := sql.CheckSchema(config.Schema); err != nil {
		return nil, err
	}
	connConfig, err := config.source().Config(ctx)
	if err != nil {
		return nil, fmt.Errorf("database_url: %w", err)
	}
	conn, err := connect(ctx, connConfig)
	if err != nil {
		return nil, err
	}
	return &migrator{config: config, statements: sql.For(config.Schema), connConfig: connConfig, conn: conn}, nil
}

// withMigrator runs fn under the migration lock and reads the status after it.
func withMigrator(ctx context.Context, config MigrateConfig, fn func(m *migrator) error) (MigrationStatus, error) {
	m, err := newMigrator(ctx, config)
	if err != nil {
		return MigrationStatus{}, err
	}
	defer closeConn(ctx, m.conn)
	state, err := m.statements.DatabaseState(ctx, m.conn)
	if err != nil {
		return MigrationStatus{}, err
	}
	if err := checkServer(m.connConfig, state); err != nil {
		return MigrationStatus{}, err
	}
	if err := m.lock(ctx); err != nil {
		return MigrationStatus{}, err
	}
	if err := fn(m); err != nil {
		return MigrationStatus{}, err
	}
	return readStatus(ctx, m.conn, m.statements)
}

func (m *migrator) lock(ctx context.Context) error {
	for said := false; ; said = true {
		locked, err := m.statements.TryMigrationLock(ctx, m.conn)
		if err != nil || locked {
			return err
		}
		if !said {
			m.config.Logger.InfoContext(ctx, "another process migrates the schema; waiting for it", slog.String("schema", m.config.Schema))
		}
		timer := time.NewTimer(migrationLockInterval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// replicas lists who runs on the schema.
func (m *migrator) replicas(ctx context.Context) ([]string, error) {
	status, err := readStatus(ctx, m.conn, m.statements)
	if err != nil || status.Version < status.Wanted {
		return nil, err
	}
	rows, err := m.statements.ListReplicas(ctx, m.conn)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(rows))
	for _, row := range rows {
		if row.ReplicaID != nil {
			names = append(names, *row.ReplicaID)
		}
	}
	return names, nil
}

// river runs River's own migrations, each in a transaction of its own: all in one
// fails, because version 4 uses an enum value that it adds.
func (m *migrator) river(ctx context.Context, direction rivermigrate.Direction, opts *rivermigrate.MigrateOpts) error {
	poolConfig, err := m.config.source().PoolConfig()
	if err != nil {
		return fmt.Errorf("database_url: %w", err)
	}
	poolConfig.MaxConns = 2
	pool, err := pgxpool.NewWithConfig(ctx, poolConfig)
	if err != nil {
		return fmt.Errorf("open a pool for River's migrations: %w", err)
	}
	defer pool.Close()
	quiet := slog.New(slog.DiscardHandler)
	river, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: m.config.Schema, Logger: quiet})
	if err != nil {
		return fmt.Errorf("River's migrations: %w", err)
	}
	result, err := river.Migrate(ctx, direction, opts)
	if err != nil {
		return fmt.Errorf("River's migrations in schema %q: %w", m.config.Schema, err)
	}
	for _, version := range result.Versions {
		m.config.Logger.InfoContext(ctx, "migrated River's tables", slog.String("direction", string(direction)), slog.Int("version", version.Version))
	}
	return nil
}

// ours runs our migrations on a connection whose search_path is the schema.
func (m *migrator) ours(ctx context.Context, run func(*migrate.Migrate) error) (err error) {
	db := stdlib.OpenDB(*m.connConfig, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		return m.statements.SetSettings(ctx, conn, sql.Setting{Name: "search_path", Value: pgx.Identifier{m.config.Schema}.Sanitize() + ", pg_temp"})
	}))
	database, err := migratepgx.WithInstance(db, &migratepgx.Config{MigrationsTable: migrationsTable, SchemaName: m.config.Schema})
	if err != nil {
		return errors.Join(fmt.Errorf("prepare the migrations of schema %q: %w", m.config.Schema, err), db.Close())
	}
	source, err := iofs.New(migrations.FS, ".")
	if err != nil {
		return errors.Join(fmt.Errorf("read the migrations: %w", err), database.Close())
	}
	ours, err := migrate.NewWithInstance("embedded", source, m.connConfig.Database, database)
	if err != nil {
		return errors.Join(fmt.Errorf("prepare the migrations: %w", err), source.Close(), database.Close())
	}
	defer func() {
		sourceErr, databaseErr := ours.Close()
		err = errors.Join(err, sourceErr, databaseErr)
	}()
	ours.Log = migrateLog{ctx: ctx, logger: m.config.Logger}
	stop := context.AfterFunc(ctx, func() { ours.GracefulStop <- true })
	defer stop()
	if err := m.mend(ctx, ours); err != nil {
		return err
	}
	if err := run(ours); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return fmt.Errorf("migrate schema %q: %w", m.config.Schema, err)
	}
	return nil
}

// mend puts right what golang-migrate's table says after a crash: it is written
// before and after each migration, not with it.
func (m *migrator) mend(ctx context.Context, ours *migrate.Migrate) error {
	_, dirty, err := ours.Version()
	if errors.Is(err, migrate.ErrNilVersion) || err == nil && !dirty {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the version of schema %q: %w", m.config.Schema, err)
	}
	version, err := m.statements.MigratedVersion(ctx, m.conn)
	if err != nil {
		return err
	}
	m.config.Logger.WarnContext(ctx, "a migration was interrupted; going on from what was done", slog.Int("version", version))
	if version == 0 {
		version = migratedb.NilVersion
	}
	if err := ours.Force(version); err != nil {
		return fmt.Errorf("mend the version of schema %q: %w", m.config.Schema, err)
	}
	return nil
}

// regrant gives the roles of [RolesScript] what the migrations have added.
func (m *migrator) regrant(ctx context.Context) error {
	roles, err := m.statements.RegrantRoles(ctx, m.conn)
	if err != nil {
		return fmt.Errorf("schema %q is migrated, but not all of its roles have what they need; run the script of \"scheduler roles\": %w", m.config.Schema, err)
	}
	if len(roles) > 0 {
		m.config.Logger.InfoContext(ctx, "gave roles what they need of the schema", slog.Any("roles", roles))
	}
	return nil
}

type migrateLog struct {
	ctx    context.Context //nolint:containedctx // golang-migrate's logger takes no context
	logger *slog.Logger
}

func (l migrateLog) Printf(format string, args ...any) {
	l.logger.InfoContext(l.ctx, "migration", slog.String("step", strings.TrimSpace(fmt.Sprintf(format, args...))))
}

func (migrateLog) Verbose() bool { return false }
