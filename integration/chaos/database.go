package main

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// statementTimeout bounds what the program itself asks. A table may be locked by
	// a fault.
	statementTimeout = 20 * time.Second
	connectTimeout   = 3 * time.Second
)

// newFollower makes a pool that follows the primary: after a failover it connects to
// the new one and uses no connection to the old one again.
func newFollower(ctx context.Context, url func() string, maxConns int32, settings map[string]string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url())
	if err != nil {
		return nil, err
	}
	config.MaxConns = maxConns
	config.MinConns = min(2, maxConns) // also when all slots are taken
	config.HealthCheckPeriod = time.Second
	config.ConnConfig.ConnectTimeout = connectTimeout
	maps.Copy(config.ConnConfig.RuntimeParams, settings)
	target := func() (*pgx.ConnConfig, error) { return pgx.ParseConfig(url()) }
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		now, err := target()
		if err == nil {
			c.Host, c.Port, c.Fallbacks = now.Host, now.Port, nil
		}
		return err
	}
	config.PrepareConn = func(_ context.Context, conn *pgx.Conn) (bool, error) {
		now, err := target()
		return err == nil && conn.Config().Host == now.Host && conn.Config().Port == now.Port, err
	}
	return pgxpool.NewWithConfig(ctx, config)
}

// adminSettings keep the program able to act while a fault has set the same for
// everybody else.
var adminSettings = map[string]string{
	"application_name":              "chaos",
	"default_transaction_read_only": "off",
	"statement_timeout":             fmt.Sprint(statementTimeout.Milliseconds()),
	"idle_session_timeout":          "0",
	"lock_timeout":                  "0",
}

// once connects, does one thing and leaves.
func once(ctx context.Context, url string, settings map[string]string, do func(conn *pgx.Conn) error) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return err
	}
	config.ConnectTimeout = connectTimeout
	maps.Copy(config.RuntimeParams, settings)
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
		defer cancel()
		_ = conn.Close(ctx) // the fault may have broken it
	}()
	return do(conn)
}

// ask reads one row into a value. Several columns go into a struct by name.
func ask[T any](ctx context.Context, db querier, statement string, args ...any) (T, error) {
	var zero T
	rows, err := db.Query(ctx, statement, args...)
	if err != nil {
		return zero, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
}

// querier is what reads: a pool, a connection or a transaction.
type querier interface {
	Query(ctx context.Context, statement string, args ...any) (pgx.Rows, error)
}

// pause waits, unless the context ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// until asks again and again until it is told yes, for at most limit. An error
// means no: Postgres may be away. The last of them is in the error of until.
func until(ctx context.Context, limit time.Duration, what string, ok func(ctx context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %v", limit))
	defer cancel()
	var last error
	for {
		done, err := ok(ctx)
		if done && err == nil {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			if last != nil {
				return fmt.Errorf("%s: %w; the last answer: %w", what, err, last)
			}
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// tidy gives what must be done also when ctx has ended a limited time of its own.
func tidy(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return do(ctx)
}
