package integration

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/declared"
)

// billing is a schema as an application might have it.
const billing = `
CREATE SCHEMA billing;
CREATE TABLE billing.invoices (id bigint, paid_at timestamptz, disputed bool NOT NULL DEFAULT false, archived bool NOT NULL DEFAULT false,
	amount numeric(12, 2), shout text GENERATED ALWAYS AS ('x' || amount::text) STORED);
CREATE TABLE billing.reminders (invoice bigint); CREATE INDEX ON billing.reminders (invoice);
CREATE TABLE billing.invoices_kept (LIKE billing.invoices INCLUDING ALL, kept_at timestamptz DEFAULT now());
CREATE TABLE billing.invoices_short (id bigint, paid_at timestamptz);
CREATE TABLE billing.events (paid_at timestamptz, disputed bool) PARTITION BY RANGE (paid_at);
CREATE TABLE billing.events_all PARTITION OF billing.events DEFAULT;
CREATE TABLE billing.secrets (id int, at timestamptz);
CREATE TABLE billing."Größe" ("select" int, "a""b" timestamptz);
CREATE VIEW billing.paid AS SELECT * FROM billing.invoices WHERE paid_at IS NOT NULL;
CREATE MATERIALIZED VIEW billing.sums AS SELECT sum(amount) FROM billing.invoices;
CREATE FUNCTION billing.tick() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN INSERT INTO billing.reminders VALUES (1); RETURN true; END $$;
CREATE FUNCTION billing.sly() RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN INSERT INTO billing.reminders VALUES (1); RETURN true; END $$;
INSERT INTO billing.invoices SELECT n, now() - n * interval '1 day', n % 10 = 0, false, n FROM generate_series(1, 1000) n;
INSERT INTO billing.reminders SELECT 900;
INSERT INTO billing."Größe" SELECT n, now() - n * interval '1 day' FROM generate_series(1, 100) n;
ANALYZE;
GRANT USAGE ON SCHEMA billing TO scheduler_serve;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA billing TO scheduler_serve;
REVOKE ALL ON billing.secrets FROM scheduler_serve`

// checkable is a job that can be asked whether it fits a database.
type checkable interface {
	jobs.BatchJob
	Check(ctx context.Context, run *jobs.Run) error
}

// check asks a job whether it fits, as the role that works it.
func (c *cleaning) check(t *testing.T, job checkable) error {
	t.Helper()
	parameters, err := jobs.Resolve(job.Definition())
	require.NoError(t, err)
	tx, err := c.worker().BeginTx(t.Context(), pgx.TxOptions{AccessMode: pgx.ReadOnly})
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback(t.Context())) }()
	run := &jobs.Run{Job: job.Definition().Name, Schema: c.schema, Tx: tx, Parameters: parameters, Logger: slog.New(slog.DiscardHandler)}
	require.NoError(t, tx.QueryRow(t.Context(), "SELECT now()").Scan(&run.Now))
	err = job.Check(t.Context(), run)
	var one int
	require.NoError(t, tx.QueryRow(t.Context(), "SELECT 1").Scan(&one), "the transaction is as it was")
	return err
}

func oldInvoices(change func(*declared.RetentionConfig)) declared.RetentionConfig {
	config := declared.RetentionConfig{
		Definition: jobs.Definition{
			Name: "old_invoices", Schedule: "0 4 * * *",
			Parameters: []jobs.Parameter{{Name: "keep_days", Type: jobs.TypeInteger, Default: 365}},
		},
		Table:     "billing.invoices",
		Condition: "paid_at < @now - make_interval(days => @keep_days) AND NOT disputed",
	}
	if change != nil {
		change(&config)
	}
	return config
}

func TestDeclaredRetentionFits(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, migrated)
	c.exec(t, billing)
	for name, change := range map[string]func(*declared.RetentionConfig){
		"plain":       nil,
		"alias":       func(r *declared.RetentionConfig) { r.Condition = "t." + r.Condition },
		"json":        func(r *declared.RetentionConfig) { r.Archive = "json" },
		"archive":     func(r *declared.RetentionConfig) { r.Archive = "billing.invoices_kept" },
		"set":         func(r *declared.RetentionConfig) { r.Set = "archived = true"; r.Condition += " AND NOT archived" },
		"set in turn": func(r *declared.RetentionConfig) { r.Set = "paid_at = @now" },
		"others": func(r *declared.RetentionConfig) {
			r.Condition += " AND NOT EXISTS (SELECT FROM billing.reminders r WHERE r.invoice = t.id)"
		},
		"a comment":   func(r *declared.RetentionConfig) { r.Condition += " -- those that nobody disputes" },
		"partitioned": func(r *declared.RetentionConfig) { r.Table = "billing.events" },
		"not there":   func(r *declared.RetentionConfig) { r.Table, r.Optional = "billing.bills", true },
		"or":          func(r *declared.RetentionConfig) { r.Condition += " OR archived" },
		"odd names": func(r *declared.RetentionConfig) {
			r.Table, r.Condition = `billing."Größe"`, `"select" > @keep_days OR "a""b" < @now`
		},
		"set to a sum": func(r *declared.RetentionConfig) {
			r.Set = "amount = 0, archived = (SELECT true)"
			r.Condition += " AND NOT archived AND amount <> 0"
		},
	} {
		job, err := declared.Retention(oldInvoices(change))
		require.NoError(t, err, name)
		require.NoError(t, c.check(t, job), name)
	}
	require.Equal(t, int64(1000), c.count(t, "billing.invoices"))
}

func TestDeclaredRetentionIsRefused(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, migrated)
	c.exec(t, billing)
	for name, tt := range map[string]struct {
		change func(*declared.RetentionConfig)
		field  string
		says   string
		// at is what stands at the place that the error points at.
		at string
	}{
		"no table":          {func(r *declared.RetentionConfig) { r.Table = "billing.bills" }, "table", "there is no table billing.bills", ""},
		"other letters":     {func(r *declared.RetentionConfig) { r.Table = `billing.größe` }, "table", `was billing."Größe" meant?`, ""},
		"no name":           {func(r *declared.RetentionConfig) { r.Table = "billing.invoices; DROP TABLE x" }, "table", "no table's name", ""},
		"two tables":        {func(r *declared.RetentionConfig) { r.Table = "billing.invoices, billing.secrets" }, "table", "no table's name", ""},
		"view":              {func(r *declared.RetentionConfig) { r.Table = "billing.paid" }, "table", "a view: name the table behind it", ""},
		"materialized view": {func(r *declared.RetentionConfig) { r.Table = "billing.sums" }, "table", "a materialized view", ""},
		"catalog":           {func(r *declared.RetentionConfig) { r.Table = "pg_class" }, "table", "belongs to the server itself", ""},
		"ours":              {func(r *declared.RetentionConfig) { r.Table = "scheduler.job_runs" }, "table", "belongs to the scheduler", ""},
		"privileges": {func(r *declared.RetentionConfig) {
			r.Table, r.Condition = "billing.secrets", "at < @now AND id < @keep_days"
		}, "condition", "permission denied for table secrets (SQLSTATE 42501): grant the scheduler's role SELECT", ""},
		"column": {func(r *declared.RetentionConfig) {
			r.Condition = "paid_at < @now - make_interval(days => @keep_days)\n AND NOT dissputed"
		}, "condition", `column "dissputed" does not exist`, "dissputed"},
		"syntax":          {func(r *declared.RetentionConfig) { r.Condition = "id > @keep_days AND OR disputed" }, "condition", `syntax error at or near "OR"`, "OR disputed"},
		"no condition":    {func(r *declared.RetentionConfig) { r.Condition = "id + @keep_days" }, "condition", "has the type int8", ""},
		"type":            {func(r *declared.RetentionConfig) { r.Condition = "paid_at < @keep_days" }, "condition", "CAST(@text AS date)", ""},
		"escape":          {func(r *declared.RetentionConfig) { r.Condition = "id > @keep_days) OR (true" }, "condition", "syntax error", ") OR (true"},
		"escape twice":    {func(r *declared.RetentionConfig) { r.Condition = "id > @keep_days)) OR ((true" }, "condition", "syntax error", ")) OR ((true"},
		"escape a list":   {func(r *declared.RetentionConfig) { r.Condition = "id > @keep_days], ARRAY[true" }, "condition", "more than one condition", ""},
		"escape both":     {func(r *declared.RetentionConfig) { r.Condition = "id > @keep_days]) OR ([true" }, "condition", "syntax error", ""},
		"two statements":  {func(r *declared.RetentionConfig) { r.Condition = "id > @keep_days; DELETE FROM billing.reminders" }, "condition", "syntax error", "; DELETE"},
		"open comment":    {func(r *declared.RetentionConfig) { r.Condition = "id > @keep_days /* " }, "condition", "unterminated", ""},
		"open string":     {func(r *declared.RetentionConfig) { r.Condition = "id > @keep_days AND shout = 'x" }, "condition", "unterminated", ""},
		"order":           {func(r *declared.RetentionConfig) { r.Condition = "id > @keep_days ORDER BY id LIMIT 1" }, "condition", "syntax error", "ORDER BY"},
		"aggregate":       {func(r *declared.RetentionConfig) { r.Condition = "max(id) > @keep_days" }, "condition", "aggregate", ""},
		"select":          {func(r *declared.RetentionConfig) { r.Condition = "SELECT id > @keep_days" }, "condition", "syntax error", ""},
		"random":          {func(r *declared.RetentionConfig) { r.Condition += " AND random() < 0.5" }, "condition", "random, which is VOLATILE", ""},
		"clock":           {func(r *declared.RetentionConfig) { r.Condition = "id > @keep_days AND paid_at < clock_timestamp()" }, "condition", "VOLATILE", ""},
		"effects":         {func(r *declared.RetentionConfig) { r.Condition += " AND billing.tick()" }, "condition", "VOLATILE", ""},
		"hidden effects":  {func(r *declared.RetentionConfig) { r.Condition += " AND billing.sly()" }, "condition", "not allowed in a non-volatile function", ""},
		"again":           {func(r *declared.RetentionConfig) { r.Set = "archived = true" }, "set", "named by the condition again", ""},
		"set column":      {func(r *declared.RetentionConfig) { r.Set = "archieved = true" }, "set", `column "archieved"`, "archieved"},
		"set type":        {func(r *declared.RetentionConfig) { r.Set = "disputed = 7" }, "set", "is of type boolean", "7"},
		"set generated":   {func(r *declared.RetentionConfig) { r.Set = "shout = 'y'" }, "set", `"shout" can only be updated to DEFAULT`, ""},
		"set with where":  {func(r *declared.RetentionConfig) { r.Set = "disputed = true WHERE true OR" }, "set", "syntax error", ""},
		"set from":        {func(r *declared.RetentionConfig) { r.Set = "disputed = true FROM billing.reminders r" }, "set", "syntax error", ""},
		"no archive":      {func(r *declared.RetentionConfig) { r.Archive = "billing.gone" }, "archive", "CREATE TABLE billing.gone (LIKE billing.invoices INCLUDING ALL)", ""},
		"its own archive": {func(r *declared.RetentionConfig) { r.Archive = "billing.invoices" }, "archive", "is the table itself", ""},
		"short archive":   {func(r *declared.RetentionConfig) { r.Archive = "billing.invoices_short" }, "archive", "ADD COLUMN disputed boolean", ""},
	} {
		t.Run(name, func(t *testing.T) {
			config := oldInvoices(tt.change)
			job, err := declared.Retention(config)
			require.NoError(t, err)
			err = c.check(t, job)
			var refused *jobs.FieldError
			require.ErrorAs(t, err, &refused)
			require.Equal(t, "retention."+tt.field, refused.Field, err)
			require.ErrorContains(t, err, tt.says)
			if tt.at != "" {
				text := map[string]string{"condition": config.Condition, "set": config.Set}[tt.field]
				require.Positive(t, refused.Position)
				require.True(t, strings.HasPrefix(string([]rune(text)[refused.Position-1:]), tt.at), "at %q", string([]rune(text)[refused.Position-1:]))
			}
		})
	}
	require.Equal(t, int64(1), c.count(t, "billing.reminders"), "nothing was executed")
	require.Equal(t, int64(1000), c.count(t, "billing.invoices"))
}

// What is wrong without a database is refused without one.
func TestDeclaredRetentionIsIncomplete(t *testing.T) {
	t.Parallel()
	for says, change := range map[string]func(*declared.RetentionConfig){
		"retention.table: is empty":               func(r *declared.RetentionConfig) { r.Table = " " },
		"retention.condition: is empty":           func(r *declared.RetentionConfig) { r.Condition = "" },
		"retention.archive: is for rows":          func(r *declared.RetentionConfig) { r.Set, r.Archive = "archived = true", "json" },
		"retention.condition: holds a NUL":        func(r *declared.RetentionConfig) { r.Condition += "\x00" },
		"retention.condition: holds {table}":      func(r *declared.RetentionConfig) { r.Condition += " AND id IN (SELECT id FROM {table})" },
		"@since is not known":                     func(r *declared.RetentionConfig) { r.Condition = "paid_at < @since" },
		"retention.set: @since is not known":      func(r *declared.RetentionConfig) { r.Set = "paid_at = @since" },
		"retention.condition: @tick is not known": func(r *declared.RetentionConfig) { r.Condition += " AND paid_at < @tick" },
		"parameters.keep_days: neither":           func(r *declared.RetentionConfig) { r.Condition = "archived" },
		`parameter "max_rows": every cleanup`: func(r *declared.RetentionConfig) {
			r.Definition.Parameters[0].Name, r.Condition = "max_rows", "id < @max_rows"
		},
	} {
		_, err := declared.Retention(oldInvoices(change))
		require.ErrorContains(t, err, says)
	}
}

func TestDeclaredRetentionWorks(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, migrated)
	c.exec(t, billing)
	fitting := func(change func(*declared.RetentionConfig)) checkable {
		job, err := declared.Retention(oldInvoices(change))
		require.NoError(t, err)
		require.NoError(t, c.check(t, job))
		return job
	}
	set := fitting(func(r *declared.RetentionConfig) { r.Set = "archived = true"; r.Condition += " AND NOT archived" })
	require.Equal(t, map[string]int64{"invoices": 572}, rowsOf(c.newDryRun(t, set, nil).mustWork(t)))
	require.Equal(t, map[string]int64{"invoices": 572}, rowsOf(c.newRun(t, set, nil).mustWork(t)))
	require.Equal(t, int64(572), c.count(t, "billing.invoices WHERE archived"))
	require.Zero(t, c.newRun(t, set, nil).mustWork(t)["invoices"].Rows)

	remove := fitting(func(r *declared.RetentionConfig) {
		r.Archive = "billing.invoices_kept"
		r.Condition += " AND NOT EXISTS (SELECT FROM billing.reminders m WHERE m.invoice = t.id)"
	})
	err := c.newRun(t, remove, map[string]any{"max_rows": 100}).work(t.Context())
	require.True(t, jobs.IsBlocked(err), err)
	c.exec(t, "INSERT INTO billing.reminders VALUES (901)")
	run := c.newRun(t, remove, map[string]any{"keep_days": 500})
	require.Equal(t, map[string]int64{"invoices": 449}, rowsOf(run.mustWork(t)))
	require.Contains(t, run.targets["invoices"].Plan, "the rule looks at reminders, too")
	require.Equal(t, int64(449), c.count(t, "billing.invoices_kept"))

	absent := fitting(func(r *declared.RetentionConfig) { r.Table, r.Optional = "billing.bills", true })
	require.True(t, c.newRun(t, absent, nil).mustWork(t)["bills"].Absent)
}
