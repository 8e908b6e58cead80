package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// An @ within a string is no argument.
func TestCleanupOfAddresses(t *testing.T) {
	t.Parallel()
	c := newOdd(t, 110, 200)
	c.exec(t, `UPDATE odd SET state = 'it''s@example.org' WHERE gone; ALTER TABLE odd ADD COLUMN "a@b" text DEFAULT 'x@now'`)
	rule := retention.Rule{SQL: `SELECT t.ctid FROM {table} t WHERE t.state = 'it''s@example.org' AND t."a@b" = 'x@now' -- it's @nobody`, Set: "state = 'closed@example.org'"}
	require.Equal(t, int64(110), c.newDryRun(t, oddJob(t, rule), nil).mustWork(t)["odd"].Rows)
	require.Equal(t, int64(110), c.newRun(t, oddJob(t, rule), nil).mustWork(t)["odd"].Rows)
	require.Equal(t, int64(110), c.count(t, "odd WHERE state = 'closed@example.org'"))
	require.Equal(t, int64(110), c.newRun(t, oddJob(t, retention.Rule{SQL: `SELECT t.ctid FROM {table} t WHERE t.state ~ '@example\.org$'`}), nil).mustWork(t)["odd"].Rows)
}

// Names that have to be quoted, and a table in another schema.
func TestCleanupOfTablesWithOddNames(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, migrated)
	c.exec(t, `CREATE SCHEMA "My Schema"; CREATE TABLE "My Schema"."Odd ""t""able" ("Id" int PRIMARY KEY, "select" bool, "State, or not" text DEFAULT 'open');
		CREATE TABLE "My Schema"."Below" (n int, "Odd" int REFERENCES "My Schema"."Odd ""t""able"); CREATE INDEX ON "My Schema"."Below" ("Odd");
		INSERT INTO "My Schema"."Odd ""t""able" SELECT n, n <= 100 FROM generate_series(1, 200) n; INSERT INTO "My Schema"."Below" VALUES (1, 20);
		CREATE TABLE "My Schema"."Archive" (LIKE "My Schema"."Odd ""t""able");
		GRANT USAGE ON SCHEMA "My Schema" TO scheduler_serve; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "My Schema" TO scheduler_serve`)
	const table = `"My Schema"."Odd ""t""able"`
	update := retention.Rule{Table: table, SQL: `SELECT "O".ctid FROM {table} "O" WHERE "O"."select" AND "O"."State, or not" = 'open'`, Set: `"State, or not" = 'closed'`}
	targets := c.newRun(t, oddJob(t, update), nil).mustWork(t)
	require.Equal(t, int64(100), targets["odd"].Rows)
	require.Contains(t, targets["odd"].Plan, "waves: ")
	remove := retention.Rule{Table: table, SQL: `SELECT o.ctid FROM {table} AS o WHERE o."select"`, ArchiveTable: `"My Schema"."Archive"`}
	targets = c.newRun(t, oddJob(t, remove), nil).mustWork(t)
	require.Equal(t, int64(99), targets["odd"].Rows)
	require.Equal(t, int64(99), c.count(t, `"My Schema"."Archive"`))
	c.exec(t, `DELETE FROM "My Schema"."Below"`)
	remove.ArchiveTable = ""
	require.Equal(t, int64(1), c.newRun(t, oddJob(t, remove), map[string]any{"archive": "json"}).mustWork(t)["odd"].Rows)
	require.JSONEq(t, `{"Id": 20, "select": true, "State, or not": "closed"}`, fetch[string](t, c, "SELECT row::text FROM scheduler.archived_rows"))
}

// Conditions of every form.
func TestCleanupConditions(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]string{
		"or":                     "SELECT t.ctid FROM {table} t WHERE t.id <= 50 OR t.id BETWEEN 51 AND 110",
		"a comment at the end":   "SELECT t.ctid FROM {table} t WHERE t.gone -- and nothing else",
		"a semicolon":            "SELECT t.ctid FROM {table} t WHERE t.gone;",
		"null":                   "SELECT t.ctid FROM {table} t WHERE t.gone AND (t.id > 0 OR NULL)",
		"lower case":             "select x.ctid from {table} as x where x.gone",
		"order":                  "SELECT t.ctid FROM {table} t WHERE t.gone ORDER BY t.pad DESC",
		"limit":                  "SELECT t.ctid FROM {table} t WHERE t.gone ORDER BY t.id LIMIT 110",
		"another alias":          `SELECT "O".ctid FROM {table} "O" WHERE "O".gone`,
		"no {table}":             "SELECT o.ctid FROM odd o WHERE o.gone",
		"a join":                 "SELECT o.ctid FROM {table} o JOIN generate_series(1, 110) n ON n = o.id",
		"a subquery of its own":  "SELECT t.ctid FROM {table} t WHERE t.id IN (SELECT o.id FROM odd o WHERE o.gone)",
		"the same alias below":   "SELECT t.ctid FROM {table} t WHERE EXISTS (SELECT FROM odd r WHERE r.id = t.id AND r.gone)",
		"a CTE":                  "WITH g AS (SELECT id FROM odd WHERE gone) SELECT t.ctid FROM {table} t WHERE t.id IN (SELECT id FROM g)",
		"union":                  "SELECT t.ctid FROM {table} t WHERE t.id <= 50 UNION SELECT o.ctid FROM odd o WHERE o.id BETWEEN 40 AND 110",
		"volatile":               "SELECT t.ctid FROM {table} t WHERE t.gone AND random() >= 0",
		"now":                    "SELECT t.ctid FROM {table} t WHERE t.gone AND @now::timestamptz > now() - interval '1 hour'",
		"where in a string":      "SELECT t.ctid FROM {table} t WHERE t.gone AND t.pad <> ' WHERE '",
		"a window":               "SELECT w.ctid FROM (SELECT t.ctid, row_number() OVER (ORDER BY t.id) AS n FROM {table} t) w WHERE w.n <= 110",
		"union after the clause": "SELECT t.ctid FROM {table} t WHERE t.id <= 50 UNION ALL SELECT o.ctid FROM odd o WHERE o.id BETWEEN 51 AND 110",
	} {
		for _, set := range []string{"", closeRow} {
			t.Run(name+" "+set, func(t *testing.T) {
				t.Parallel()
				c := newOdd(t, 110, 200)
				job := small(t, oddJob(t, retention.Rule{SQL: rule, Set: set}), 30)
				require.Equal(t, int64(110), c.newDryRun(t, job, nil).mustWork(t)["odd"].Rows)
				r := c.newRun(t, job, nil)
				err := r.work(t.Context())
				if name == "a window" || name == "limit" {
					// Which rows it names changes with every one that goes. It may take less, never others.
					require.NoError(t, err)
					require.Equal(t, int64(90), c.count(t, "odd WHERE NOT gone AND state = 'open'"))
					return
				}
				require.NoError(t, err)
				require.Equal(t, int64(110), r.targets["odd"].Rows)
				require.Equal(t, int64(90), c.count(t, "odd WHERE NOT gone AND state = 'open'"))
				require.Zero(t, c.count(t, "odd WHERE gone AND state = 'open'"))
			})
		}
	}
}

// A trigger of the table's takes the next row along.
func TestCleanupWithATriggerThatDeletesOthers(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"BEFORE", "AFTER"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			c := newOdd(t, 110, 200)
			c.exec(t, `CREATE FUNCTION along() RETURNS trigger LANGUAGE plpgsql AS $$
				BEGIN IF OLD.id % 10 = 1 THEN DELETE FROM odd WHERE id = OLD.id + 1; END IF; RETURN OLD; END $$;
				CREATE TRIGGER along `+when+` DELETE ON odd FOR EACH ROW EXECUTE FUNCTION along()`)
			r := c.newRun(t, oddJob(t, retention.Rule{SQL: goneRows}), nil)
			r.mustWork(t)
			require.Zero(t, c.count(t, "odd WHERE gone"))
			require.Equal(t, int64(90), c.count(t, "odd"))
			require.GreaterOrEqual(t, r.targets["odd"].Rows, int64(99))
		})
	}
}

// What is emptied or dropped while a run cleans it is no more to be cleaned.
func TestCleanupOfATableThatGoesAway(t *testing.T) {
	t.Parallel()
	for statement, note := range map[string]string{
		"TRUNCATE odd": "odd was rewritten after it was looked through (VACUUM FULL, CLUSTER), and was looked through again",
		"DROP TABLE odd CASCADE; CREATE TABLE odd (id int, gone bool, state text); INSERT INTO odd SELECT n, true FROM generate_series(1, 600) n":         "odd is not there any more",
		"ALTER TABLE odd RENAME TO even; CREATE TABLE odd (id int, gone bool, state text); INSERT INTO odd SELECT n, true FROM generate_series(1, 600) n": "odd is not there any more",
	} {
		for _, rule := range []retention.Rule{{SQL: goneRows}, {SQL: goneRows + " AND NOT EXISTS (SELECT FROM odd o WHERE o.id = -t.id)"}} {
			for _, isPrepared := range []bool{true, false} {
				t.Run(fmt.Sprint(statement[:12], rule.SQL, isPrepared), func(t *testing.T) {
					t.Parallel()
					c := newOdd(t, 500, 600)
					r := c.newRun(t, small(t, oddJob(t, rule), 60), nil)
					batches, err := r.start(t.Context())
					require.NoError(t, err)
					for range 2 {
						_, err = r.next(t.Context(), batches, nil)
						require.NoError(t, err)
					}
					rows, done := r.targets["odd"].Rows, false
					if isPrepared {
						require.NoError(t, batches.(jobs.Preparer).Prepare(t.Context()))
						c.exec(t, statement)
						done, err = r.nextPrepared(t.Context(), batches, nil)
					} else {
						c.exec(t, statement)
					}
					for err == nil && !done {
						done, err = r.next(t.Context(), batches, nil)
					}
					require.NoError(t, err)
					require.Equal(t, rows, r.targets["odd"].Rows)
					require.Equal(t, note, r.targets["odd"].Note)
					if strings.Contains(statement, "CREATE") {
						require.Equal(t, int64(600), c.count(t, "odd WHERE gone"), "another table, which nobody has looked at")
					}
					require.Zero(t, c.count(t, "scheduler.retention_candidates"))
				})
			}
		}
	}
}
