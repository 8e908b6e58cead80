package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
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

// oldest is who keeps dead rows of the database, "" if nobody does.
func (c *cleaning) oldest(t *testing.T) string {
	t.Helper()
	o, err := sql.For(c.schema).Oldest(t.Context(), c.pool, 0)
	require.NoError(t, err)
	if o == nil {
		return ""
	}
	return o.What
}

func TestCleanupAccusesOnlyWhoKeepsItsDeadRows(t *testing.T) {
	t.Parallel()
	server := testdb.Start(t, testdb.Options{Args: []string{"-c", "max_prepared_transactions=5"}})
	c, other := newCleaning(t, testdb.On(server), migrated), newCleaning(t, testdb.On(server), migrated)
	for _, db := range []*cleaning{c, other} {
		db.exec(t, fmt.Sprintf(oddTable, 100, 20_000))
		// Slow for whoever builds an index on it.
		db.exec(t, `CREATE FUNCTION slow(id int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM pg_sleep(0.01); RETURN id; END'`)
	}
	for _, db := range []*cleaning{other, c} {
		for begin, end := range map[string]string{
			"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM odd LIMIT 1":                         "ROLLBACK",
			"BEGIN; UPDATE odd SET pad = 'y' WHERE id = 200":                                           "ROLLBACK",
			"BEGIN; UPDATE odd SET pad = 'y' WHERE id = 300; PREPARE TRANSACTION 'forgotten, for now'": "ROLLBACK PREPARED 'forgotten, for now'",
		} {
			conn := db.own(t)
			want := fmt.Sprintf("the transaction of pid %d", conn.PgConn().PID())
			if strings.Contains(begin, "PREPARE") {
				want = "the prepared transaction 'forgotten, for now'"
			}
			_, err := conn.Exec(t.Context(), begin)
			require.NoError(t, err)
			require.Equal(t, want, db.oldest(t))
			if db == other && strings.Contains(begin, "READ") {
				want = "" // who only reads keeps nothing elsewhere; who writes is in every snapshot
			}
			require.Equal(t, want, c.oldest(t), begin)
			_, err = conn.Exec(t.Context(), end)
			require.NoError(t, err)
			require.Empty(t, db.oldest(t))
		}
	}
	for view, statements := range map[string][]string{
		"pg_stat_progress_vacuum":       {"SET vacuum_cost_delay = 100", "SET vacuum_cost_limit = 1", "VACUUM odd"},
		"pg_stat_progress_create_index": {"CREATE INDEX ON odd (slow(id))"},
	} {
		conn := c.own(t)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			for _, statement := range statements {
				if _, err := conn.Exec(ctx, statement); err != nil {
					ended <- err
					return
				}
			}
			ended <- nil
		}()
		testdb.WaitFor(t, "it has a snapshot", time.Minute, func(ctx context.Context) (bool, any, error) {
			var is bool
			err := c.pool.QueryRow(ctx, "SELECT EXISTS (SELECT FROM "+view+" p JOIN pg_stat_activity a USING (pid) WHERE a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)").Scan(&is)
			return is, is, err
		})
		require.Empty(t, c.oldest(t), view)
		stop()
		require.Error(t, <-ended, "it was under way")
	}
}

func TestCleanupNamesAReplicaThatKeepsDeadRows(t *testing.T) {
	t.Parallel()
	primary, standby := testdb.Standby(t)
	c := newCleaning(t, testdb.On(primary), migrated)
	replica, err := pgx.Connect(t.Context(), standby.URL("postgres"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = replica.Close(context.WithoutCancel(t.Context())) })
	for _, statement := range []string{
		"ALTER SYSTEM SET hot_standby_feedback = on", "ALTER SYSTEM SET wal_receiver_status_interval = '1s'", "SELECT pg_reload_conf()",
	} {
		_, err = replica.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	feedback := func(what string, is func(age int64) bool) {
		testdb.WaitFor(t, what, time.Minute, func(ctx context.Context) (bool, any, error) {
			var age int64
			err := c.pool.QueryRow(ctx, "SELECT coalesce(max(age(backend_xmin)), -1) FROM pg_stat_replication").Scan(&age)
			return is(age), age, err
		})
	}
	feedback("the replica reports", func(age int64) bool { return age >= 0 })
	require.Empty(t, c.oldest(t), "it always reports something")
	_, err = replica.Exec(t.Context(), "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class LIMIT 1")
	require.NoError(t, err)
	c.exec(t, `CREATE TABLE burnt (n int); DO $$ BEGIN FOR n IN 1..10100 LOOP BEGIN INSERT INTO burnt VALUES (n); EXCEPTION WHEN OTHERS THEN RAISE; END; END LOOP; END $$`)
	feedback("the replica's query is old", func(age int64) bool { return age > 10_000 })
	require.Regexp(t, `^the replica .+ \(hot_standby_feedback\)$`, c.oldest(t))
	_, err = replica.Exec(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	feedback("the replica's query is over", func(age int64) bool { return age < 10_000 })
	require.Empty(t, c.oldest(t))
}

// What docs/operating.md tells to run brings the rows back.
func TestCleanupArchivesUnderTheRulesTable(t *testing.T) {
	t.Parallel()
	for name, tables := range map[string]string{
		"partitions": `CREATE TABLE odd (id int GENERATED ALWAYS AS IDENTITY, gone bool) PARTITION BY LIST (gone);
			CREATE TABLE odd_gone PARTITION OF odd FOR VALUES IN (true); CREATE TABLE "Odd kept" PARTITION OF odd DEFAULT`,
		"heirs": `CREATE TABLE odd (id int GENERATED ALWAYS AS IDENTITY, gone bool);
			CREATE TABLE "Odd heir" () INHERITS (odd); INSERT INTO "Odd heir" (id, gone) SELECT n, n % 2 = 0 FROM generate_series(1001, 1100) n`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCleaning(t, migrated)
			c.exec(t, tables+"; INSERT INTO odd (gone) SELECT n % 2 = 0 FROM generate_series(1, 200) n; CREATE TABLE before AS SELECT * FROM odd")
			gone := c.count(t, "odd WHERE gone")
			r := c.newRun(t, small(t, oddJob(t, retention.Rule{SQL: goneRows}), 30), map[string]any{"archive": "json"})
			require.Equal(t, gone, r.mustWork(t)["odd"].Rows)
			require.Zero(t, c.count(t, "odd WHERE gone"))
			c.exec(t, fmt.Sprintf(`INSERT INTO odd OVERRIDING SYSTEM VALUE SELECT (jsonb_populate_record(NULL::odd, row)).*
				FROM scheduler.archived_rows WHERE table_name = 'odd' AND run_id = %d`, r.id))
			require.Equal(t, gone, c.count(t, "odd WHERE gone"))
			require.Zero(t, c.count(t, "(SELECT * FROM odd EXCEPT SELECT * FROM before) o"))
		})
	}
}

func TestCleanupSaysWhichStatementTriggersDoNotFire(t *testing.T) {
	t.Parallel()
	const trigger = "CREATE TRIGGER %s AFTER %s ON odd FOR EACH %s EXECUTE FUNCTION fired();"
	const note = "statement triggers of odd do not fire (after_all): its partitions are worked one by one"
	for name, test := range map[string]struct {
		kind, ddl string
		rule      retention.Rule
		note      string
		fires     bool
	}{
		"delete":           {"PARTITION BY LIST (id)", fmt.Sprintf(trigger, "after_all", "DELETE", "STATEMENT"), retention.Rule{SQL: goneRows}, note, false},
		"update":           {"PARTITION BY LIST (id)", fmt.Sprintf(trigger, "after_all", "UPDATE", "STATEMENT"), retention.Rule{SQL: openRows, Set: closeRow}, note, false},
		"of another event": {"PARTITION BY LIST (id)", fmt.Sprintf(trigger, "after_all", "UPDATE OR INSERT", "STATEMENT"), retention.Rule{SQL: goneRows}, "", false},
		"for each row":     {"PARTITION BY LIST (id)", fmt.Sprintf(trigger, "after_all", "DELETE", "ROW"), retention.Rule{SQL: goneRows}, "", true},
		"disabled":         {"PARTITION BY LIST (id)", fmt.Sprintf(trigger, "after_all", "DELETE", "STATEMENT") + "ALTER TABLE odd DISABLE TRIGGER after_all", retention.Rule{SQL: goneRows}, "", false},
		"of a plain table": {"", fmt.Sprintf(trigger, "after_all", "DELETE", "STATEMENT"), retention.Rule{SQL: goneRows}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCleaning(t, migrated)
			c.exec(t, "CREATE TABLE odd (id int, gone bool, state text DEFAULT 'open') "+test.kind)
			if test.kind != "" {
				c.exec(t, "CREATE TABLE odd_1 PARTITION OF odd FOR VALUES IN (1); CREATE TABLE odd_2 PARTITION OF odd FOR VALUES IN (2)")
			}
			c.exec(t, `CREATE TABLE firings (n int); CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO firings VALUES (1); RETURN NULL; END';
				INSERT INTO odd SELECT 1 + n % 2, n <= 50 FROM generate_series(1, 100) n;`+test.ddl)
			targets := c.newRun(t, oddJob(t, test.rule), nil).mustWork(t)
			require.Equal(t, int64(50), targets["odd"].Rows)
			require.Equal(t, test.note, noteOf(targets["odd"]))
			require.Equal(t, test.fires, c.count(t, "firings") > 0)
		})
	}
}

// A trigger may change more than the rule sets, which only it knows.
func TestCleanupsPlanNamesTriggersThatMayTouchIndexes(t *testing.T) {
	t.Parallel()
	c := newOdd(t, 110, 200)
	const warning = "may change columns that indexes have to do with"
	job := oddJob(t, retention.Rule{SQL: openRows, Set: closeRow})
	c.exec(t, `ALTER TABLE odd ADD COLUMN changed_at timestamptz; CREATE INDEX ON odd (changed_at);
		CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.changed_at := now(); RETURN NEW; END';
		CREATE TRIGGER touch_after AFTER UPDATE ON odd FOR EACH ROW EXECUTE FUNCTION touch();
		CREATE TRIGGER touch_inserted BEFORE INSERT ON odd FOR EACH ROW EXECUTE FUNCTION touch();
		CREATE TRIGGER touch_off BEFORE UPDATE ON odd FOR EACH ROW EXECUTE FUNCTION touch(); ALTER TABLE odd DISABLE TRIGGER touch_off`)
	require.NotContains(t, c.explain(t, job)["odd"].Plan, warning)
	c.exec(t, "CREATE TRIGGER touch_before BEFORE UPDATE ON odd FOR EACH ROW EXECUTE FUNCTION touch()")
	targets := c.newRun(t, job, nil).mustWork(t)
	require.True(t, strings.HasPrefix(targets["odd"].Plan, "waves: "), targets["odd"].Plan)
	require.Contains(t, targets["odd"].Plan, "the trigger touch_before "+warning)
	require.Equal(t, int64(110), c.count(t, "odd WHERE state = 'closed' AND changed_at IS NOT NULL"))
}

func TestCleanupArchivesIntoATableMadeByLike(t *testing.T) {
	t.Parallel()
	for _, identity := range []string{"ALWAYS", "BY DEFAULT"} {
		t.Run(identity, func(t *testing.T) {
			t.Parallel()
			c := newCleaning(t, migrated)
			c.exec(t, `CREATE TABLE odd (id int GENERATED `+identity+` AS IDENTITY PRIMARY KEY, gone bool, "Pad" text DEFAULT 'x', length int GENERATED ALWAYS AS (length("Pad")) STORED);
				INSERT INTO odd (gone, "Pad") SELECT n % 2 = 0, repeat('x', n) FROM generate_series(1, 100) n; DELETE FROM odd WHERE id <= 10;
				CREATE TABLE archive (LIKE odd INCLUDING ALL); CREATE TABLE before AS SELECT * FROM odd`)
			targets := c.newRun(t, oddJob(t, retention.Rule{SQL: goneRows, ArchiveTable: "archive"}), nil).mustWork(t)
			require.Equal(t, int64(45), targets["odd"].Rows)
			require.Empty(t, noteOf(targets["odd"]))
			require.Equal(t, int64(45), c.count(t, `archive JOIN before USING (id, gone, "Pad", length) WHERE gone`))
		})
	}
}

func TestCleanupIsBlockedByAnArchiveThatLacksAColumn(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, migrated)
	c.exec(t, `CREATE TABLE odd (id int, gone bool) PARTITION BY LIST (gone); CREATE TABLE odd_gone PARTITION OF odd FOR VALUES IN (true);
		CREATE TABLE archive (LIKE odd); ALTER TABLE odd ADD COLUMN "More" numeric(6, 2) DEFAULT 1.5; INSERT INTO odd SELECT n, true FROM generate_series(1, 100) n`)
	job := oddJob(t, retention.Rule{SQL: goneRows, ArchiveTable: "archive"})
	const lacks = `archive lacks a column of odd_gone: ALTER TABLE archive ADD COLUMN "More" numeric(6,2)`
	require.Equal(t, "a real run would be blocked: "+lacks, c.newDryRun(t, job, nil).mustWork(t)["odd"].Note)
	require.Equal(t, lacks, c.explain(t, job)["odd"].Problem)
	err := c.newRun(t, job, nil).work(t.Context())
	require.True(t, jobs.IsBlocked(err), "%v", err)
	require.ErrorContains(t, err, lacks)
	require.Equal(t, int64(100), c.count(t, "odd"))
	require.Zero(t, c.count(t, "scheduler.retention_candidates"))
	_, mend, _ := strings.Cut(lacks, ": ")
	c.exec(t, mend)
	require.Equal(t, int64(100), c.newRun(t, job, nil).mustWork(t)["odd"].Rows)
	require.Equal(t, int64(100), c.count(t, `archive WHERE "More" = 1.50`))
}

func TestCleanupSaysThatItsRolesStatementTimeoutIsTooShort(t *testing.T) {
	t.Parallel()
	c := newOdd(t, 600, 800)
	c.exec(t, `CREATE FUNCTION slow(id int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.005); RETURN true; END';
		ALTER DATABASE `+fetch[string](t, c, "SELECT current_database()")+` SET statement_timeout = '500ms'`)
	hurried := openCleaning(t, c.pool.Config().ConnString())
	hurried.work = nil // that role has a timeout of its own
	job := oddJob(t, retention.Rule{SQL: goneRows + " AND slow(t.id)"})
	for _, r := range []*ledgerRun{hurried.newRun(t, job, nil), hurried.newDryRun(t, job, nil)} {
		err := r.work(t.Context())
		require.ErrorContains(t, err, `target "odd" (table odd): `)
		require.ErrorContains(t, err, "raise it, by ALTER ROLE … SET statement_timeout")
		require.False(t, jobs.IsPermanent(err))
	}
	require.Equal(t, int64(800), c.count(t, "odd"))
	require.Zero(t, c.count(t, "scheduler.retention_candidates"))
}

// A thousand partitions must not make a note of a thousand lines, nor a cursor that is
// written with each batch.
func TestCleanupNotesOfManyPartitions(t *testing.T) {
	t.Parallel()
	const parts = 12
	for name, test := range map[string]struct {
		ddl  string
		note string
	}{
		"every row goes": {
			"SELECT format('CREATE TABLE odd_%s PARTITION OF odd FOR VALUES IN (%s)', n, n)",
			`^(every row of odd_\d+ goes: [^;]*; DROP TABLE odd_\d+ would be quicker, and the parameter partitions does it(; )?){3}, and 9 more$`,
		},
		"foreign tables": {
			`SELECT CASE n WHEN 12 THEN 'CREATE TABLE odd_12 PARTITION OF odd DEFAULT'
				ELSE format('CREATE FOREIGN TABLE odd_%s PARTITION OF odd FOR VALUES IN (%s) SERVER nowhere', n, -n) END`,
			`^odd_\d+ is a foreign table and was left alone; odd_\d+ is [^;]* alone; odd_\d+ is [^;]* alone; 8 more; every row of odd_12 goes: [^;]*; [^;]*$`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCleaning(t, migrated)
			c.exec(t, fmt.Sprintf(`CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
				CREATE TABLE odd (id int, n int) PARTITION BY LIST (n); DO $$ DECLARE ddl text; BEGIN FOR ddl IN %s FROM generate_series(1, %d) n LOOP EXECUTE ddl; END LOOP; END $$`, test.ddl, parts))
			c.exec(t, "INSERT INTO odd SELECT n, 1 + n % 12 FROM generate_series(1, 120) n")
			r := c.newRun(t, small(t, oddJob(t, retention.Rule{SQL: "SELECT t.ctid FROM {table} t WHERE t.n > 0"}), 4), nil)
			most := 0
			for done := false; !done; { // each attempt does two batches
				batches, err := r.start(t.Context())
				require.NoError(t, err)
				for n := 0; n < 2 && !done; n++ {
					done, err = r.next(t.Context(), batches, nil)
					require.NoError(t, err)
					var kept struct {
						Notes []string `json:"notes"`
					}
					require.NoError(t, json.Unmarshal(r.cursor, &kept))
					most = max(most, len(kept.Notes))
				}
			}
			require.LessOrEqual(t, most, 3)
			require.Equal(t, int64(120), r.targets["odd"].Rows)
			require.Regexp(t, test.note, noteOf(r.targets["odd"]))
		})
	}
}
