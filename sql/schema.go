package sql

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// DatabaseState is what has to be known of a database before it is used.
type DatabaseState struct {
	// InRecovery: the server is a standby and cannot be written to.
	InRecovery bool
	// ReadOnly: transactions of the session are read-only unless they say otherwise.
	ReadOnly bool
	// Database is the database's name.
	Database string
	// ServerVersion is PostgreSQL's server_version_num.
	ServerVersion int
	// SchemaExists: the scheduler's schema exists.
	SchemaExists bool
	// Migrated and RiverMigrated: the tables that record migrations exist.
	Migrated      bool
	RiverMigrated bool
}

// DatabaseState reads what state the database is in.
func (s *Statements) DatabaseState(ctx context.Context, db Querier) (DatabaseState, error) {
	rows, err := db.Query(ctx, s.Text("database_state"), pgx.NamedArgs{"schema": s.schema})
	if err != nil {
		return DatabaseState{}, fmt.Errorf("read the state of the database: %w", err)
	}
	state, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[DatabaseState])
	if err != nil {
		return DatabaseState{}, fmt.Errorf("read the state of the database: %w", err)
	}
	return state, nil
}

// SchemaVersion reads the version of our migrations, and whether one was left
// half done. The table must exist.
func (s *Statements) SchemaVersion(ctx context.Context, db Querier) (version int64, dirty bool, err error) {
	err = db.QueryRow(ctx, s.Text("schema_version")).Scan(&version, &dirty)
	if err != nil {
		return 0, false, fmt.Errorf("read the schema's version: %w", err)
	}
	return version, dirty, nil
}

// MigratedVersion reads the version up to which migrations have really run; 0 if
// none has. Unlike [Statements.SchemaVersion] it is right after a crash.
func (s *Statements) MigratedVersion(ctx context.Context, db Querier) (int, error) {
	var exists bool
	version := 0
	err := db.QueryRow(ctx, s.Text("has_migrated_version"), pgx.NamedArgs{"schema": s.schema}).Scan(&exists)
	if err == nil && exists {
		err = db.QueryRow(ctx, s.Text("migrated_version")).Scan(&version)
	}
	if err != nil {
		return 0, fmt.Errorf("read what has been migrated: %w", err)
	}
	return version, nil
}

// OldestCompatibleVersion reads the oldest version of the migrations whose
// binaries work with this schema.
func (s *Statements) OldestCompatibleVersion(ctx context.Context, db Querier) (int64, error) {
	var version int64
	if err := db.QueryRow(ctx, s.Text("oldest_compatible_version")).Scan(&version); err != nil {
		return 0, fmt.Errorf("read the oldest compatible version: %w", err)
	}
	return version, nil
}

// RiverVersion reads the version of River's migrations. The table must exist.
func (s *Statements) RiverVersion(ctx context.Context, db Querier) (int, error) {
	var version int
	if err := db.QueryRow(ctx, s.Text("river_version")).Scan(&version); err != nil {
		return 0, fmt.Errorf("read the version of River's schema: %w", err)
	}
	return version, nil
}

// TryMigrationLock asks once for the lock under which a schema is migrated. It is
// held until the session ends.
func (s *Statements) TryMigrationLock(ctx context.Context, db Querier) (bool, error) {
	var locked bool
	if err := db.QueryRow(ctx, s.Text("try_migration_lock"), pgx.NamedArgs{"schema": s.schema}).Scan(&locked); err != nil {
		return false, fmt.Errorf("ask for the migration lock: %w", err)
	}
	return locked, nil
}
