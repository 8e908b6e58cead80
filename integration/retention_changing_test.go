package integration

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// Two partitions: what is in the second refers to what is in the first.
const twoParts = `CREATE TABLE odd (id int, parent int, at int) PARTITION BY RANGE (at);
CREATE TABLE odd_1 PARTITION OF odd FOR VALUES FROM (0) TO (10);
CREATE TABLE odd_2 PARTITION OF odd FOR VALUES FROM (10) TO (20);
INSERT INTO odd SELECT n, NULL, 5 FROM generate_series(1,5000) n;
INSERT INTO odd SELECT n+10000, n, 15 FROM generate_series(1,5000) n;
ANALYZE odd;`

// upTo works so many batches at most.
func (r *ledgerRun) upTo(t *testing.T, b jobs.Batches, batches int) (done bool, err error) {
	t.Helper()
	for n := 0; err == nil && !done && n < batches; n++ {
		done, err = r.next(t.Context(), b, nil)
	}
	return done, err
}

// until begins the run and works until so many rows are done.
func (r *ledgerRun) until(t *testing.T, rows int64) jobs.Batches {
	t.Helper()
	b, err := r.start(t.Context())
	for err == nil && r.targets["odd"].Rows < rows {
		_, err = r.next(t.Context(), b, nil)
	}
	require.NoError(t, err)
	return b
}

func TestCleanupRefusesARuleThatNamesItsPartitionsTwice(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, migrated)
	c.exec(t, twoParts)
	// In a partition, {table} is that alone: parents in another would look as if they
	// were not there.
	config := retention.Config{Definition: jobs.Definition{Name: "odd", Schedule: "@daily"}, Rules: []retention.Rule{{
		Target: "odd", Table: "odd", SQL: "SELECT t.ctid FROM {table} t WHERE t.parent IS NOT NULL AND NOT EXISTS (SELECT FROM {table} p WHERE p.id = t.parent)",
	}}}
	_, err := retention.New(config)
	require.ErrorContains(t, err, "write {table} once")
	err = c.newRun(t, oddJob(t, retention.Rule{SQL: "SELECT t.ctid FROM odd t WHERE t.parent IS NOT NULL AND NOT EXISTS (SELECT FROM {table} p WHERE p.id = t.parent)"}), nil).work(t.Context())
	require.ErrorContains(t, err, "write its SQL as SELECT t.ctid FROM {table} t")
	r := c.newRun(t, oddJob(t, retention.Rule{SQL: "SELECT t.ctid FROM {table} t WHERE t.parent IS NOT NULL AND NOT EXISTS (SELECT FROM odd p WHERE p.id = t.parent)"}), nil)
	require.NoError(t, r.work(t.Context()))
	require.Zero(t, r.targets["odd"].Rows, "every parent is there, in another partition")
	require.Equal(t, int64(10_000), c.count(t, "odd"))
}

func TestCleanupLeavesAPartitionThatIsDetachedMeanwhile(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, migrated)
	c.exec(t, twoParts)
	r := c.newRun(t, small(t, oddJob(t, retention.Rule{SQL: "SELECT t.ctid FROM {table} t WHERE t.at < 10"}), 100), nil)
	b := r.until(t, 1)
	c.exec(t, "ALTER TABLE odd DETACH PARTITION odd_1")
	before := c.count(t, "odd_1")
	_, err := r.upTo(t, b, 500)
	require.NoError(t, err)
	require.Equal(t, before, c.count(t, "odd_1"))
}

func TestCleanupLeavesATableThatTakesAnothersName(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, migrated)
	c.exec(t, `CREATE TABLE odd (id int);
CREATE TABLE msg (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, odd_id int);
INSERT INTO odd SELECT n FROM generate_series(1,100) n;
CREATE TABLE odd_new (id int);
INSERT INTO odd_new SELECT 101-n FROM generate_series(1,100) n;
INSERT INTO msg (odd_id) SELECT n FROM generate_series(51,100) n`)
	job := oddJob(t, retention.Rule{
		SQL:  "SELECT t.ctid FROM {table} t WHERE NOT EXISTS (SELECT FROM msg m WHERE m.odd_id = t.id AND m.id > @mark::bigint)",
		Mark: &retention.Mark{Name: "mark", Table: "msg", Column: "id"},
	})
	r := c.newRun(t, small(t, job, 10), nil)
	b := r.until(t, 1)
	c.exec(t, `ALTER TABLE odd RENAME TO odd_old; ALTER TABLE odd_new RENAME TO odd`)
	_, err := r.upTo(t, b, 500)
	require.NoError(t, err)
	require.Zero(t, c.count(t, "msg m WHERE NOT EXISTS (SELECT FROM odd o WHERE o.id = m.odd_id)"))
}

func TestCleanupArchivesNothingThatCascades(t *testing.T) {
	t.Parallel()
	c := newOdd(t, 100, 300)
	c.exec(t, `CREATE TABLE child (odd_id int REFERENCES odd ON DELETE CASCADE); CREATE INDEX ON child (odd_id)`)
	r := c.newRun(t, oddJob(t, retention.Rule{SQL: goneRows}), map[string]any{"archive": "json"})
	b, err := r.start(t.Context())
	require.NoError(t, err)
	err = b.(jobs.Preparer).Prepare(t.Context())
	require.True(t, jobs.IsBlocked(err), "child is empty, but may not stay so")
	require.ErrorContains(t, err, "rows of child would go along (foreign key child_odd_id_fkey cascades) and are not archived")
	require.Equal(t, int64(300), c.count(t, "odd"))
}

func TestCleanupHoldsItsBoundInTheSecondPass(t *testing.T) {
	t.Parallel()
	c := newOdd(t, 50, 5000)
	r := c.newRun(t, oddJob(t, retention.Rule{SQL: openRows, Set: closeRow}), map[string]any{"max_rows": 100})
	b, err := r.start(t.Context())
	require.NoError(t, err)
	require.NoError(t, b.(jobs.Preparer).Prepare(t.Context()))
	c.exec(t, "UPDATE odd SET gone = true")
	_, err = r.upTo(t, b, 500)
	require.LessOrEqual(t, r.targets["odd"].Rows, int64(100), "%v", err)
}

func TestCleanupHoldsItsBoundWithinRanges(t *testing.T) {
	t.Parallel()
	c := newOdd(t, 0, 20000)
	c.exec(t, "UPDATE odd SET gone = id % 4 = 0")
	c.exec(t, "VACUUM FULL odd")
	c.exec(t, "ANALYZE odd")
	r := c.newRun(t, oddJob(t, retention.Rule{SQL: goneRows}), map[string]any{"max_rows": 5000})
	b, err := r.start(t.Context())
	require.NoError(t, err)
	require.NoError(t, b.(jobs.Preparer).Prepare(t.Context()))
	c.exec(t, "UPDATE odd SET gone = true WHERE id % 4 <> 0 AND id > 6000 AND id < 16000")
	c.exec(t, "VACUUM odd")
	c.exec(t, "INSERT INTO odd SELECT n, true FROM generate_series(30000, 36000) n")
	_, err = r.upTo(t, b, 500)
	require.LessOrEqual(t, r.targets["odd"].Rows, int64(5000), "%v", err)
}

func TestCleanupDeletesFromAPartitionThatCannotGo(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"referenced": `CREATE TABLE ref (id int, at int, FOREIGN KEY (id, at) REFERENCES odd); CREATE INDEX ON ref (id, at); INSERT INTO ref VALUES (1, 5)`,
		"forbidden": `CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no DDL here'; END $$;
			CREATE EVENT TRIGGER no ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION no()`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCleaning(t, migrated)
			c.exec(t, twoParts)
			c.exec(t, "ALTER TABLE odd ADD PRIMARY KEY (id, at)")
			c.exec(t, sql)
			r := c.newRun(t, oddJob(t, retention.Rule{SQL: "SELECT t.ctid FROM {table} t WHERE t.at < 10"}), map[string]any{"partitions": "detach"})
			b, err := r.start(t.Context())
			require.NoError(t, err)
			done, err := r.upTo(t, b, 200)
			require.True(t, done || err != nil, "200 batches, and none has done anything")
		})
	}
}

func TestCleanupIsNotBlockedAfterAChange(t *testing.T) {
	t.Parallel()
	c := newOdd(t, 3000, 10000)
	r := c.newRun(t, small(t, oddJob(t, retention.Rule{SQL: goneRows}), 500), map[string]any{"max_rows": 4000})
	b := r.until(t, 1000)
	c.exec(t, "UPDATE odd SET gone = true WHERE id > 3000 AND id < 6000")
	c.exec(t, "VACUUM FULL odd")
	_, err := r.upTo(t, b, 500)
	require.False(t, jobs.IsBlocked(err) && c.count(t, "odd") < 10000, "blocked, and rows have gone: %v", err)
}

func TestCleanupBatchesAreNotCompiled(t *testing.T) {
	t.Parallel()
	c := newOdd(t, 3000, 10000)
	c.exec(t, "CREATE TABLE small (k int); INSERT INTO small SELECT 100000 + n FROM generate_series(1,50) n; ANALYZE small")
	r := c.newRun(t, oddJob(t, retention.Rule{SQL: goneRows + " AND NOT EXISTS (SELECT FROM small s WHERE s.k = t.id)"}), nil)
	require.NoError(t, r.work(t.Context()))
	require.Less(t, r.batches, 50)
}
