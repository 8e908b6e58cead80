package main

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
)

// inOrder is a ledger as it should be: half a minute of each_second, three of its
// ticks missed, and a run each of mark, purge, long and noop.
const inOrder = `
INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, leader_epoch)
SELECT 'each_second', $1::timestamptz + g * interval '1 second', 'schedule', 'requested', 1 + g / 10
FROM generate_series(0, 29) g WHERE g NOT BETWEEN 10 AND 12 ORDER BY g`

const inOrderMissed = `
INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, reason, leader_epoch, finished_at, missed_count, last_missed_tick)
SELECT 'each_second', $1::timestamptz + interval '10 seconds', 'schedule', 'missed', 'outage', 3, clock_timestamp(), 3, $1::timestamptz + interval '12 seconds'`

const inOrderOthers = `
INSERT INTO scheduler.job_runs (job_name, tick, trigger, status)
SELECT name, $1, 'manual', 'requested' FROM unnest('{mark,purge,long,noop}'::text[]) name`

// The ledger follows these by its triggers.
var inOrderRest = []string{
	`INSERT INTO scheduler.river_job (args, kind, max_attempts, state, queue, priority)
	 SELECT jsonb_build_object('run_id', id), job_name, 5, 'available', 'default', 1 FROM scheduler.job_runs WHERE status = 'requested' ORDER BY id`,
	`UPDATE scheduler.river_job SET state = 'running', attempt = 1, attempted_by = '{r1}', attempted_at = now()`,
	`UPDATE scheduler.river_job SET state = 'completed', finalized_at = now()`,
	`INSERT INTO hits (tick, run_id, attempt, replica) SELECT tick, id, 1, 'r1' FROM scheduler.job_runs WHERE status = 'success' AND job_name IN ('each_second', 'long')`,
	`INSERT INTO items_audit (op, id, marked_by) SELECT 'UPDATE', g, (SELECT id FROM scheduler.job_runs WHERE job_name = 'mark') FROM generate_series(1, 40) g`,
	`INSERT INTO items_audit (op, id) SELECT 'DELETE', g FROM generate_series(1, 7) g`,
	`UPDATE scheduler.job_runs SET rows_affected = CASE job_name WHEN 'mark' THEN 40 WHEN 'purge' THEN 7 END WHERE job_name IN ('mark', 'purge')`,
}

func ordered(t *testing.T) (*testdb.DB, *checker) {
	t.Helper()
	db := testdb.New(t, migrated)
	since, err := ask[time.Time](t.Context(), db.Pool(t), "SELECT date_trunc('second', clock_timestamp()) - interval '30 seconds'")
	require.NoError(t, err)
	for _, statement := range []string{inOrder, inOrderMissed, inOrderOthers} {
		_, err := db.Pool(t).Exec(t.Context(), statement, since)
		require.NoError(t, err, statement)
	}
	for _, statement := range inOrderRest {
		_, err := db.Pool(t).Exec(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	return db, &checker{since: since, seen: map[string]bool{}}
}

func TestChecks_inOrder(t *testing.T) {
	t.Parallel()
	db, c := ordered(t)
	found, since, err := c.run(t.Context(), db.Pool(t))
	require.NoError(t, err)
	require.Empty(t, found)
	require.Equal(t, stats{Success: 27, Missed: 3}, since)
	_, since, err = c.run(t.Context(), db.Pool(t))
	require.NoError(t, err)
	require.Zero(t, since, "only what is new")
	stuck, err := readStuck(t.Context(), db.Pool(t))
	require.NoError(t, err)
	require.Empty(t, stuck)
}

// Whatever is wrong with the data, a check finds it.
func TestChecks_find(t *testing.T) {
	t.Parallel()
	const tickRun = "(SELECT id FROM scheduler.job_runs WHERE job_name = 'each_second' ORDER BY id LIMIT 1 OFFSET 5)"
	for name, test := range map[string]struct {
		damage string
		want   map[string]int64 // by kind
	}{
		"a tick is lost": {
			"WITH d AS (DELETE FROM scheduler.job_runs WHERE id = " + tickRun + " RETURNING id, river_job_id), h AS (DELETE FROM hits USING d WHERE run_id = d.id) DELETE FROM scheduler.river_job j USING d WHERE j.id = d.river_job_id",
			map[string]int64{"tick_lost": 1},
		},
		"a row of the ledger is lost": {
			"DELETE FROM scheduler.job_runs WHERE id = " + tickRun,
			map[string]int64{"tick_lost": 1, "effect_doubled": 1, "river_differs": 1},
		},
		"missed ticks cover one that was run": {
			"UPDATE scheduler.job_runs SET last_missed_tick = last_missed_tick + interval '2 seconds' WHERE status = 'missed'",
			map[string]int64{"tick_doubled": 2},
		},
		"missed ticks cover too little": {
			"UPDATE scheduler.job_runs SET last_missed_tick = tick WHERE status = 'missed'",
			map[string]int64{"tick_lost": 2},
		},
		"a run had its effect twice": {
			"INSERT INTO hits SELECT * FROM hits WHERE run_id = " + tickRun,
			map[string]int64{"effect_doubled": 1, "tick_doubled": 1},
		},
		"a run was run twice under two ids": {
			"UPDATE hits SET tick = (SELECT tick FROM scheduler.job_runs WHERE id = " + tickRun + ") WHERE run_id = " + tickRun + " + 1",
			map[string]int64{"tick_doubled": 1},
		},
		"an effect is lost": {
			"DELETE FROM hits WHERE run_id = " + tickRun,
			map[string]int64{"effect_lost": 1},
		},
		"an effect of a run that is not in the ledger": {
			"INSERT INTO hits SELECT tick, 4711, 1, 'r1' FROM hits WHERE run_id = (SELECT id FROM scheduler.job_runs WHERE job_name = 'long')",
			map[string]int64{"effect_doubled": 1},
		},
		"mark counts too much": {
			"UPDATE scheduler.job_runs SET rows_affected = rows_affected + 20 WHERE job_name = 'mark'",
			map[string]int64{"effect_lost": 20},
		},
		"mark counts too little": {
			"UPDATE scheduler.job_runs SET rows_affected = rows_affected - 3 WHERE job_name = 'mark'",
			map[string]int64{"effect_doubled": 3},
		},
		"a row was marked by nobody's run": {
			"INSERT INTO items_audit (op, id, marked_by) VALUES ('UPDATE', 1, 4711)",
			map[string]int64{"effect_doubled": 1},
		},
		"purge counts too much": {
			"UPDATE scheduler.job_runs SET rows_affected = 9 WHERE job_name = 'purge'",
			map[string]int64{"effect_lost": 2},
		},
		"purge counts too little": {
			"INSERT INTO items_audit (op, id) VALUES ('DELETE', 99)",
			map[string]int64{"effect_doubled": 1},
		},
		"the ledger says running and River completed": {
			"UPDATE scheduler.job_runs SET status = 'running', finished_at = NULL WHERE job_name = 'noop'",
			map[string]int64{"river_differs": 1},
		},
		"the attempts differ": {
			"UPDATE scheduler.job_runs SET attempt = 2 WHERE job_name = 'noop'",
			map[string]int64{"river_differs": 1},
		},
		"a run waits for a job of River's that is not there": {
			"WITH r AS (UPDATE scheduler.job_runs SET status = 'pending', finished_at = NULL WHERE job_name = 'noop' RETURNING river_job_id) DELETE FROM scheduler.river_job j USING r WHERE j.id = r.river_job_id",
			map[string]int64{"river_differs": 1},
		},
		"an earlier term decided after a later one": {
			"UPDATE scheduler.job_runs SET leader_epoch = 0 WHERE id = " + tickRun,
			map[string]int64{"epoch_fell": 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, c := ordered(t)
			tag, err := db.Pool(t).Exec(t.Context(), test.damage)
			require.NoError(t, err)
			require.Positive(t, tag.RowsAffected())
			found, _, err := c.run(t.Context(), db.Pool(t))
			require.NoError(t, err)
			got := map[string]int64{}
			for _, v := range found {
				got[v.Kind] += v.N
				require.NotEmpty(t, v.Detail)
			}
			require.Equal(t, test.want, got, "%v", found)
			again, _, err := c.run(t.Context(), db.Pool(t))
			require.NoError(t, err)
			require.Empty(t, again, "it is told once")
		})
	}
}

func TestStuck(t *testing.T) {
	t.Parallel()
	db, _ := ordered(t)
	for _, job := range []string{"noop", "long", "mark"} {
		_, err := db.Pool(t).Exec(t.Context(), `INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, created_at)
			VALUES ($1, now(), 'manual', 'requested', now() - interval '20 seconds')`, job)
		require.NoError(t, err)
	}
	stuck, err := readStuck(t.Context(), db.Pool(t))
	require.NoError(t, err)
	require.Len(t, stuck, 1)
	require.Contains(t, stuck[0].Detail, "noop")
}

func TestState(t *testing.T) {
	t.Parallel()
	db, c := ordered(t)
	_, err := db.Pool(t).Exec(t.Context(), "UPDATE scheduler.river_job SET state = 'running', finalized_at = NULL WHERE kind = 'noop'")
	require.NoError(t, err)
	now, err := readState(t.Context(), db.Pool(t), c.since.Add(10*time.Second))
	require.NoError(t, err)
	require.Empty(t, now.Leader)
	require.Empty(t, now.Replicas)
	require.True(t, now.Succeeded)
	require.InDelta(t, 1, now.NewestAge, 10)
	require.Len(t, now.Orphans, 1)
	require.Contains(t, now.Orphans[0], "attempt 1 of r1")
}

// Two sessions with the leader's lock at once cannot be had from Postgres; two
// schedulers in one database can.
func TestWatch(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	w := startWatch(t.Context(), func() string { return db.URL })
	defer w.stop()
	first, second := db.Conn(t), db.Conn(t)
	_, err := first.Exec(t.Context(), "SELECT pg_advisory_lock(7235001, 1); UPDATE scheduler.leadership SET epoch = 7")
	require.NoError(t, err)
	testdb.WaitFor(t, "the first lock is seen", 10*time.Second, func(context.Context) (bool, any, error) {
		_, most := w.seen()
		return most == 1, most, nil
	})
	require.Empty(t, w.take())
	_, err = second.Exec(t.Context(), "SELECT pg_advisory_lock(7235001, 2)")
	require.NoError(t, err)
	kinds := map[string]bool{}
	seen := func(kind string) {
		testdb.WaitFor(t, kind, 10*time.Second, func(context.Context) (bool, any, error) {
			for _, v := range w.take() {
				kinds[v.Kind] = true
			}
			return kinds[kind], slices.Collect(maps.Keys(kinds)), nil
		})
	}
	seen("two_leaders")
	// It may not have read the term yet.
	testdb.WaitFor(t, "it has looked on", 10*time.Second, func() func(context.Context) (bool, any, error) {
		begin, _ := w.seen()
		return func(context.Context) (bool, any, error) {
			looks, _ := w.seen()
			return looks > begin+2*epochEvery, looks, nil
		}
	}())
	_, err = first.Exec(t.Context(), "UPDATE scheduler.leadership SET epoch = 6")
	require.NoError(t, err)
	seen("epoch_fell")
}
