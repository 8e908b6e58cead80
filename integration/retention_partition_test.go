package integration

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cleanup"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// Logs by month, of which 'old' is to go as a whole and 'mixed' in part, and whose
// last part is partitioned once more.
const partitionedLogs = `
DROP TABLE logs;
CREATE TABLE logs (id text, "timestamp" timestamptz NOT NULL, level text, module text, message text, user_id text, kind int DEFAULT 0)
	PARTITION BY RANGE ("timestamp");
DO $$
DECLARE cut timestamptz := date_trunc('day', now()) - interval '60 days';
BEGIN
	EXECUTE format('CREATE TABLE logs_old PARTITION OF logs FOR VALUES FROM (MINVALUE) TO (%L)', cut);
	EXECUTE format('CREATE TABLE "Logs mixed" PARTITION OF logs FOR VALUES FROM (%L) TO (%L)', cut, cut + interval '50 days');
	EXECUTE format('CREATE TABLE logs_new PARTITION OF logs FOR VALUES FROM (%L) TO (MAXVALUE) PARTITION BY LIST (kind)', cut + interval '50 days');
END $$;
CREATE TABLE logs_new_0 PARTITION OF logs_new FOR VALUES IN (0);
CREATE TABLE logs_new_1 PARTITION OF logs_new FOR VALUES IN (1);
INSERT INTO logs (id, "timestamp", message) SELECT 'old' || n, now() - interval '70 days', 'x' FROM generate_series(1, 3000) n;
INSERT INTO logs (id, "timestamp", message) SELECT 'mixed' || n, now() - CASE WHEN n % 2 = 0 THEN interval '40 days' ELSE interval '20 days' END, 'x' FROM generate_series(1, 2000) n;
INSERT INTO logs (id, "timestamp", message, kind) SELECT 'new' || n, now(), 'x', n % 2 FROM generate_series(1, 2000) n;
INSERT INTO logs (id, "timestamp", user_id) VALUES ('orphan', now(), 'nobody');
DO $$
DECLARE part regclass;
BEGIN
	-- Who is to detach them must own them.
	FOR part IN SELECT relid FROM pg_partition_tree('logs') LOOP EXECUTE format('ALTER TABLE %s OWNER TO scheduler_serve', part); END LOOP;
END $$;
ANALYZE logs`

func (c *cleaning) partitions(t *testing.T) string {
	t.Helper()
	return fetch[string](t, c, "SELECT string_agg(c.relname, ' ' ORDER BY relname) FROM pg_partition_tree('logs') p JOIN pg_class c ON c.oid = p.relid WHERE p.isleaf")
}

func TestCleanupWorksThroughPartitions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ how, partitions, note string }{
		{"delete", "Logs mixed logs_new_0 logs_new_1 logs_old", `every row of logs_old goes: ALTER TABLE logs DETACH PARTITION logs_old; DROP TABLE logs_old would be quicker`},
		{"detach", "Logs mixed logs_new_0 logs_new_1", "logs_old was detached, with 3000 rows"},
		{"drop", "Logs mixed logs_new_0 logs_new_1", "logs_old was dropped, with 3000 rows"},
	} {
		t.Run(c.how, func(t *testing.T) {
			t.Parallel()
			db := newCleaning(t, platformTables)
			db.exec(t, partitionedLogs)
			dry := db.newDryRun(t, cleanup.Database(), nil).mustWork(t)
			require.Equal(t, int64(4000), dry["old_logs"].Rows)
			r := db.newRun(t, small(t, cleanup.Database(), 300), map[string]any{"partitions": c.how})
			targets := r.mustWork(t)
			require.Equal(t, int64(4000), targets["old_logs"].Rows)
			require.Equal(t, int64(1), targets["orphaned_logs"].Rows)
			require.Contains(t, targets["old_logs"].Note, c.note)
			require.Equal(t, c.partitions, db.partitions(t))
			require.Equal(t, int64(3000), db.count(t, "logs"))
			require.Equal(t, int64(1000), db.count(t, `"Logs mixed"`))
			require.Equal(t, c.how == "drop", fetch[bool](t, db, "SELECT to_regclass('logs_old') IS NULL"))
			if c.how == "detach" {
				require.Equal(t, int64(3000), db.count(t, "logs_old"), "detached as it was")
			}
		})
	}
}

// A row that is not to go, and arrives after the look, keeps its partition.
func TestCleanupKeepsAPartitionThatHasMore(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformTables)
	c.exec(t, partitionedLogs)
	rule := retention.Rule{Target: "old", Table: "logs", SQL: `SELECT l.ctid FROM {table} l WHERE l."timestamp" < @now::timestamptz - interval '30 days' AND l.level IS NULL`}
	job := variant(t, cleanup.Database(), func(config *retention.Config) { config.Rules = []retention.Rule{rule} })
	r := c.newRun(t, job, map[string]any{"partitions": "drop"})
	batches, err := r.start(t.Context())
	require.NoError(t, err)
	require.NoError(t, batches.(jobs.Preparer).Prepare(t.Context()))
	c.exec(t, `INSERT INTO logs (id, "timestamp", level) VALUES ('kept', now() - interval '70 days', 'AUDIT')`)
	done, err := r.nextPrepared(t.Context(), batches, nil)
	for err == nil && !done {
		done, err = r.next(t.Context(), batches, nil)
	}
	require.NoError(t, err)
	require.Equal(t, int64(4000), r.targets["old"].Rows)
	require.Contains(t, r.targets["old"].Note, "logs_old stayed, its rows were deleted")
	require.Equal(t, int64(1), c.count(t, "logs_old"))
}

// Killed after every batch, and in the middle of a partitioned table.
func TestCleanupOfPartitionsGoesOn(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformTables)
	c.exec(t, partitionedLogs)
	r := c.newRun(t, small(t, cleanup.Database(), 100), nil)
	for done := false; !done; {
		batches, err := r.start(t.Context())
		require.NoError(t, err)
		done, err = r.next(t.Context(), batches, nil)
		require.NoError(t, err)
	}
	require.Equal(t, int64(4000), r.targets["old_logs"].Rows)
	require.Equal(t, int64(3000), c.count(t, "logs"))
}

// A table with heirs has rows of its own.
func TestCleanupWorksThroughHeirs(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformTables)
	c.exec(t, `CREATE TABLE logs_2025 () INHERITS (logs);
		INSERT INTO logs (id, "timestamp", level, module, message) SELECT 'a' || n, now() - interval '40 days', 'INFO', 'm', 'x' FROM generate_series(1, 200) n;
		INSERT INTO logs_2025 (id, "timestamp", level, module, message) SELECT 'b' || n, now() - interval '40 days', 'INFO', 'm', 'x' FROM generate_series(1, 300) n`)
	r := c.newRun(t, small(t, cleanup.Database(), 90), nil)
	require.Equal(t, int64(500), r.mustWork(t)["old_logs"].Rows)
	require.Zero(t, c.count(t, "logs"))
}
