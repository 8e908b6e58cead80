package integration

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cleanup"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// The engine on tables of every odd kind, and in odd circumstances.

const (
	goneRows = "SELECT t.ctid FROM {table} t WHERE t.gone"
	openRows = "SELECT t.ctid FROM {table} t WHERE t.gone AND t.state = 'open'"
	closeRow = "state = 'closed'"
	leftNote = "left for the next run: locked, changed meanwhile, or to go no more"
)

// oddTable has rows with the ids from 1 on, of which some are to go, about 60 a page.
const oddTable = `
CREATE TABLE odd (id int PRIMARY KEY, gone bool NOT NULL, state text NOT NULL DEFAULT 'open', pad text NOT NULL DEFAULT repeat('x', 90));
INSERT INTO odd SELECT n, n <= %d FROM generate_series(1, %d) n;
ANALYZE odd;`

func newOdd(t *testing.T, gone, rows int) *cleaning {
	t.Helper()
	c := newCleaning(t, migrated)
	c.exec(t, fmt.Sprintf(oddTable, gone, rows))
	return c
}

// oddJob is a job of the rules; targets without a name are called "odd", as are tables.
func oddJob(t *testing.T, rules ...retention.Rule) *retention.Job {
	t.Helper()
	for i := range rules {
		if rules[i].Target == "" {
			rules[i].Target = "odd"
		}
		if rules[i].Table == "" {
			rules[i].Table = "odd"
		}
	}
	job, err := retention.New(retention.Config{Definition: jobs.Definition{Name: "odd", Schedule: "@yearly"}, Rules: rules})
	require.NoError(t, err)
	return job
}

var slowRE = regexp.MustCompile(`(; )?slow: the transaction of pid \d+ kept dead versions of rows, and with them the room for new ones on their pages`)

// noteOf is a target's note without what other tests on the same server have to do with.
func noteOf(target jobs.Target) string {
	return strings.TrimPrefix(slowRE.ReplaceAllString(target.Note, ""), "; ")
}

// ids lists the ids of a query, in order.
func (c *cleaning) ids(t *testing.T, from string) string {
	t.Helper()
	return fetch[string](t, c, "SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), '') FROM "+from)
}

// oddTrigger is a trigger that does something to every twentieth row.
func (c *cleaning) oddTrigger(t *testing.T, when, body string) {
	t.Helper()
	c.exec(t, `CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN IF OLD.id % 20 = 0 THEN `+body+`; END IF; RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END; END $$;
		CREATE TRIGGER hold `+when+` ON odd FOR EACH ROW EXECUTE FUNCTION hold()`)
}

const heldRows = "20 40 60 80 100"

func TestCleanupWithTriggers(t *testing.T) {
	t.Parallel()
	refused := func(by string) string {
		return "5 refused by the database, such as: change rows: ERROR: " + by
	}
	for name, odd := range map[string]struct {
		when, body string
		rule       retention.Rule
		note       string
	}{
		"before delete, raises": {"BEFORE DELETE", "RAISE EXCEPTION 'row % is held', OLD.id", retention.Rule{SQL: goneRows}, refused("row 20 is held (SQLSTATE P0001)")},
		"after delete, raises":  {"AFTER DELETE", "RAISE EXCEPTION 'row % is held', OLD.id", retention.Rule{SQL: goneRows}, refused("row 20 is held (SQLSTATE P0001)")},
		"raises as a constraint would": {
			"BEFORE DELETE", "RAISE check_violation USING MESSAGE = 'held'", retention.Rule{SQL: goneRows}, refused("held (SQLSTATE 23514)"),
		},
		"raises with a code of its own": {
			"BEFORE DELETE", "RAISE EXCEPTION 'held' USING ERRCODE = 'APP01'", retention.Rule{SQL: goneRows}, refused("held (SQLSTATE APP01)"),
		},
		"before update, raises": {
			"BEFORE UPDATE", "RAISE EXCEPTION 'row % is held', OLD.id", retention.Rule{SQL: openRows, Set: closeRow}, refused("row 80 is held (SQLSTATE P0001)"),
		},
		"before delete, returns null": {"BEFORE DELETE", "RETURN NULL", retention.Rule{SQL: goneRows}, "5 " + leftNote},
		"before update, returns null": {"BEFORE UPDATE", "RETURN NULL", retention.Rule{SQL: openRows, Set: closeRow}, "5 " + leftNote},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newOdd(t, 110, 200)
			c.oddTrigger(t, odd.when, odd.body)
			job := oddJob(t, odd.rule)
			require.Equal(t, int64(110), c.newDryRun(t, job, nil).mustWork(t)["odd"].Rows, "a dry run cannot know what a trigger will do")
			r := c.newRun(t, job, nil)
			r.mustWork(t)
			require.Equal(t, int64(105), r.targets["odd"].Rows)
			require.Equal(t, odd.note, noteOf(r.targets["odd"]))
			require.Equal(t, heldRows, c.ids(t, "odd WHERE gone AND state = 'open'"))
			require.Equal(t, int64(90), c.count(t, "odd WHERE NOT gone AND state = 'open'"))
			if odd.rule.Set == "" {
				require.Contains(t, r.targets["odd"].Plan, "the trigger hold fires")
			}
		})
	}
}

// A row that was refused, and one that was left for another reason, are counted once,
// though the second pass finds both again.
func TestCleanupCountsRefusedRowsOnceInTwoPasses(t *testing.T) {
	t.Parallel()
	c := newOdd(t, 110, 200)
	c.oddTrigger(t, "BEFORE UPDATE", "IF OLD.id = 60 THEN RETURN NULL; END IF; RAISE EXCEPTION 'held'")
	targets := c.newRun(t, oddJob(t, retention.Rule{SQL: openRows, Set: closeRow}), nil).mustWork(t)
	require.Equal(t, int64(105), targets["odd"].Rows)
	require.Equal(t, "1 "+leftNote+"; 4 refused by the database, such as: change rows: ERROR: held (SQLSTATE P0001)", noteOf(targets["odd"]))
}

// The same in two partitions: what was left of one has nothing to do with the other.
func TestCleanupCountsLeftRowsOfAllPartitions(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, migrated)
	c.exec(t, `CREATE TABLE odd (id int, gone bool, state text DEFAULT 'open') PARTITION BY RANGE (id);
		CREATE TABLE odd_1 PARTITION OF odd FOR VALUES FROM (1) TO (101);
		CREATE TABLE odd_2 PARTITION OF odd FOR VALUES FROM (101) TO (201);
		INSERT INTO odd SELECT n, true FROM generate_series(1, 200) n`)
	c.oddTrigger(t, "BEFORE UPDATE", "IF OLD.id > 100 THEN RAISE EXCEPTION 'held'; END IF; RETURN NULL")
	targets := c.newRun(t, oddJob(t, retention.Rule{SQL: openRows, Set: closeRow}), nil).mustWork(t)
	require.Equal(t, int64(190), targets["odd"].Rows)
	require.Equal(t, "5 "+leftNote+"; 5 refused by the database, such as: change rows: ERROR: held (SQLSTATE P0001)", noteOf(targets["odd"]))
	require.Equal(t, 3, c.sent.count(passStatement), "the second partition has nothing that a second pass could find")
}

// Which updates can stay on their page follows from the indexes.
func TestCleanupKnowsWhichIndexesAnUpdateTouches(t *testing.T) {
	t.Parallel()
	const length = "ALTER TABLE odd ADD COLUMN length int GENERATED ALWAYS AS (length(state)) STORED;"
	for name, odd := range map[string]struct{ ddl, index string }{
		"none":                          {"", ""},
		"a generated column":            {length, ""},
		"a generated column, indexed":   {length + "CREATE INDEX touched ON odd (length)", "touched"},
		"one made of another column":    {"ALTER TABLE odd ADD COLUMN twice int GENERATED ALWAYS AS (id * 2) STORED; CREATE INDEX ON odd (twice)", ""},
		"a predicate on generated":      {length + "CREATE INDEX touched ON odd (id) WHERE length > 4", "touched"},
		"a predicate":                   {"CREATE INDEX touched ON odd (id) WHERE state = 'open'", "touched"},
		"an expression":                 {"CREATE INDEX touched ON odd (upper(state))", "touched"},
		"an included column":            {"CREATE INDEX touched ON odd (id) INCLUDE (state)", "touched"},
		"an exclusion constraint":       {"ALTER TABLE odd ADD CONSTRAINT touched EXCLUDE USING btree (id WITH =, state WITH =)", "touched"},
		"a predicate on another column": {"CREATE INDEX ON odd (id) WHERE gone", ""},
		"an expression of another":      {"CREATE INDEX ON odd (upper(pad))", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newOdd(t, 150, 400)
			c.exec(t, odd.ddl)
			targets := c.newRun(t, oddJob(t, retention.Rule{SQL: openRows, Set: closeRow}), nil).mustWork(t)
			require.Equal(t, int64(150), targets["odd"].Rows)
			require.Empty(t, noteOf(targets["odd"]))
			require.Equal(t, int64(150), c.count(t, "odd WHERE gone AND state = 'closed'"))
			require.Equal(t, int64(250), c.count(t, "odd WHERE NOT gone AND state = 'open'"))
			if plan := targets["odd"].Plan; odd.index == "" {
				require.True(t, strings.HasPrefix(plan, "waves: "), plan)
			} else {
				require.True(t, strings.HasPrefix(plan, "rows in the order of the table: "), plan)
				require.Contains(t, plan, "each update touches the indexes, since touched has to do with state")
			}
			require.Equal(t, c.count(t, "odd WHERE state = 'closed'"), fetch[int64](t, c, "SELECT count(*) FROM odd WHERE state = 'closed' AND length(state) = 6"))
		})
	}
}

// Rows of 100 kB, stored out of line.
func TestCleanupOfToastedRows(t *testing.T) {
	t.Parallel()
	const tables = `CREATE TABLE odd (id int PRIMARY KEY, gone bool, state text DEFAULT 'open', body text);
		ALTER TABLE odd ALTER body SET STORAGE EXTERNAL;
		INSERT INTO odd (id, gone, body) SELECT n, n % 2 = 0, repeat(md5(n::text), 3200) FROM generate_series(1, 120) n;
		CREATE TABLE archive (LIKE odd, kept_at timestamptz DEFAULT now());
		CREATE TABLE before AS SELECT * FROM odd`
	for name, odd := range map[string]struct {
		rule  retention.Rule
		given map[string]any
	}{
		"update":          {rule: retention.Rule{SQL: openRows, Set: closeRow}},
		"delete":          {rule: retention.Rule{SQL: goneRows}},
		"archive as json": {rule: retention.Rule{SQL: goneRows}, given: map[string]any{"archive": "json"}},
		"archive table":   {rule: retention.Rule{SQL: goneRows, ArchiveTable: "archive"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCleaning(t, migrated)
			c.exec(t, tables)
			targets := c.newRun(t, oddJob(t, odd.rule), odd.given).mustWork(t)
			require.Equal(t, int64(60), targets["odd"].Rows)
			require.Empty(t, noteOf(targets["odd"]))
			kept := int64(120)
			if odd.rule.Set == "" {
				kept = 60
			}
			require.Equal(t, kept, c.count(t, "odd JOIN before USING (id, gone, body)"))
			if odd.rule.ArchiveTable != "" {
				require.Equal(t, int64(60), c.count(t, "archive JOIN before USING (id, gone, state, body) WHERE gone AND kept_at IS NOT NULL"))
			}
			if odd.given != nil {
				require.Equal(t, int64(60), c.count(t, "scheduler.archived_rows a JOIN before b ON a.row = to_jsonb(b) WHERE b.gone"))
			}
		})
	}
}

// What is set would be there twice.
func TestCleanupSetsWhatAUniqueIndexRefuses(t *testing.T) {
	t.Parallel()
	for name, constraint := range map[string]string{
		"index":      "CREATE UNIQUE INDEX one_name ON odd (name)",
		"deferrable": "ALTER TABLE odd ADD CONSTRAINT one_name UNIQUE (name) DEFERRABLE INITIALLY DEFERRED",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newOdd(t, 110, 200)
			// "nobody 20" is taken already, and so on, five times.
			c.exec(t, "ALTER TABLE odd ADD COLUMN name text; UPDATE odd SET name = CASE WHEN gone THEN 'somebody ' || id ELSE 'nobody ' || (id - 110) * 20 END;"+constraint)
			rule := retention.Rule{SQL: "SELECT t.ctid FROM {table} t WHERE t.gone AND t.name LIKE 'somebody %'", Set: "name = 'nobody ' || id"}
			targets := c.newRun(t, oddJob(t, rule), nil).mustWork(t)
			require.Equal(t, int64(105), targets["odd"].Rows)
			require.Regexp(t, `^5 refused by the database, such as: .*duplicate key value violates unique constraint "one_name" \(SQLSTATE 23505\)$`, noteOf(targets["odd"]))
			require.Equal(t, heldRows, c.ids(t, "odd WHERE gone AND name LIKE 'somebody %'"))

			// All of them.
			c.exec(t, "UPDATE odd SET name = 'somebody ' || id WHERE gone")
			rule.Set = "name = 'nobody 20'"
			err := c.newRun(t, oddJob(t, rule), nil).work(t.Context())
			require.ErrorContains(t, err, `target "odd" (table odd): 10 rows, one after the other, were refused: correct the rule so that it leaves them out`)
			require.ErrorContains(t, err, `violates unique constraint "one_name"`)
			require.False(t, jobs.IsPermanent(err))
			require.Equal(t, int64(110), c.count(t, "odd WHERE gone AND name = 'somebody ' || id"))
		})
	}
}

func TestCleanupWithForeignKeys(t *testing.T) {
	t.Parallel()
	const below = "CREATE TABLE below (id int PRIMARY KEY, odd_id int REFERENCES odd %s); CREATE INDEX ON below (odd_id); INSERT INTO below SELECT id, id FROM odd WHERE id %% 20 = 0;"
	const under = "CREATE TABLE under (id int PRIMARY KEY, below_id int REFERENCES below %s); CREATE INDEX ON under (below_id); INSERT INTO under SELECT id, id FROM below WHERE id IN (40, 140);"
	const stays = "%d refused by the database, such as: %sERROR: update or delete on table %q violates foreign key constraint"
	for name, odd := range map[string]struct {
		ddl               string
		rows              int64
		note              string
		left, below, deep string
	}{
		"no action": {fmt.Sprintf(below, ""), 105, fmt.Sprintf(stays, 5, "change rows: ", "odd"), heldRows, "20 40 60 80 100 120 140 160 180 200", ""},
		"restrict":  {fmt.Sprintf(below, "ON DELETE RESTRICT"), 105, fmt.Sprintf(stays, 5, "change rows: ", "odd"), heldRows, "20 40 60 80 100 120 140 160 180 200", ""},
		"cascade":   {fmt.Sprintf(below, "ON DELETE CASCADE"), 110, "", "", "120 140 160 180 200", ""},
		"set null":  {fmt.Sprintf(below, "ON DELETE SET NULL"), 110, "", "", "20 40 60 80 100 120 140 160 180 200", ""},
		"deferred": {
			fmt.Sprintf(below, "DEFERRABLE INITIALLY DEFERRED"), 105, fmt.Sprintf(stays, 5, "", "odd"), heldRows, "20 40 60 80 100 120 140 160 180 200", "",
		},
		"cascade over two levels": {
			fmt.Sprintf(below, "ON DELETE CASCADE") + fmt.Sprintf(under, "ON DELETE CASCADE"), 110, "", "", "120 140 160 180 200", "140",
		},
		"cascade, then no action": {
			fmt.Sprintf(below, "ON DELETE CASCADE") + fmt.Sprintf(under, ""), 109, fmt.Sprintf(stays, 1, "change rows: ", "below"), "40", "40 120 140 160 180 200", "40 140",
		},
		"cascade, then deferred": {
			fmt.Sprintf(below, "ON DELETE CASCADE") + fmt.Sprintf(under, "DEFERRABLE INITIALLY DEFERRED"), 109, fmt.Sprintf(stays, 1, "", "below"), "40", "40 120 140 160 180 200", "40 140",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newOdd(t, 110, 200)
			c.exec(t, odd.ddl)
			targets := c.newRun(t, oddJob(t, retention.Rule{SQL: goneRows}), nil).mustWork(t)
			require.Equal(t, odd.rows, targets["odd"].Rows)
			if odd.note == "" {
				require.Empty(t, noteOf(targets["odd"]))
			} else {
				require.Contains(t, strings.ReplaceAll(noteOf(targets["odd"]), "check the deferred constraints: ", ""), odd.note)
			}
			require.Equal(t, odd.left, c.ids(t, "odd WHERE gone"))
			require.Equal(t, int64(90), c.count(t, "odd WHERE NOT gone"))
			require.Equal(t, odd.below, c.ids(t, "below"))
			if strings.Contains(odd.ddl, "under") {
				require.Equal(t, odd.deep, c.ids(t, "under"))
			}
			if name == "set null" {
				require.Equal(t, "20 40 60 80 100", c.ids(t, "below WHERE odd_id IS NULL"))
			}
		})
	}
}

// A tree in one table: a row goes only once nothing hangs below it.
func TestCleanupOfASelfReferencingTable(t *testing.T) {
	t.Parallel()
	for action, left := range map[string]string{"": "1 50", "ON DELETE CASCADE": "", "ON DELETE SET NULL": ""} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			c := newOdd(t, 110, 200)
			// 150 to 155, which stay, hang below 50, and 50 below 1; 60 to 65, which go, below 59.
			c.exec(t, "ALTER TABLE odd ADD COLUMN parent int REFERENCES odd "+action+`; CREATE INDEX ON odd (parent);
				UPDATE odd SET parent = 50 WHERE id BETWEEN 150 AND 155; UPDATE odd SET parent = 1 WHERE id = 50; UPDATE odd SET parent = 59 WHERE id BETWEEN 60 AND 65`)
			job := oddJob(t, retention.Rule{SQL: goneRows})
			rows := int64(0)
			for range 3 {
				rows += c.newRun(t, job, nil).mustWork(t)["odd"].Rows
			}
			require.Equal(t, left, c.ids(t, "odd WHERE gone"))
			switch action {
			case "":
				require.Equal(t, int64(108), rows)
				require.Equal(t, int64(90), c.count(t, "odd WHERE NOT gone"))
			case "ON DELETE CASCADE":
				require.Equal(t, int64(84), c.count(t, "odd WHERE NOT gone"))
			default:
				require.Equal(t, int64(110), rows)
				require.Equal(t, int64(90), c.count(t, "odd WHERE NOT gone AND parent IS NULL"))
			}
		})
	}
}

// An application moves rows to other pages between the pass and the batch: a second pass,
// within the run, finds them.
func TestCleanupFindsRowsThatTheApplicationHasMoved(t *testing.T) {
	t.Parallel()
	c := newOdd(t, 110, 200)
	r := c.newRun(t, oddJob(t, retention.Rule{SQL: openRows, Set: closeRow}), nil)
	batches, err := r.start(t.Context())
	require.NoError(t, err)
	require.NoError(t, batches.(jobs.Preparer).Prepare(t.Context()))
	// Ten are changed so that an index is touched, and three so that they are to stay.
	c.exec(t, "CREATE INDEX ON odd (pad); UPDATE odd SET pad = 'moved ' || id WHERE id BETWEEN 41 AND 50; UPDATE odd SET gone = false, pad = 'kept' WHERE id IN (71, 72, 73)")
	done, err := r.nextPrepared(t.Context(), batches, nil)
	for err == nil && !done {
		done, err = r.next(t.Context(), batches, nil)
	}
	require.NoError(t, err)
	require.Equal(t, 2, c.sent.count(passStatement))
	require.Equal(t, int64(107), r.targets["odd"].Rows)
	require.Empty(t, noteOf(r.targets["odd"]), "nothing is left")
	require.Equal(t, int64(107), c.count(t, "odd WHERE gone AND state = 'closed'"))
	require.Equal(t, int64(3), c.count(t, "odd WHERE pad = 'kept' AND state = 'open'"))
	require.Zero(t, c.count(t, "scheduler.retention_candidates"))
}

// A rewrite of the table gives its rows other places. The run looks again, and touches
// nothing that it had not meant.
func TestCleanupAfterARewriteOfTheTable(t *testing.T) {
	t.Parallel()
	const rewritten = "odd was rewritten after it was looked through (VACUUM FULL, CLUSTER), and was looked through again"
	for _, rule := range []retention.Rule{
		{SQL: goneRows},
		{SQL: openRows, Set: closeRow},
		{SQL: goneRows + " AND NOT EXISTS (SELECT FROM odd o WHERE o.id = -t.id)"},
	} {
		for statement, note := range map[string]string{
			"VACUUM odd":                           "",
			"VACUUM FULL odd":                      rewritten,
			"CLUSTER odd USING turned":             rewritten,
			"ALTER TABLE odd ALTER id TYPE bigint": rewritten,
			"ALTER TABLE odd ADD COLUMN more int":  "",
		} {
			for _, when := range []string{"before another attempt", "within an attempt", "after Prepare"} {
				t.Run(statement+" "+when+" "+rule.SQL+rule.Set, func(t *testing.T) {
					t.Parallel()
					c := newOdd(t, 310, 600)
					c.exec(t, "CREATE INDEX turned ON odd ((-id)); INSERT INTO odd SELECT n, false FROM generate_series(601, 610) n; DELETE FROM odd WHERE id % 7 = 0")
					gone := c.count(t, "odd WHERE gone")
					r := c.newRun(t, small(t, oddJob(t, rule), 20), nil)
					batches, err := r.start(t.Context())
					require.NoError(t, err)
					for range 3 {
						_, err = r.next(t.Context(), batches, nil)
						require.NoError(t, err)
					}
					passes := c.sent.count(passStatement)
					if when == "after Prepare" {
						require.NoError(t, batches.(jobs.Preparer).Prepare(t.Context()))
					}
					c.exec(t, statement)
					if when == "before another attempt" {
						batches, err = r.start(t.Context())
						require.NoError(t, err)
					}
					done := false
					if when == "after Prepare" {
						done, err = r.nextPrepared(t.Context(), batches, nil)
					}
					for err == nil && !done {
						done, err = r.next(t.Context(), batches, nil)
					}
					require.NoError(t, err)
					require.Equal(t, gone, r.targets["odd"].Rows)
					require.Equal(t, note, noteOf(r.targets["odd"]))
					require.Zero(t, c.count(t, "odd WHERE gone AND state = 'open'"))
					require.Equal(t, int64(610-310-(610/7-310/7)), c.count(t, "odd WHERE NOT gone AND state = 'open'"))
					if note == "" {
						require.Equal(t, passes, c.sent.count(passStatement), "the candidates are good")
					}
				})
			}
		}
	}
}

// The rule about contexts looks, in a batch, only at messages that came since the pass:
// the place of an empty context must not be taken for that of another one.
func TestCleanupOfContextsThatChangePlaces(t *testing.T) {
	t.Parallel()
	for _, statement := range []string{"VACUUM FULL user_contexts", "CLUSTER user_contexts USING user_contexts_pkey"} {
		for _, isPrepared := range []bool{true, false} {
			t.Run(fmt.Sprint(statement, isPrepared), func(t *testing.T) {
				t.Parallel()
				c := newCleaning(t, platformTables)
				// Every third has a message, of before the pass; every third had gone before.
				c.exec(t, `
					INSERT INTO users (id, name, email) VALUES ('u', 'u', 'u');
					INSERT INTO user_contexts (context_id, user_id, name, created_at)
					SELECT 'c' || n, 'u', 'x', now() - interval '3 days' FROM generate_series(1, 900) n;
					INSERT INTO user_contexts (context_id, user_id, name) VALUES ('young', 'u', 'x');
					INSERT INTO agent_tasks (task_id, context_id, status) VALUES ('t', 'young', 'open');
					INSERT INTO task_messages (task_id, message_id, role, context_id, sequence_number)
					SELECT 't', 'm' || n, 'user', 'c' || n, n FROM generate_series(1, 900, 3) n;
					DELETE FROM user_contexts WHERE substr(context_id, 2) IN (SELECT n::text FROM generate_series(3, 900, 3) n)`)
				r := c.newRun(t, small(t, cleanup.EmptyContexts(), 20), nil)
				batches, err := r.start(t.Context())
				require.NoError(t, err)
				for range 4 {
					_, err = r.next(t.Context(), batches, nil)
					require.NoError(t, err)
				}
				places := fetch[map[string]any](t, c, "SELECT jsonb_object_agg(ctid, context_id) FROM user_contexts")
				done := false
				if isPrepared {
					require.NoError(t, batches.(jobs.Preparer).Prepare(t.Context()))
					c.exec(t, statement)
					done, err = r.nextPrepared(t.Context(), batches, nil)
				} else {
					c.exec(t, statement)
				}
				after := fetch[map[string]any](t, c, "SELECT jsonb_object_agg(ctid, context_id) FROM user_contexts")
				taken := 0
				for place, context := range places {
					if now, ok := after[place]; ok && now != context {
						taken++
					}
				}
				if strings.HasPrefix(statement, "CLUSTER") { // VACUUM keeps dead rows that a transaction elsewhere may see
					require.Greater(t, taken, 100, "many have the place of another")
				}
				for err == nil && !done {
					done, err = r.next(t.Context(), batches, nil)
				}
				require.NoError(t, err)
				require.Equal(t, int64(300), r.targets["contexts"].Rows)
				require.Contains(t, r.targets["contexts"].Note, "user_contexts was rewritten after it was looked through")
				require.Equal(t, int64(301), c.count(t, "user_contexts"))
				require.Equal(t, int64(300), c.count(t, "user_contexts c JOIN task_messages m USING (context_id)"))
				require.Zero(t, c.count(t, "scheduler.retention_candidates"))
			})
		}
	}
}

// VACUUM moves nothing: what another replica goes on with is not looked for again.
func TestCleanupGoesOnAfterVacuumOnAnotherReplica(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	for _, job := range platformJobs() {
		r := c.newRun(t, small(t, job, 40), nil)
		batches, err := r.start(t.Context())
		require.NoError(t, err)
		done := false
		for err == nil && !done && r.targets.Rows() < 60 {
			done, err = r.next(t.Context(), batches, nil)
		}
		require.NoError(t, err)
		require.False(t, done)
		c.exec(t, "VACUUM (ANALYZE)")
		passes, attempt := c.sent.count(passStatement), r.attempt
		other := openCleaning(t, c.pool.Config().ConnString())
		r.c = other
		r.mustWork(t)
		again := 0
		if job.Definition().Name == "database_cleanup" {
			again = 1 // old logs, after orphaned ones have gone
		}
		require.Equal(t, again, other.sent.count(passStatement))
		require.Equal(t, passes, c.sent.count(passStatement))
		require.Equal(t, attempt+1, r.attempt)
		for _, target := range r.targets {
			require.NotContains(t, target.Note, "looked through again")
		}
	}
	c.requireSeedCleaned(t)
}

// A partition that something keeps from leaving its table stays, and its rows go one by
// one, as far as they can.
func TestCleanupOfPartitionsThatCannotLeave(t *testing.T) {
	t.Parallel()
	const tables = `CREATE TABLE odd (id int PRIMARY KEY, gone bool, state text DEFAULT 'open') PARTITION BY RANGE (id);
		CREATE TABLE odd_1 PARTITION OF odd FOR VALUES FROM (1) TO (101);
		CREATE TABLE odd_2 PARTITION OF odd FOR VALUES FROM (101) TO (201);
		INSERT INTO odd SELECT n, n <= 100 FROM generate_series(1, 200) n;`
	for name, odd := range map[string]struct {
		ddl  string
		rows int64
		left string
	}{
		"a foreign key": {
			"CREATE TABLE below (odd_id int REFERENCES odd); CREATE INDEX ON below (odd_id); INSERT INTO below VALUES (20), (120)", 99, "20",
		},
		"a foreign key that cascades": {
			"CREATE TABLE below (odd_id int REFERENCES odd ON DELETE CASCADE); CREATE INDEX ON below (odd_id); INSERT INTO below VALUES (20), (120)", 100, "",
		},
		"a view":    {"CREATE VIEW above AS SELECT * FROM odd_1", 100, ""},
		"a trigger": {"CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF OLD.id = 20 THEN RAISE ''held''; END IF; RETURN OLD; END'; CREATE TRIGGER hold BEFORE DELETE ON odd FOR EACH ROW EXECUTE FUNCTION hold()", 99, "20"},
	} {
		for _, how := range []string{"drop", "detach"} {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				if name == "a view" && how == "detach" {
					return // that does no harm
				}
				c := newCleaning(t, migrated)
				c.exec(t, tables+odd.ddl)
				r := c.newRun(t, oddJob(t, retention.Rule{SQL: goneRows}), map[string]any{"partitions": how})
				batches, err := r.start(t.Context())
				for n, done := 0, false; err == nil && !done; n++ {
					require.Less(t, n, 200, "the run does not get on")
					done, err = r.next(t.Context(), batches, nil)
				}
				require.NoError(t, err)
				require.Equal(t, odd.rows, r.targets["odd"].Rows)
				note := "odd_1 stayed, its rows were deleted: the partition cannot be taken out of its table: "
				if name == "a trigger" {
					note = "every row of odd_1 goes, one by one, so that the trigger hold fires"
				}
				require.Contains(t, r.targets["odd"].Note, note)
				require.Equal(t, odd.left, c.ids(t, "odd_1"))
				require.Equal(t, int64(2), c.count(t, "pg_inherits WHERE inhparent = 'odd'::regclass"))
				require.Equal(t, int64(100), c.count(t, "odd_2"))
			})
		}
	}
}
