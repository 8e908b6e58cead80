package devdb

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/sql/platform"
)

// Prepare makes the platform's tables and their first rows where there are none,
// in one transaction. Where the tables exist it changes nothing: it may be called
// at every start.
func (db *DB) Prepare(ctx context.Context) error {
	return db.inPublic(ctx, "prepare", func(tx pgx.Tx) error {
		var exist bool
		if err := tx.QueryRow(ctx, "SELECT to_regclass('public.users') IS NOT NULL").Scan(&exist); err != nil {
			return fmt.Errorf("look for the platform's tables: %w", err)
		}
		if exist {
			return nil
		}
		if err := platform.Create(ctx, tx); err != nil {
			return err
		}
		return platform.Seed(ctx, tx, 1)
	})
}

// Seed adds a small batch of rows worth cleaning for each built-in job that has
// none left, and returns how many rows it added. It may be called at every start,
// after Prepare.
func (db *DB) Seed(ctx context.Context) (added int64, err error) {
	err = db.inPublic(ctx, "seed", func(tx pgx.Tx) error {
		added, err = platform.TopUp(ctx, tx)
		return err
	})
	return added, err
}

// inPublic runs a function in one transaction, on a session of its own, in the
// schema of the platform's tables.
func (db *DB) inPublic(ctx context.Context, what string, do func(pgx.Tx) error) (err error) {
	conn, err := pgx.Connect(ctx, db.URL)
	if err != nil {
		return fmt.Errorf("%s the development database: connect: %w", what, err)
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL search_path = public"); err != nil {
			return err
		}
		return do(tx)
	})
	if err != nil {
		return fmt.Errorf("%s the development database: %w", what, err)
	}
	return nil
}
