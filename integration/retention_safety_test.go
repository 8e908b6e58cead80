package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cleanup"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// What keeps a wrong rule, or a right one in the wrong place, from doing harm.

// as is the same database for a role that may do everything with all tables, but owns
// none. The role belongs to the test alone.
func (c *cleaning) as(t *testing.T, role string) *cleaning {
	t.Helper()
	c.exec(t, fmt.Sprintf(`CREATE ROLE %[1]s; GRANT USAGE ON SCHEMA scheduler TO %[1]s;
		GRANT SELECT, INSERT, DELETE, UPDATE ON ALL TABLES IN SCHEMA scheduler TO %[1]s;
		GRANT SELECT, INSERT, DELETE, UPDATE ON ALL TABLES IN SCHEMA public TO %[1]s`, role))
	t.Cleanup(func() {
		_, err := c.pool.Exec(context.WithoutCancel(t.Context()), fmt.Sprintf("DROP OWNED BY %[1]s; DROP ROLE %[1]s", role))
		require.NoError(t, err)
	})
	config := c.pool.Config()
	config.ConnConfig.RuntimeParams["role"] = role
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return &cleaning{pool: pool, schema: c.schema, sent: c.sent}
}

// Rows that a policy hides would look as if they were not there: an anti-join would
// find no partner, and a cleanup of all that it sees would be taken for a cleanup of all.
func TestCleanupRefusesPoliciesThatHideRows(t *testing.T) {
	t.Parallel()
	const partners = "CREATE TABLE partners (id int PRIMARY KEY); INSERT INTO partners SELECT id FROM odd;"
	const hide = "ALTER TABLE %[1]s ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON %[1]s USING (id > 150)"
	const orphans = "SELECT t.ctid FROM {table} t WHERE NOT EXISTS (SELECT FROM partners p WHERE p.id = t.id)"
	for name, odd := range map[string]struct {
		table string
		rule  retention.Rule
	}{
		"its table":                       {"odd", retention.Rule{SQL: goneRows}},
		"its table, updates":              {"odd", retention.Rule{SQL: openRows, Set: closeRow}},
		"the other table of an anti join": {"partners", retention.Rule{SQL: orphans}},
		"the other table, updates":        {"partners", retention.Rule{SQL: orphans + " AND t.state = 'open'", Set: closeRow}},
		"a table of a join":               {"partners", retention.Rule{SQL: "SELECT t.ctid FROM {table} t LEFT JOIN partners p USING (id) WHERE p.id IS NULL"}},
		"the archive":                     {"archive", retention.Rule{SQL: goneRows, ArchiveTable: "archive"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newOdd(t, 110, 200)
			c.exec(t, partners+"CREATE TABLE archive (LIKE odd)")
			limited := c.as(t, "hidden_"+fetch[string](t, c, "SELECT substr(md5(current_database() || $1), 1, 20)", name))
			c.exec(t, fmt.Sprintf(hide, odd.table))
			job := oddJob(t, odd.rule)
			for _, r := range []*ledgerRun{c.newRun(t, job, nil), c.newDryRun(t, job, nil)} {
				r.c = limited
				if odd.table == "archive" && r.dryRun {
					continue
				}
				err := r.work(t.Context())
				require.ErrorContains(t, err, `target "odd" (table odd): `)
				require.ErrorContains(t, err, "rows that a policy hides would look as if they were not there: give the scheduler's role BYPASSRLS")
				require.Zero(t, r.targets.Rows())
			}
			require.Equal(t, int64(200), c.count(t, "odd WHERE state = 'open'"))
			require.Zero(t, c.count(t, "archive"))
			if odd.table != "archive" { // only a batch finds that out
				require.Zero(t, c.count(t, "scheduler.retention_candidates"))
			}
		})
	}
}

// The mark must not be taken below ids that a policy hides, either.
func TestCleanupRefusesPoliciesOfAMarksTable(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	limited := c.as(t, "hidden_"+fetch[string](t, c, "SELECT substr(md5(current_database()), 1, 20)"))
	c.exec(t, "ALTER TABLE task_messages ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON task_messages USING (false)")
	contexts := c.count(t, "user_contexts")
	for _, r := range []*ledgerRun{c.newRun(t, cleanup.EmptyContexts(), nil), c.newDryRun(t, cleanup.EmptyContexts(), nil)} {
		r.c = limited
		require.ErrorContains(t, r.work(t.Context()), "give the scheduler's role BYPASSRLS")
	}
	require.Equal(t, contexts, c.count(t, "user_contexts"))
}

// Each row that goes makes a foreign key look for those that refer to it.
func TestCleanupAsksForTheIndexOfAForeignKey(t *testing.T) {
	t.Parallel()
	const (
		below = "CREATE TABLE below (id serial, odd_id int REFERENCES odd %s, seen int, pad text DEFAULT repeat('x', 500)) WITH (fillfactor = 10);" +
			"INSERT INTO below (odd_id) SELECT 2001 + n %% 2000 FROM generate_series(1, 1500) n;"
		under = "CREATE TABLE middle (id int PRIMARY KEY REFERENCES odd ON DELETE CASCADE); INSERT INTO middle SELECT id FROM odd;" +
			"CREATE TABLE below (id serial, odd_id int REFERENCES middle ON DELETE CASCADE, pad text DEFAULT repeat('x', 500)) WITH (fillfactor = 10);" +
			"INSERT INTO below (odd_id) SELECT 2001 + n % 2000 FROM generate_series(1, 1500) n;"
		pair = "CREATE UNIQUE INDEX two ON odd (id, state); CREATE TABLE below (id serial, odd_id int, state text DEFAULT 'open', pad text DEFAULT repeat('x', 500)," +
			"FOREIGN KEY (odd_id, state) REFERENCES odd (id, state)) WITH (fillfactor = 10); INSERT INTO below (odd_id) SELECT 2001 + n % 2000 FROM generate_series(1, 1500) n;"
		quoted = `CREATE TABLE "Be low" (id serial, "Odd" int REFERENCES odd, pad text DEFAULT repeat('x', 500)) WITH (fillfactor = 10); INSERT INTO "Be low" ("Odd") SELECT 2001 + n % 2000 FROM generate_series(1, 1500) n;`
	)
	noAction := fmt.Sprintf(below, "")
	for name, odd := range map[string]struct {
		ddl     string
		blocked string // by what index this would not be; empty: it is not blocked
	}{
		"no index":                            {noAction, "below (odd_id)"},
		"no index, cascade":                   {fmt.Sprintf(below, "ON DELETE CASCADE"), "below (odd_id)"},
		"no index, set null":                  {fmt.Sprintf(below, "ON DELETE SET NULL"), "below (odd_id)"},
		"no index, two levels below":          {under, "below (odd_id)"},
		"no index, two columns":               {pair, "below (odd_id, state)"},
		"no index, quoted":                    {quoted, `"Be low" ("Odd")`},
		"an index":                            {noAction + "CREATE INDEX ON below (odd_id)", ""},
		"an index of more columns":            {noAction + "CREATE INDEX ON below (odd_id, seen)", ""},
		"it is second in an index":            {noAction + "CREATE INDEX ON below (seen, odd_id)", "below (odd_id)"},
		"a hash index":                        {noAction + "CREATE INDEX ON below USING hash (odd_id)", ""},
		"a BRIN index":                        {noAction + "CREATE INDEX ON below USING brin (odd_id)", "below (odd_id)"},
		"an index where it is not null":       {noAction + "CREATE INDEX ON below (odd_id) WHERE odd_id IS NOT NULL", ""},
		"the same, quoted":                    {quoted + `CREATE INDEX ON "Be low" ("Odd") WHERE "Odd" IS NOT NULL`, ""},
		"an index where another is not null":  {noAction + "CREATE INDEX ON below (odd_id) WHERE seen IS NOT NULL", "below (odd_id)"},
		"an index where it is something":      {noAction + "CREATE INDEX ON below (odd_id) WHERE odd_id > 3000", "below (odd_id)"},
		"an index on two columns, the second": {pair + "CREATE INDEX ON below (state)", ""},
		"two levels below, an index":          {under + "CREATE INDEX ON below (odd_id)", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newOdd(t, 2000, 4000)
			c.exec(t, odd.ddl)
			job := oddJob(t, retention.Rule{SQL: goneRows})
			if odd.blocked != "" {
				err := c.newRun(t, job, nil).work(t.Context())
				require.True(t, jobs.IsBlocked(err), "%v", err)
				require.ErrorContains(t, err, `target "odd" (table odd): each of 2000 rows would make the foreign key `)
				create := "CREATE INDEX CONCURRENTLY ON " + odd.blocked
				require.ErrorContains(t, err, create)
				require.Zero(t, c.count(t, "scheduler.retention_candidates"))
				require.Equal(t, int64(2000), c.count(t, "odd WHERE gone"))
				dry := c.newDryRun(t, job, nil).mustWork(t)
				require.Equal(t, int64(2000), dry["odd"].Rows)
				require.Contains(t, dry["odd"].Note, "a real run would be blocked: each of 2000 rows")
				c.exec(t, create)
			}
			require.Equal(t, int64(2000), c.newRun(t, job, nil).mustWork(t)["odd"].Rows)
		})
	}
}

// statementRE is the SQL that a message tells to run.
var statementRE = regexp.MustCompile(`let it through once: (SELECT .*\))$`)

// A wrong rule, which names everything, is stopped. What the message says lets it
// through.
func TestCleanupStopsARuleThatNamesEverything(t *testing.T) {
	t.Parallel()
	job, err := retention.New(retention.Config{
		Definition: jobs.Definition{Name: "odd", Schedule: "@yearly", Parameters: []jobs.Parameter{{Name: "who", Type: jobs.TypeString, Default: ""}}},
		Rules:      []retention.Rule{{Target: "odd", Table: "odd", SQL: "SELECT t.ctid FROM {table} t WHERE t.state <> @who"}},
	})
	require.NoError(t, err)
	registry := testRegistry()
	require.NoError(t, registry.Add(job))
	db := started(t, scheduler.Config{Registry: registry, BootstrapJobs: []string{}})
	exec1(t, db, fmt.Sprintf(oddTable, 1100, 1100))
	for asked, rows := range map[string]string{
		`{"who": "it's nobody", "batch_time": "70ms"}`: "1100 of the 1100 rows of odd would be changed, and max_share is 0.9",
		`{"who": "nobody", "max_rows": 1000}`:          "1100 rows would be changed, and max_rows is 1000",
		`{"who": "nobody", "max_share": 0}`:            "1100 of the 1100 rows of odd would be changed, and max_share is 0",
	} {
		run := scalar[int64](t, db, "SELECT scheduler.run_now('odd', $1::jsonb)", asked)
		waitStatus(t, db, run, jobs.StatusBlocked)
		text := scalar[string](t, db, "SELECT error FROM scheduler.runs WHERE id = $1", run)
		require.Contains(t, text, rows)
		require.Contains(t, text, "Look at what they are: SELECT scheduler.run_now('odd', '{")
		require.Equal(t, int64(1100), scalar[int64](t, db, "SELECT count(*) FROM odd"))
		require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM scheduler.retention_candidates"))

		dryCall := regexp.MustCompile(`Look at what they are: (SELECT .*dry_run => true\))`).FindStringSubmatch(text)
		require.NotNil(t, dryCall, text)
		dry := scalar[int64](t, db, dryCall[1])
		waitStatus(t, db, dry, jobs.StatusSuccess)
		require.Contains(t, scalar[string](t, db, "SELECT targets -> 'odd' ->> 'note' FROM scheduler.runs WHERE id = $1", dry), "a real run would be blocked: "+rows)

		call := statementRE.FindStringSubmatch(text)
		require.NotNil(t, call, text)
		if strings.Contains(asked, "max_rows") {
			// It is past the other bound, too, which the next message says.
			run = scalar[int64](t, db, call[1])
			waitStatus(t, db, run, jobs.StatusBlocked)
			call = statementRE.FindStringSubmatch(scalar[string](t, db, "SELECT error FROM scheduler.runs WHERE id = $1", run))
			require.NotNil(t, call)
		}
		run = scalar[int64](t, db, call[1])
		waitStatus(t, db, run, jobs.StatusSuccess)
		given := scalar[string](t, db, "SELECT parameters::text FROM scheduler.runs WHERE id = $1", run)
		var parameters map[string]any
		require.NoError(t, json.Unmarshal([]byte(given), &parameters))
		var askedFor map[string]any
		require.NoError(t, json.Unmarshal([]byte(asked), &askedFor))
		require.Equal(t, askedFor["who"], parameters["who"])
		require.InDelta(t, 1, parameters["max_share"], 0)
		require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM odd"))
		exec1(t, db, "INSERT INTO odd SELECT n, true FROM generate_series(1, 1100) n")
	}
	// Only once.
	run := scalar[int64](t, db, "SELECT scheduler.run_now('odd')")
	waitStatus(t, db, run, jobs.StatusBlocked)
}

func TestCleanupBounds(t *testing.T) {
	t.Parallel()
	c := newOdd(t, 1000, 1100)
	remove, update := oddJob(t, retention.Rule{SQL: goneRows}), oddJob(t, retention.Rule{SQL: openRows, Set: closeRow})
	dryNote := func(job *retention.Job, given map[string]any) string {
		return c.newDryRun(t, job, given).mustWork(t)["odd"].Note
	}
	blocked := func(job *retention.Job, given map[string]any) {
		t.Helper()
		err := c.newRun(t, job, given).work(t.Context())
		require.True(t, jobs.IsBlocked(err), "%v", err)
		require.Zero(t, c.count(t, "scheduler.retention_candidates"))
		require.Equal(t, int64(1000), c.count(t, "odd WHERE gone AND state = 'open'"))
		require.Contains(t, dryNote(job, given), "a real run would be blocked")
	}
	blocked(remove, nil)
	blocked(remove, map[string]any{"max_share": 0.5})
	blocked(remove, map[string]any{"max_rows": 999, "max_share": 1})
	blocked(update, map[string]any{"max_rows": 999})
	blocked(update, map[string]any{"max_share": 0.9})
	require.Empty(t, dryNote(remove, map[string]any{"max_share": 0.91}))
	require.Empty(t, dryNote(remove, map[string]any{"max_rows": 1000, "max_share": 1}))
	require.Empty(t, dryNote(update, nil), "a job that updates has no bound of its own")

	// The estimate is far off: only a count tells.
	c.exec(t, "UPDATE pg_class SET reltuples = 1e9 WHERE oid = 'odd'::regclass")
	blocked(remove, nil)
	c.exec(t, "UPDATE odd SET pad = repeat('y', 99) WHERE NOT gone; UPDATE odd SET pad = repeat('y', 99) WHERE gone; ANALYZE odd")
	c.exec(t, "UPDATE odd SET pad = repeat('x', 99); UPDATE odd SET pad = repeat('y', 98); UPDATE odd SET pad = repeat('x', 97)")
	blocked(remove, nil)

	// One row less, and the share does not count.
	c.exec(t, "DELETE FROM odd WHERE id = 1 OR NOT gone")
	require.Empty(t, dryNote(remove, nil))
	require.Equal(t, int64(999), c.newRun(t, remove, nil).mustWork(t)["odd"].Rows)
}

// Two rules that name the same rows of a table take each of them once; two that name
// different ones take more together than each by itself.
func TestCleanupBoundsOfSeveralRulesOnATable(t *testing.T) {
	t.Parallel()
	two := func(first, second string) *retention.Job {
		return oddJob(t, retention.Rule{Target: "first", SQL: "SELECT t.ctid FROM {table} t WHERE " + first},
			retention.Rule{Target: "second", SQL: "SELECT t.ctid FROM {table} t WHERE " + second})
	}
	c := newOdd(t, 1200, 2400)
	same := two("gone", "t.id <= 1300")
	for _, given := range []map[string]any{nil, {"max_rows": 1300}} {
		for target, one := range c.newDryRun(t, same, given).mustWork(t) {
			require.Empty(t, one.Note, target)
		}
	}
	apart := two("gone", "t.id > 1210")
	err := c.newRun(t, apart, nil).work(t.Context())
	require.True(t, jobs.IsBlocked(err), "%v", err)
	require.ErrorContains(t, err, "2390 of the 2400 rows of odd")
	require.Contains(t, c.newDryRun(t, apart, nil).mustWork(t)["second"].Note, "a real run would be blocked: 2390 of the 2400 rows of odd")
	require.Equal(t, int64(2400), c.count(t, "odd"))

	targets := c.newRun(t, same, map[string]any{"max_rows": 1300}).mustWork(t)
	require.Equal(t, map[string]int64{"first": 1200, "second": 100}, rowsOf(targets))
}

// Every row that goes is in the archive as it was, once, though batches and attempts die.
func TestCleanupArchives(t *testing.T) {
	t.Parallel()
	const odd = `ALTER TABLE odd ADD COLUMN "Odd" numeric DEFAULT 1.50, ADD COLUMN t jsonb DEFAULT '{"a": null}', ADD COLUMN at timestamptz DEFAULT 'infinity',
		ADD COLUMN list text[] DEFAULT '{a,NULL}', ADD COLUMN raw bytea DEFAULT '\x00ff', ADD COLUMN dropped int, ADD COLUMN length int GENERATED ALWAYS AS (length(pad)) STORED;
		ALTER TABLE odd DROP COLUMN dropped; CREATE TABLE before AS SELECT * FROM odd;
		CREATE TABLE archive (kept_by text DEFAULT 'us', LIKE odd)`
	const slow = " AND NOT EXISTS (SELECT FROM before b WHERE b.id = -t.id)"
	for name, test := range map[string]struct {
		rule  retention.Rule
		given map[string]any
	}{
		"json":                         {retention.Rule{SQL: goneRows}, map[string]any{"archive": "json"}},
		"json, two statements":         {retention.Rule{SQL: goneRows + slow}, map[string]any{"archive": "json"}},
		"json, locked rows":            {retention.Rule{SQL: goneRows + " AND pg_try_advisory_xact_lock(1)"}, map[string]any{"archive": "json"}},
		"table":                        {retention.Rule{SQL: goneRows, ArchiveTable: "archive"}, nil},
		"table, two statements":        {retention.Rule{SQL: goneRows + slow, ArchiveTable: "archive"}, nil},
		"table, whatever archive says": {retention.Rule{SQL: goneRows, ArchiveTable: "archive"}, map[string]any{"archive": "json"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newOdd(t, 700, 900)
			c.exec(t, odd)
			r := c.newRun(t, small(t, oddJob(t, test.rule), 50), test.given)
			for done := false; !done; {
				batches, err := r.start(t.Context())
				require.NoError(t, err)
				_, err = r.next(t.Context(), batches, func(pgx.Tx, *jobs.Batch) error { return errKilled })
				require.ErrorIs(t, err, errKilled)
				batches, err = r.start(t.Context())
				require.NoError(t, err)
				for n := 0; n < 3 && !done; n++ {
					done, err = r.next(t.Context(), batches, nil)
					require.NoError(t, err)
				}
			}
			require.Equal(t, int64(700), r.targets["odd"].Rows)
			require.Zero(t, c.count(t, "odd WHERE gone"))
			if test.rule.ArchiveTable == "" {
				require.Equal(t, int64(700), c.count(t, "scheduler.archived_rows"))
				require.Equal(t, int64(700), c.count(t, "scheduler.archived_rows a JOIN before b ON a.row = to_jsonb(b.*) WHERE b.gone"))
				require.Equal(t, int64(700), c.count(t, fmt.Sprintf("scheduler.archived_rows WHERE run_id = %d AND job_name = 'odd' AND target = 'odd' AND table_name = 'odd'", r.id)))
			} else {
				require.Zero(t, c.count(t, "scheduler.archived_rows"))
				require.Equal(t, int64(700), c.count(t, "archive"))
				require.Equal(t, int64(700), c.count(t, "archive a JOIN before b USING (id) WHERE b.gone AND a.kept_by = 'us' AND to_jsonb(a.*) - 'kept_by' = to_jsonb(b.*)"))
			}
		})
	}
}

// What the archive does not take stays.
func TestCleanupLosesNothingToAnArchiveThatRefuses(t *testing.T) {
	t.Parallel()
	refusedBy := func(n int, text string) string {
		return fmt.Sprintf("%d refused by the database, such as: %s", n, text)
	}
	for name, test := range map[string]struct {
		archive string
		fails   string
		note    string
		left    string
	}{
		"has some of them": {
			archive: "CREATE TABLE archive (LIKE odd, PRIMARY KEY (id)); INSERT INTO archive SELECT * FROM odd WHERE id IN (20, 40, 60)",
			note:    refusedBy(3, `change rows: ERROR: duplicate key value violates unique constraint "archive_pkey" (SQLSTATE 23505)`), left: "20 40 60",
		},
		"has some of them, deferred": {
			archive: "CREATE TABLE archive (LIKE odd, PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED); INSERT INTO archive SELECT * FROM odd WHERE id IN (20, 40, 60)",
			note:    refusedBy(3, `check the deferred constraints: ERROR: duplicate key value violates unique constraint "archive_pkey" (SQLSTATE 23505)`), left: "20 40 60",
		},
		"has a check":    {archive: "CREATE TABLE archive (LIKE odd, CHECK (id NOT IN (20, 40)))", note: refusedBy(2, `change rows: ERROR: new row for relation "archive"`), left: "20 40"},
		"lacks a column": {archive: "CREATE TABLE archive (id int, gone bool, state text)", fails: "archive lacks a column of odd: ALTER TABLE archive ADD COLUMN pad text"},
		"wants more":     {archive: "CREATE TABLE archive (LIKE odd, more int NOT NULL)", fails: `null value in column "more"`},
		"other types":    {archive: "CREATE TABLE archive (id bool, gone bool, state text, pad text)", fails: `column "id" is of type boolean`},
		"drops rows, by a trigger": {
			archive: `CREATE TABLE archive (LIKE odd); CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN IF NEW.id IN (20, 40) THEN RETURN NULL; END IF; RETURN NEW; END';
				CREATE TRIGGER lose BEFORE INSERT ON archive FOR EACH ROW EXECUTE FUNCTION lose()`,
			note: refusedBy(2, "change rows: the archive has not taken every row"), left: "20 40",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newOdd(t, 110, 200)
			c.exec(t, test.archive)
			archived := c.count(t, "archive")
			r := c.newRun(t, oddJob(t, retention.Rule{SQL: goneRows, ArchiveTable: "archive"}), nil)
			err := r.work(t.Context())
			if test.fails != "" {
				require.ErrorContains(t, err, test.fails)
				require.Equal(t, int64(200), c.count(t, "odd"))
				require.Equal(t, archived, c.count(t, "archive"))
				return
			}
			require.NoError(t, err)
			left := len(strings.Fields(test.left))
			require.Equal(t, test.left, c.ids(t, "odd WHERE gone"))
			require.Equal(t, int64(110-left), r.targets["odd"].Rows)
			require.Contains(t, r.targets["odd"].Note, test.note)
			require.Equal(t, archived+int64(110-left), c.count(t, "archive"))
			require.Equal(t, int64(90), c.count(t, "odd WHERE NOT gone"))
		})
	}
	t.Run("is not there", func(t *testing.T) {
		t.Parallel()
		c := newOdd(t, 110, 200)
		targets := c.newRun(t, oddJob(t, retention.Rule{SQL: goneRows, ArchiveTable: "archive"}), nil).mustWork(t)
		require.Equal(t, jobs.Target{Absent: true, Note: "not in this database: archive"}, targets["odd"])
		require.Equal(t, int64(200), c.count(t, "odd"))
	})
}

// What a foreign key takes along would not be archived.
func TestCleanupDoesNotArchiveAParentWithoutItsChildren(t *testing.T) {
	t.Parallel()
	for _, archive := range []retention.Rule{{SQL: goneRows}, {SQL: goneRows, ArchiveTable: "archive"}} {
		c := newOdd(t, 110, 200)
		c.exec(t, `CREATE TABLE archive (LIKE odd); CREATE TABLE middle (id int PRIMARY KEY, odd_id int REFERENCES odd ON DELETE CASCADE);
			CREATE TABLE below (id int REFERENCES middle ON DELETE CASCADE); CREATE INDEX ON middle (odd_id); CREATE INDEX ON below (id)`)
		job := oddJob(t, archive)
		given := map[string]any{"archive": "json"}
		for _, fill := range []string{"SELECT 'there are none, which may not stay so'", "INSERT INTO middle VALUES (1, 1)", "INSERT INTO below VALUES (1)"} {
			c.exec(t, fill)
			err := c.newRun(t, job, given).work(t.Context())
			require.True(t, jobs.IsBlocked(err), "%v", err)
			require.ErrorContains(t, err, "rows of middle would go along (foreign key middle_odd_id_fkey cascades) and are not archived")
			require.Contains(t, c.newDryRun(t, job, given).mustWork(t)["odd"].Note, "a real run would be blocked: rows of middle would go along")
			require.Zero(t, c.count(t, "scheduler.retention_candidates"))
		}
		require.Equal(t, int64(200), c.count(t, "odd"))
		require.Zero(t, c.count(t, "scheduler.archived_rows")+c.count(t, "archive"))
	}
}
