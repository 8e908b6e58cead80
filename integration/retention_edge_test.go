package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs/retention"
	"github.com/systempromptio/scheduler/sql"
)

// Where a cleanup meets roles, replicas, triggers, archives and partitions that it did not
// expect.

// login is the same database for a role that logs in, and may do no more than read and
// write the tables. The roles belong to the test alone.
func (c *cleaning) login(t *testing.T, name string) *cleaning {
	t.Helper()
	role := name + "_" + fetch[string](t, c, "SELECT substr(md5(current_database()), 1, 20)")
	c.exec(t, fmt.Sprintf(`CREATE ROLE %[1]s LOGIN PASSWORD 'weak'; GRANT USAGE ON SCHEMA scheduler, public TO %[1]s;
		GRANT SELECT, INSERT, DELETE, UPDATE ON ALL TABLES IN SCHEMA scheduler, public TO %[1]s`, role))
	t.Cleanup(func() {
		_, err := c.pool.Exec(context.WithoutCancel(t.Context()), fmt.Sprintf("DROP OWNED BY %[1]s; DROP ROLE %[1]s", role))
		require.NoError(t, err)
	})
	config := c.pool.Config()
	config.ConnConfig.User, config.ConnConfig.Password = role, "weak"
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return &cleaning{pool: pool, schema: c.schema, sent: c.sent}
}

// waitUntilBlocked returns when the session waits for a lock.
func (c *cleaning) waitUntilBlocked(t *testing.T, pid uint32) {
	t.Helper()
	testdb.WaitFor(t, "the session waits", time.Minute, func(ctx context.Context) (bool, any, error) {
		var is bool
		err := c.pool.QueryRow(ctx, "SELECT cardinality(pg_blocking_pids($1)) > 0", pid).Scan(&is)
		return is, is, err
	})
}

// A role without pg_read_all_stats sees of the sessions of others only that they are
// there.
func TestCleanupSeesWhoWaitsWithoutPrivileges(t *testing.T) {
	t.Parallel()
	c := newOdd(t, 110, 200)
	cleaner, app := c.login(t, "cleaner"), c.login(t, "app")
	own := cleaner.own(t)
	tx, err := own.Begin(t.Context())
	require.NoError(t, err)
	s := sql.For(c.schema)
	heldUp, err := s.HeldUp(t.Context(), tx)
	require.NoError(t, err)
	require.Zero(t, heldUp)
	_, err = tx.Exec(t.Context(), "DELETE FROM odd WHERE id = 1")
	require.NoError(t, err)
	waiter := app.own(t)
	updated := make(chan error, 1)
	go func() {
		_, err := waiter.Exec(t.Context(), "UPDATE odd SET state = 'x' WHERE id = 1")
		updated <- err
	}()
	c.waitUntilBlocked(t, waiter.PgConn().PID())
	heldUp, err = s.HeldUp(t.Context(), tx)
	require.NoError(t, err)
	require.Equal(t, 1, heldUp)
	require.NoError(t, tx.Rollback(t.Context()))
	require.NoError(t, <-updated)
}

func TestCleanupsLookGivesWayWithoutPrivileges(t *testing.T) {
	t.Parallel()
	c := newOdd(t, 600, 800)
	c.exec(t, `CREATE FUNCTION slow(id int) RETURNS bool LANGUAGE plpgsql AS $$
		BEGIN IF pg_current_xact_id_if_assigned() IS NULL THEN PERFORM pg_sleep(0.005); END IF; RETURN true; END $$`)
	cleaner, app := c.login(t, "cleaner"), c.login(t, "app")
	r := c.newRun(t, oddJob(t, retention.Rule{SQL: goneRows + " AND slow(t.id)"}), nil)
	r.c = cleaner
	u := goOn(t, r)
	testdb.WaitFor(t, "the look is under way", time.Minute, func(ctx context.Context) (bool, any, error) {
		var is bool
		err := c.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE '%' || $1 || '%' AND pid <> pg_backend_pid())", passStatement).Scan(&is)
		return is, is, err
	})
	_, err := app.own(t).Exec(t.Context(), "BEGIN; LOCK TABLE odd IN ACCESS EXCLUSIVE MODE; COMMIT")
	require.NoError(t, err)
	require.False(t, u.isOver.Load())
	require.Zero(t, u.batchesDone.Load())
	require.NoError(t, <-u.ended)
	require.Equal(t, 2, c.sent.count(passStatement), "the first look was ended")
	require.Equal(t, int64(600), u.targets["odd"].Rows)
	require.Zero(t, c.count(t, "odd WHERE gone"))
}
