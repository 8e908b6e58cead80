// Package platform holds the tables of the systemprompt platform, as far as the
// scheduler knows them, and rows to fill them with.
//
// The tables belong to the platform: the scheduler's migrations never create,
// alter or drop them. This package is for the development database and for
// tests, which use the same files: schema.sql, seed.sql, topup.sql, older.sql.
// No name in them is qualified, so the search_path of the connection decides the
// schema.
package platform

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var (
	//go:embed schema.sql
	schemaSQL string
	//go:embed seed.sql
	seedSQL string
	//go:embed topup.sql
	topUpSQL string
	//go:embed older.sql
	olderSQL string
)

// Execer is what Create, Seed and Older need. *pgx.Conn, pgx.Tx and
// *pgxpool.Pool have it.
type Execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Queryer is what TopUp needs. *pgx.Conn, pgx.Tx and *pgxpool.Pool have it.
type Queryer interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Create makes the platform's tables: those of every install, newer and older,
// together. It applies all or nothing. A second call fails on the first table
// that exists (SQLSTATE 42P07), and changes nothing.
func Create(ctx context.Context, db Execer) error {
	if _, err := db.Exec(ctx, schemaSQL); err != nil {
		return fmt.Errorf("create the platform's tables: %w", err)
	}
	return nil
}

// Seed fills the empty tables that Create made: about 5,500 rows at scale 1, and
// scale times as many otherwise. It applies all or nothing, and is meant for one
// call: a second fails on a duplicate key (SQLSTATE 23505) and changes nothing.
//
// Ids say what the built-in jobs, run with their defaults, do to a row: gone-...
// is deleted (a session: ended), kept-... stays. See seed.sql.
func Seed(ctx context.Context, db Execer, scale int) error {
	if scale < 1 {
		return fmt.Errorf("seed the platform's tables: scale %d: must be 1 or more", scale)
	}
	// One string, so that the setting and the rows share one transaction even
	// where db is a pool. Without arguments pgx sends it as one simple query.
	sql := "SELECT set_config('platform.scale', '" + strconv.Itoa(scale) + "', true);\n" + seedSQL
	if _, err := db.Exec(ctx, sql); err != nil {
		return fmt.Errorf("seed the platform's tables: %w", err)
	}
	return nil
}

// TopUp adds a small batch of rows worth cleaning for each built-in job that has
// none left, and returns how many rows it added. Called again before anything
// was cleaned, it adds none. It needs the tables as Create makes them, not those
// of an older install.
func TopUp(ctx context.Context, db Queryer) (int64, error) {
	var sessions, contexts, logs int64
	if err := db.QueryRow(ctx, topUpSQL).Scan(&sessions, &contexts, &logs); err != nil {
		return 0, fmt.Errorf("top up the platform's tables: %w", err)
	}
	return sessions + contexts + logs, nil
}

// Older turns what Create made, seeded or not, into the tables of an older
// install: without governance_decisions, oauth_state_bindings,
// oauth_jti_revocations, id_jag_replay, and without user_contexts.kind. It
// applies all or nothing. Call it after Seed: Seed needs all tables.
func Older(ctx context.Context, db Execer) error {
	if _, err := db.Exec(ctx, olderSQL); err != nil {
		return fmt.Errorf("turn the platform's tables into an older install's: %w", err)
	}
	return nil
}
