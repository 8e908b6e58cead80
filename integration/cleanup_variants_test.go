package integration

import (
	"context"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cleanup"
	"github.com/systempromptio/scheduler/jobs/retention"
	"github.com/systempromptio/scheduler/sql/platform"
)

// Installs differ: what is not there is reported, and never taken for empty.

func TestCleanupOfAnOlderInstall(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	require.NoError(t, platform.Older(t.Context(), c.pool))
	absent := func(table string) jobs.Target {
		return jobs.Target{Absent: true, Note: "not in this database: " + table}
	}
	for _, r := range []func(*testing.T, jobs.BatchJob, map[string]any) *ledgerRun{c.newDryRun, c.newRun} {
		require.Equal(t, map[string]int64{"contexts": 380}, rowsOf(r(t, cleanup.EmptyContexts(), nil).mustWork(t)))
		targets := r(t, cleanup.Database(), nil).mustWork(t)
		require.Equal(t, absent("oauth_state_bindings"), targets["state_bindings"])
		require.Equal(t, absent("oauth_jti_revocations"), targets["jti_revocations"])
		require.Equal(t, absent("id_jag_replay"), targets["id_jag_replays"])
		require.Equal(t, int64(300+600+150+180+120), targets.Rows())
	}
	require.Zero(t, c.count(t, "user_contexts WHERE context_id LIKE 'gone-%'"))
	require.Equal(t, int64(60+120+20+120+40), c.count(t, "user_contexts WHERE context_id LIKE 'kept-%'"))
}

func TestCleanupWithoutTables(t *testing.T) {
	t.Parallel()
	for drop, expected := range map[string]map[string]jobs.Target{
		// Without users nobody can tell an orphan: the logs stay.
		"users": {
			"orphaned_logs": {Absent: true, Note: "not in this database: users"},
			"old_logs":      {Rows: 600, Batches: 1},
		},
		"user_contexts": {
			"contexts":                {Absent: true, Note: "not in this database: user_contexts"},
			"orphaned_mcp_executions": {Absent: true, Note: "not in this database: user_contexts"},
		},
		"task_messages":        {"contexts": {Absent: true, Note: "not in this database: task_messages"}},
		"agent_tasks":          {"contexts": {Absent: true, Note: "not in this database: agent_tasks"}},
		"user_sessions":        {"sessions": {Absent: true, Note: "not in this database: user_sessions"}},
		"governance_decisions": {"contexts": {Rows: 450, Batches: 1}},
		"mcp_tool_executions": {
			"contexts":                {Rows: 450, Batches: 1},
			"orphaned_mcp_executions": {Absent: true, Note: "not in this database: mcp_tool_executions"},
		},
		"logs": {
			"orphaned_logs": {Absent: true, Note: "not in this database: logs"},
			"old_logs":      {Absent: true, Note: "not in this database: logs"},
			"auth_codes":    {Rows: 180, Batches: 1},
		},
	} {
		t.Run(drop, func(t *testing.T) {
			t.Parallel()
			c := newCleaning(t, platformSeeded)
			c.exec(t, "DROP TABLE "+drop+" CASCADE")
			targets := jobs.Targets{}
			for _, job := range platformJobs() {
				targets.Merge(c.newRun(t, job, nil).mustWork(t))
			}
			for name, target := range expected {
				got := targets[name]
				got.Batches, got.Plan = min(got.Batches, 1), ""
				require.Equal(t, target, got, name)
			}
		})
	}
}

func TestCleanupOfANarrowerTable(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	c.exec(t, "ALTER TABLE user_contexts DROP COLUMN kind")
	require.Equal(t, int64(410+30), c.newRun(t, cleanup.EmptyContexts(), nil).mustWork(t).Rows())
}

func TestCleanupParameters(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	rows := func(job jobs.BatchJob, given map[string]any) map[string]int64 {
		return rowsOf(c.newDryRun(t, job, given).mustWork(t))
	}
	require.InDelta(t, 375, rows(cleanup.InactiveSessions(), map[string]any{"inactive_hours": 6})["sessions"], 15, "one a minute, of 600")
	require.Equal(t, map[string]int64{"sessions": 0}, rows(cleanup.InactiveSessions(), map[string]any{"inactive_hours": 876_600}))
	require.Equal(t, map[string]int64{"contexts": 0}, rows(cleanup.EmptyContexts(), map[string]any{"retention_hours": 876_600}))

	own := rows(cleanup.Database(), map[string]any{"log_retention_days": 36_525, "system_user_ids": []any{"no-such-user-1"}})
	require.Zero(t, own["old_logs"])
	require.Equal(t, int64(290+300), own["orphaned_logs"], "without one of thirty, but with those of the system")
	none := rows(cleanup.Database(), map[string]any{"system_user_ids": []any{}})
	require.Equal(t, int64(300+300), none["orphaned_logs"])
	require.Equal(t, int64(450), none["old_logs"], "a row that two rules name is counted once")

	targets := c.newRun(t, cleanup.Database(), map[string]any{"mcp_executions": "keep", "system_user_ids": []any{}}).mustWork(t)
	require.Equal(t, jobs.Target{Note: "kept: mcp_executions is keep"}, targets["orphaned_mcp_executions"])
	require.Equal(t, int64(600), targets["orphaned_logs"].Rows)
	require.Equal(t, int64(450), targets["old_logs"].Rows)
	require.Equal(t, int64(150), c.count(t, "mcp_tool_executions WHERE mcp_execution_id LIKE 'gone-%'"))
}

// What one target did stays, though a later one fails.
func TestCleanupNamesTheTargetThatFails(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformSeeded)
	c := openCleaning(t, db.URL)
	c.exec(t, `CREATE ROLE limited_cleaner; GRANT USAGE ON SCHEMA scheduler TO limited_cleaner;
		GRANT SELECT, INSERT, DELETE, UPDATE ON ALL TABLES IN SCHEMA scheduler TO limited_cleaner;
		GRANT SELECT ON ALL TABLES IN SCHEMA public TO limited_cleaner;
		GRANT UPDATE, DELETE ON logs, mcp_tool_executions TO limited_cleaner`)
	t.Cleanup(func() {
		_, err := c.pool.Exec(context.WithoutCancel(t.Context()), "DROP OWNED BY limited_cleaner; DROP ROLE limited_cleaner")
		require.NoError(t, err)
	})
	config, err := pgxpool.ParseConfig(db.URL)
	require.NoError(t, err)
	config.ConnConfig.RuntimeParams["role"] = "limited_cleaner"
	limited, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer limited.Close()

	r := c.newRun(t, cleanup.Database(), nil)
	r.c = &cleaning{pool: limited, schema: c.schema}
	err = r.work(t.Context())
	require.ErrorContains(t, err, `target "auth_codes" (table oauth_auth_codes): change rows: ERROR: permission denied`)
	require.ErrorContains(t, err, "grant the scheduler's role")
	require.Equal(t, int64(300+600+150), r.targets.Rows())
	require.Equal(t, int64(150), r.targets["orphaned_mcp_executions"].Rows)
	require.Zero(t, c.count(t, "logs WHERE id LIKE 'gone-%'"))
	require.Equal(t, int64(180), c.count(t, "oauth_auth_codes WHERE code LIKE 'gone-%'"))

	c.exec(t, `GRANT UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO limited_cleaner;
		CREATE TABLE codes_gone (code text);
		CREATE FUNCTION keep_code() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO codes_gone VALUES (OLD.code); RETURN NULL; END';
		CREATE TRIGGER keep AFTER DELETE ON oauth_auth_codes FOR EACH ROW EXECUTE FUNCTION keep_code()`)
	err = r.work(t.Context())
	require.ErrorContains(t, err, "permission denied for table codes_gone (SQLSTATE 42501): a trigger, or another function, has the rights of the scheduler's role (PL/pgSQL function keep_code() line 1 at SQL statement)")

	c.exec(t, "ALTER FUNCTION keep_code SECURITY DEFINER")
	require.Equal(t, int64(300+600+150+180+120+40+40+40), r.mustWork(t).Rows(), "the next attempt goes on")
	require.Equal(t, int64(180), c.count(t, "codes_gone"))
}

func TestCleanupRefusesTablesInParts(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformTables)
	c.exec(t, "ALTER TABLE user_sessions RENAME TO old_sessions; CREATE VIEW user_sessions AS SELECT * FROM old_sessions")
	err := c.newRun(t, cleanup.InactiveSessions(), nil).work(t.Context())
	require.ErrorContains(t, err, "user_sessions is a view or a foreign table: a rule needs a table of this database")
	require.True(t, jobs.IsPermanent(err))

	c.exec(t, `DROP TABLE logs; CREATE TABLE logs (id text, "timestamp" timestamptz, user_id text) PARTITION BY RANGE ("timestamp")`)
	unnamed := variant(t, cleanup.Database(), func(config *retention.Config) {
		config.Rules = []retention.Rule{{Target: "old", Table: "logs", SQL: "SELECT ctid FROM logs WHERE id = 'x'"}}
	})
	err = c.newRun(t, unnamed, nil).work(t.Context())
	require.ErrorContains(t, err, "logs has partitions or heirs, and a rule is worked in each by itself: write its SQL as SELECT t.ctid FROM {table} t")
	require.True(t, jobs.IsPermanent(err))
}

// The rule about the scheduler's own table follows its schema.
func TestCleanupOfTheLedger(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	_, err := scheduler.MigrateUp(t.Context(), scheduler.MigrateConfig{DatabaseURL: db.URL, Schema: "another", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, testdb.MakeRoles(t.Context(), db.URL, "another"))
	c := openCleaning(t, db.URL)
	c.schema = "another"
	c.exec(t, `
		CREATE SCHEMA scheduler;
		CREATE TABLE scheduler.job_runs (id bigint);
		INSERT INTO another.job_runs (job_name, tick, trigger, status, started_at, finished_at, missed_count, last_missed_tick)
		SELECT job, now() - age, 'manual', status, now() - begun, now() - age,
		       CASE WHEN status = 'missed' THEN 1 END, CASE WHEN status = 'missed' THEN now() END
		FROM (VALUES
		    ('busy',  'success', interval '40 days', interval '40 days'), -- goes
		    ('busy',  'failed',  '39 days', '39 days'), -- goes
		    ('busy',  'running', '38 days', '38 days'), -- has not finished
		    ('busy',  'success', '31 days', '31 days'), -- goes
		    ('busy',  'success', '29 days', '29 days'),
		    ('rare',  'success', '99 days', '99 days'), -- goes
		    ('rare',  'success', '90 days', '90 days'), -- the newest that has started
		    ('rare',  'skipped', '80 days', NULL),      -- goes
		    ('rare',  'missed',  '70 days', NULL),      -- the newest that has ended
		    ('quiet', 'cancelled', '90 days', NULL)
		) AS v (job, status, age, begun)`)
	c.exec(t, "UPDATE another.job_runs SET finished_at = NULL WHERE status = 'running'")

	dry := c.newDryRun(t, cleanup.JobRuns(), nil).mustWork(t)
	require.Equal(t, int64(5), dry["job_runs"].Rows)
	require.Equal(t, int64(5), c.newRun(t, cleanup.JobRuns(), nil).mustWork(t)["job_runs"].Rows)
	require.Equal(t, "busy/running busy/success quiet/cancelled rare/success rare/missed", fetch[string](t, c,
		`SELECT string_agg(job_name || '/' || status, ' ' ORDER BY job_name, id) FROM another.job_runs WHERE job_name <> 'cleanup_job_runs'`))
}
