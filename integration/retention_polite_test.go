package integration

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// Whoever has to do with the table while a job cleans it comes first.

// underWay is a run in the background.
type underWay struct {
	*ledgerRun

	batchesDone atomic.Int64
	isOver      atomic.Bool
	ended       chan error
}

func goOn(t *testing.T, r *ledgerRun) *underWay {
	t.Helper()
	u := &underWay{ledgerRun: r, ended: make(chan error, 1)}
	go func() {
		batches, err := r.start(t.Context())
		for done := false; err == nil && !done; {
			done, err = r.next(t.Context(), batches, nil)
			u.batchesDone.Add(1)
		}
		u.isOver.Store(true)
		u.ended <- err
	}()
	return u
}

func (u *underWay) waitForBatches(t *testing.T, n int64) {
	t.Helper()
	testdb.WaitFor(t, fmt.Sprintf("%d batches", n), time.Minute, func(context.Context) (bool, any, error) {
		done := u.batchesDone.Load()
		return done >= n, done, nil
	})
}

// own is a connection of the test's, which the run knows nothing of.
func (c *cleaning) own(t *testing.T) *pgx.Conn {
	t.Helper()
	config := c.pool.Config().ConnConfig
	config.Tracer = nil
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// Statements that need the table for themselves get it while a run goes on, and the run
// goes on after them, to the end.
func TestCleanupLetsOthersAlterItsTable(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]retention.Rule{
		"delete, by ranges":         {SQL: goneRows},
		"delete, by two statements": {SQL: goneRows + " AND NOT EXISTS (SELECT FROM odd o WHERE o.id = -t.id)"},
		"update, by waves":          {SQL: openRows, Set: closeRow},
		"update, by two statements": {SQL: openRows + " AND NOT EXISTS (SELECT FROM odd o WHERE o.id = -t.id)", Set: closeRow},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newOdd(t, 40_000, 45_000)
			conn := c.own(t)
			u := goOn(t, c.newRun(t, small(t, oddJob(t, rule), 20), nil))
			u.waitForBatches(t, 10)
			for _, statement := range []string{
				"ALTER TABLE odd ADD COLUMN more int",
				"VACUUM odd",
				"ALTER TABLE odd ADD CHECK (id > 0)",
				"LOCK TABLE odd IN SHARE MODE",
				"CREATE INDEX ON odd (pad) WHERE NOT gone",
				"VACUUM FULL odd",
				"CREATE INDEX CONCURRENTLY ON odd (id) WHERE NOT gone",
				"CLUSTER odd USING odd_pkey",
				"ANALYZE odd",
			} {
				if strings.HasPrefix(statement, "LOCK") {
					_, err := conn.Exec(t.Context(), "BEGIN; "+statement+"; COMMIT")
					require.NoError(t, err)
				} else {
					_, err := conn.Exec(t.Context(), statement)
					require.NoError(t, err)
				}
				require.False(t, u.isOver.Load(), "the run has ended before %s", statement)
				u.waitForBatches(t, u.batchesDone.Load()+3)
			}
			require.NoError(t, <-u.ended)
			require.Equal(t, int64(40_000), u.targets["odd"].Rows)
			require.Contains(t, u.targets["odd"].Note, "odd was rewritten after it was looked through")
			require.NotContains(t, u.targets["odd"].Note, "left for the next run")
			require.Zero(t, c.count(t, "odd WHERE gone AND state = 'open'"))
			require.Equal(t, int64(5000), c.count(t, "odd WHERE NOT gone AND state = 'open'"))
			require.Zero(t, c.count(t, "scheduler.retention_candidates"))
		})
	}
}

// A look at a whole table, which takes seconds, ends for whoever waits for the table, and
// begins anew after it.
func TestCleanupsLookGivesWay(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"pass", "dry run"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c := newOdd(t, 600, 800)
			// Each row takes 5 ms, unless a batch looks at it.
			c.exec(t, `CREATE FUNCTION slow(id int) RETURNS bool LANGUAGE plpgsql AS $$
				BEGIN IF pg_current_xact_id_if_assigned() IS NULL THEN PERFORM pg_sleep(0.005); END IF; RETURN true; END $$`)
			looks := passStatement
			job := oddJob(t, retention.Rule{SQL: goneRows + " AND slow(t.id)"})
			r := c.newRun(t, job, nil)
			if kind == "dry run" {
				r.dryRun, looks = true, "-- Dry run"
			}
			u := goOn(t, r)
			conn := c.own(t)
			for n := 1; n <= 3; n++ {
				testdb.WaitFor(t, "the look is under way", time.Minute, func(ctx context.Context) (bool, any, error) {
					var is bool
					err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE '%' || $1 || '%' AND pid <> pg_backend_pid())", looks).Scan(&is)
					return is && c.sent.count(looks) == n, c.sent.count(looks), err
				})
				_, err := conn.Exec(t.Context(), fmt.Sprintf("ALTER TABLE odd ADD COLUMN more_%d int", n))
				require.NoError(t, err)
				require.False(t, u.isOver.Load())
				require.Zero(t, u.batchesDone.Load())
			}
			require.NoError(t, <-u.ended)
			require.Equal(t, int64(600), u.targets["odd"].Rows)
			require.Equal(t, 4, c.sent.count(looks), "three looks were ended, the fourth was not")
			if kind == "pass" {
				require.Zero(t, c.count(t, "odd WHERE gone"))
			}
			require.Equal(t, int64(200), c.count(t, "odd WHERE NOT gone"))
			require.Zero(t, c.count(t, "scheduler.retention_candidates"))
		})
	}
}

// It does so a few times only, so that it ends some day.
func TestCleanupsLookGivesWayAFewTimesOnly(t *testing.T) {
	t.Parallel()
	c := newOdd(t, 200, 400)
	c.exec(t, `CREATE FUNCTION slow(id int) RETURNS bool LANGUAGE plpgsql AS $$
		BEGIN IF pg_current_xact_id_if_assigned() IS NULL THEN PERFORM pg_sleep(0.005); END IF; RETURN true; END $$`)
	u := goOn(t, c.newRun(t, oddJob(t, retention.Rule{SQL: goneRows + " AND slow(t.id)"}), nil))
	conn := c.own(t)
	for n := 0; !u.isOver.Load(); n++ {
		require.Less(t, n, 10_000)
		_, err := conn.Exec(t.Context(), "ALTER TABLE odd ALTER pad SET DEFAULT 'x'")
		require.NoError(t, err)
	}
	require.NoError(t, <-u.ended)
	require.LessOrEqual(t, c.sent.count(passStatement), 6)
	require.Zero(t, c.count(t, "odd WHERE gone"))
}

// A transaction that stays open makes updates as dear as they can be: the run says whose.
func TestCleanupSaysWhoKeepsDeadRows(t *testing.T) {
	t.Parallel()
	server := testdb.Start(t, testdb.Options{Args: []string{"-c", "max_prepared_transactions=5"}})
	for name, begin := range map[string]string{
		"a reader elsewhere":     "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class LIMIT 1",
		"a snapshot":             "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM odd LIMIT 1",
		"a prepared transaction": "BEGIN; UPDATE odd SET pad = 'y' WHERE id = 2000; PREPARE TRANSACTION 'forgotten'",
	} {
		t.Run(name, func(t *testing.T) {
			c := newCleaning(t, testdb.On(server), migrated)
			c.exec(t, "GRANT pg_read_all_stats TO scheduler_serve") // its server is its own
			c.exec(t, fmt.Sprintf(oddTable, 1000, 2000))
			other := c.own(t)
			if name == "a reader elsewhere" {
				elsewhere, err := pgx.Connect(t.Context(), server.URL("postgres"))
				require.NoError(t, err)
				t.Cleanup(func() { _ = elsewhere.Close(context.WithoutCancel(t.Context())) })
				other = elsewhere
			}
			_, err := other.Exec(t.Context(), begin)
			require.NoError(t, err)
			testdb.WaitFor(t, "the transaction is old", time.Minute, func(ctx context.Context) (bool, any, error) {
				var age float64
				err := c.pool.QueryRow(ctx, `SELECT coalesce(extract(epoch FROM max(clock_timestamp() - begun)), 0)::float8 FROM (
					SELECT xact_start FROM pg_stat_activity WHERE state = 'idle in transaction' UNION ALL SELECT prepared FROM pg_prepared_xacts) o (begun)`).Scan(&age)
				return age > 5.1, age, err
			})
			updates := c.newRun(t, oddJob(t, retention.Rule{SQL: openRows, Set: closeRow}), nil).mustWork(t)
			require.Equal(t, int64(1000), updates["odd"].Rows)
			deletes := c.newRun(t, oddJob(t, retention.Rule{SQL: goneRows}), nil).mustWork(t)
			require.Empty(t, deletes["odd"].Note, "a delete touches no index, whatever stays")
			if strings.Contains(begin, "PREPARE") {
				require.Equal(t, "slow: the prepared transaction 'forgotten' kept dead versions of rows, and with them the room for new ones on their pages", updates["odd"].Note)
				c.exec(t, "ROLLBACK PREPARED 'forgotten'")
				return
			}
			if name == "a reader elsewhere" {
				require.Empty(t, updates["odd"].Note, "it keeps nothing in this database")
				_, err = other.Exec(t.Context(), "ROLLBACK")
				require.NoError(t, err)
				return
			}
			require.Equal(t, fmt.Sprintf("slow: the transaction of pid %d kept dead versions of rows, and with them the room for new ones on their pages", other.PgConn().PID()), updates["odd"].Note)
			_, err = other.Exec(t.Context(), "ROLLBACK")
			require.NoError(t, err)
		})
	}
}

// A replica that does not follow is waited for, but not for ever: it may be behind on
// purpose.
func TestCleanupWaitsForAReplica(t *testing.T) {
	t.Parallel()
	primary, standby := testdb.Standby(t)
	c := newCleaning(t, testdb.On(primary), migrated)
	c.exec(t, "GRANT pg_read_all_stats TO scheduler_serve") // its server is its own
	c.exec(t, fmt.Sprintf(oddTable, 5000, 10_000))
	replica, err := pgx.Connect(t.Context(), standby.URL("postgres"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = replica.Close(context.WithoutCancel(t.Context())) })
	behind := func(what string, is func(bytes int64) bool) {
		testdb.WaitFor(t, what, time.Minute, func(ctx context.Context) (bool, any, error) {
			var bytes int64
			err := c.pool.QueryRow(ctx, "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint FROM pg_stat_replication").Scan(&bytes)
			return is(bytes), bytes, err
		})
	}
	const most = 4 << 20
	behind("the replica follows", func(bytes int64) bool { return bytes < most })
	// As with recovery_min_apply_delay, WAL arrives and is not replayed.
	_, err = replica.Exec(t.Context(), "SELECT pg_wal_replay_pause()")
	require.NoError(t, err)
	testdb.WaitFor(t, "the replica is paused", time.Minute, func(ctx context.Context) (bool, any, error) {
		var state string
		err := replica.QueryRow(ctx, "SELECT pg_get_wal_replay_pause_state()").Scan(&state)
		return state == "paused", state, err
	})
	c.exec(t, "CREATE TABLE filler AS SELECT repeat(md5(n::text), 20) FROM generate_series(1, 20000) n")
	behind("the replica is behind", func(bytes int64) bool { return bytes > most })

	job := variant(t, oddJob(t, retention.Rule{SQL: goneRows}), func(config *retention.Config) {
		config.BatchRowsMax, config.BatchTime, config.LagMax, config.LagWait = 50, time.Minute, most, 700*time.Millisecond
	})
	r := c.newRun(t, job, nil)
	r.progress = make(chan jobs.Progress, 100)
	begin := time.Now()
	r.mustWork(t)
	require.GreaterOrEqual(t, time.Since(begin), 700*time.Millisecond)
	require.Equal(t, int64(5000), r.targets["odd"].Rows)
	require.Greater(t, r.batches, 50)
	require.Less(t, c.sent.count("FROM pg_stat_replication"), 30, "it waited once, not before each batch")
	require.Regexp(t, `^waiting for replica ".*", which is \d+ MB behind$`, (<-r.progress).Message)
	require.Regexp(t, `^slow: the replica ".*" stayed behind by more than 4 MB \(lag_max_mb\)$`, noteOf(r.targets["odd"]))

	c.exec(t, "UPDATE odd SET gone = true WHERE id <= 9000")
	asked := c.sent.count("FROM pg_stat_replication")
	targets := c.newRun(t, job, map[string]any{"lag_max_mb": 0}).mustWork(t)
	require.Equal(t, int64(4000), targets["odd"].Rows)
	require.Empty(t, noteOf(targets["odd"]))
	require.Equal(t, asked, c.sent.count("FROM pg_stat_replication"))

	// One that is going to follow is waited for until it does.
	c.exec(t, "UPDATE odd SET gone = true WHERE id <= 9500")
	patient := variant(t, job, func(config *retention.Config) { config.LagWait = time.Hour })
	r = c.newRun(t, patient, nil)
	r.progress = make(chan jobs.Progress, 1)
	u := goOn(t, r)
	require.Regexp(t, `^waiting for replica `, (<-r.progress).Message)
	require.Regexp(t, `^waiting for replica `, (<-r.progress).Message)
	require.Equal(t, int64(500), c.count(t, "odd WHERE gone"), "nothing has been deleted meanwhile")
	require.False(t, u.isOver.Load())
	_, err = replica.Exec(t.Context(), "SELECT pg_wal_replay_resume()")
	require.NoError(t, err)
	require.NoError(t, <-u.ended)
	require.Equal(t, int64(500), u.targets["odd"].Rows)
}
