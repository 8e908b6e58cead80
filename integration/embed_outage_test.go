package integration

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// On the application's pool, too, runs go on when the database is back, the log says
// once that it was away and once that it is back, and no run is lost with a connection.
func TestTheApplicationsPoolLosesTheDatabase(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	log := &lines{}
	exec1(t, db, "INSERT INTO sweep_rows SELECT n FROM generate_series(1, 4000) n")
	pool := shopPool(t, db, nil)
	s, _ := embed(t, scheduler.Config{Pool: pool, ReplicaID: "till", Logger: slog.New(slog.NewTextHandler(log, nil)), Jobs: []scheduler.JobConfig{{Name: "each_second", Overlap: "allow"}}})
	client := ready(t, s)
	id, err := client.RunNow(t.Context(), "sweep", nil, nil)
	require.NoError(t, err)
	for round := range 5 {
		waitValue(t, db, waitRun, true, "SELECT count(*) >= $1 FROM sweep_audit", (round+1)*400)
		exec1(t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = $1", scheduler.RolesDefault().Serve)
	}
	waitStatus(t, db, id, jobs.StatusSuccess)
	require.EqualValues(t, 4000, scalar[int64](t, db, "SELECT count(DISTINCT id) FROM sweep_audit WHERE run_id = $1", id))
	require.EqualValues(t, 4000, scalar[int64](t, db, "SELECT count(*) FROM sweep_audit WHERE run_id = $1", id), "no row is swept twice")
	testdb.WaitFor(t, "the log says that the database is back", waitRun, func(context.Context) (bool, any, error) {
		text := log.String()
		lost, back := strings.Count(text, "the workers have lost the database"), strings.Count(text, "the workers have the database back")
		return back > 0 && lost == back, text, nil
	})
	waitValue(t, db, waitRun, int64(0), "SELECT count(*) FROM scheduler.runs WHERE status IN ('pending', 'running', 'retrying') AND started_at < now() - interval '10 seconds'")
	waitStatus(t, db, runAndWait(t, client, "yearly_hit").ID, jobs.StatusSuccess)
}

// deaf is a connection that hears nothing any more from when it has been told to.
type deaf struct {
	net.Conn

	armed *atomic.Bool
	lost  atomic.Bool
}

// Write notes when the statement is sent whose answer is to be lost.
func (c *deaf) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("JobGetAvailable")) && c.armed.CompareAndSwap(true, false) {
		c.lost.Store(true)
	}
	return c.Conn.Write(p)
}

func (c *deaf) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p) // it has been done by then
	if err == nil && c.lost.Load() {
		return 0, errors.Join(io.ErrUnexpectedEOF, c.Conn.Close())
	}
	return n, err
}

// A hand-out whose answer was lost with one connection, while all others live, is
// given back.
func TestTheApplicationsPoolLosesAnAnswer(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	var armed atomic.Bool
	pool := shopPool(t, db, func(c *pgxpool.Config) {
		// With the text of each statement, by which it is known.
		c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		dial := c.ConnConfig.DialFunc
		c.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return &deaf{Conn: conn, armed: &armed}, err
		}
	})
	s, _ := embed(t, scheduler.Config{Pool: pool, ReplicaID: "till", Jobs: []scheduler.JobConfig{{Name: "each_second", Enabled: new(false)}}})
	client := ready(t, s)
	require.Equal(t, jobs.StatusSuccess, runAndWait(t, client, "yearly_hit").Status)
	armed.Store(true)
	run := runAndWait(t, client, "yearly_hit")
	require.Equal(t, jobs.StatusSuccess, run.Status)
	require.False(t, armed.Load(), "an answer was lost")
}

// Connections that the pool has made while the database was read-only are not kept
// when it no longer is.
func TestTheApplicationsPoolWasReadOnly(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	pool := shopPool(t, db, func(c *pgxpool.Config) { c.MaxConns = 9 })
	s, _ := embed(t, scheduler.Config{Pool: pool, ReplicaID: "till", Jobs: []scheduler.JobConfig{{Name: "each_second", Enabled: new(false)}}})
	ready(t, s)
	name := db.Pool(t).Config().ConnConfig.Database
	exec1(t, db, "ALTER DATABASE "+name+" SET default_transaction_read_only = on")
	// The lock session was made before, and stays.
	exec1(t, db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'shop'")
	testdb.WaitFor(t, "the pool is read-only", waitRun, func(ctx context.Context) (bool, any, error) {
		var readOnly string
		err := pool.QueryRow(ctx, "SELECT current_setting('default_transaction_read_only')").Scan(&readOnly)
		return readOnly == "on", readOnly, err
	})
	exec1(t, db, "ALTER DATABASE "+name+" RESET default_transaction_read_only")
	run := scalar[int64](t, db, "SELECT scheduler.run_now('yearly_hit')")
	waitStatus(t, db, run, jobs.StatusSuccess)
}

// The application's pool may lead through a pooler, where the leader's lock does not.
func TestTheApplicationsPoolBehindAPooler(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	config, err := pgxpool.ParseConfig(testdb.PgBouncer(t, db, "transaction"))
	require.NoError(t, err)
	config.MaxConns = 8
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	config.ConnConfig.StatementCacheCapacity = 0 // as some do behind a pooler
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	exec1(t, db, "INSERT INTO sweep_rows SELECT n FROM generate_series(1, 100) n")

	s, err := scheduler.New(scheduler.Config{Pool: pool, Registry: testRegistry(), Logger: discard()})
	require.NoError(t, err)
	require.ErrorIs(t, s.Run(t.Context()), scheduler.ErrPooled)

	s, _ = embed(t, scheduler.Config{Pool: pool, LeaderDatabaseURL: db.URL})
	client := ready(t, s)
	for _, name := range []string{"yearly_hit", "sweep", "fails_once"} {
		require.Equal(t, jobs.StatusSuccess, runAndWait(t, client, name).Status, name)
	}
}
