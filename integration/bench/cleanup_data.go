package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/systempromptio/scheduler/sql/platform"
)

// template is the database that the variants of a scenario get copies of.
const template = "cleanup_template"

// fill makes the template: the scheduler's schema, the platform's tables, and the
// scenario's rows in them.
func (b *cleanupBench) fill(ctx context.Context, s scenario) error {
	b.progressf("%s: fill the tables", s.name)
	db, err := newDatabase(ctx, b.server, template)
	if err != nil {
		return err
	}
	defer db.pool.Close()
	if err := platform.Create(ctx, db.pool); err != nil {
		return err
	}
	rows, err := db.pool.Query(ctx, statement("indexes"), pgx.NamedArgs{"tables": s.tables})
	if err != nil {
		return err
	}
	indexes, err := pgx.CollectRows(rows, pgx.RowToStructByName[struct{ Name, Definition string }])
	if err != nil {
		return err
	}
	script := []string{
		// Nothing here breaks a foreign key, and nobody needs to look.
		"SET session_replication_role = replica", "SET work_mem = '256MB'",
		"SET bench.rows = " + strconv.FormatInt(s.rows, 10), "SET bench.old = " + strconv.FormatInt(s.old, 10),
		"SET bench.random = " + strconv.FormatBool(s.isRandom), "SET bench.ended = " + strconv.FormatBool(s.isEnded),
	}
	for _, index := range indexes {
		script = append(script, "DROP INDEX "+index.Name)
	}
	script = append(script, s.statement("fill"))
	if err := b.onDatabase(ctx, db, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, strings.Join(script, ";\n"))
		return err
	}); err != nil {
		return fmt.Errorf("fill the tables: %w", err)
	}

	b.progressf("%s: build %d indexes", s.name, len(indexes))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for _, index := range indexes {
		group.Go(func() error {
			_, err := db.pool.Exec(groupCtx, index.Definition)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("build the indexes: %w", err)
	}
	if _, err := db.pool.Exec(ctx, "VACUUM (ANALYZE)"); err != nil {
		return err
	}
	_, err = db.pool.Exec(ctx, "CREATE EXTENSION pg_prewarm")
	return err
}

// onDatabase lends a connection that is closed at the end: its settings go with it.
func (b *cleanupBench) onDatabase(ctx context.Context, db *database, f func(conn *pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, db.url)
	if err != nil {
		return err
	}
	return errors.Join(f(conn), conn.Close(context.WithoutCancel(ctx)))
}

// restore makes a database as the template is, in the buffers, on a server at rest.
func (b *cleanupBench) restore(ctx context.Context, s scenario, name string) (*database, error) {
	err := b.onServer(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+template+" STRATEGY file_copy")
		return err
	})
	if err != nil {
		return nil, err
	}
	db, err := openDatabase(ctx, b.server.DirectURL(ctx, name))
	if err != nil {
		return nil, err
	}
	_, err = db.pool.Exec(ctx, statement("prewarm"), pgx.NamedArgs{"tables": s.tables})
	if err == nil {
		_, err = db.pool.Exec(ctx, "CHECKPOINT")
	}
	if err == nil {
		err = until(ctx, 5*time.Minute, func() (bool, error) {
			var busy int
			err := db.pool.QueryRow(ctx, statement("vacuums")).Scan(&busy)
			return busy == 0, err
		})
	}
	if err != nil {
		db.pool.Close()
		return nil, err
	}
	return db, nil
}

// drop removes a database, with whoever is connected.
func (b *cleanupBench) drop(ctx context.Context, name string) error {
	return b.onServer(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
		return err
	})
}
