package integration

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cleanup"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// explain asks a job what it would do, by target.
func (c *cleaning) explain(t *testing.T, job retention.Explainer) map[string]retention.Explanation {
	t.Helper()
	parameters, err := jobs.Resolve(job.Definition())
	require.NoError(t, err)
	list, err := job.ExplainOn(t.Context(), &jobs.Run{
		Job: job.Definition().Name, Now: fetchNow(t, c), Parameters: parameters, Schema: c.schema,
		Logger: slog.New(slog.DiscardHandler), Beginner: c.worker(),
	})
	require.NoError(t, err)
	byTarget := make(map[string]retention.Explanation, len(list))
	for _, e := range list {
		byTarget[e.Target] = e
	}
	return byTarget
}

func TestCleanupExplainsItsPlan(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	c.exec(t, "ANALYZE")
	for target, plan := range map[string]string{
		"sessions":        "waves: the rule looks at nothing but the row itself; none of 45 indexes has to do with ended_at, so that rows can stay on their page if those of one page change in different transactions",
		"contexts":        "rows in the order of the table: locked first, and looked at again by a second statement: the rule looks at agent_tasks, governance_decisions, mcp_tool_executions, task_messages, too",
		"old_logs":        "block ranges: the rule looks at nothing but the row itself; nothing refers to the table, and a delete touches no index",
		"orphaned_logs":   "rows in the order of the table: locked first, and looked at again by a second statement: the rule looks at users, too",
		"refresh_tokens":  "rows in the order of the table: the rule looks at nothing but the row itself; foreign keys of oauth_auth_codes are checked for each row",
		"jti_revocations": "block ranges: the rule looks at nothing but the row itself; nothing refers to the table, and a delete touches no index",
	} {
		found := false
		for _, job := range platformJobs() {
			e, ok := c.explain(t, job)[target]
			if ok {
				found = true
				require.Contains(t, e.Plan, plan, target)
				require.Empty(t, e.Problem)
			}
		}
		require.True(t, found, target)
	}
	require.Positive(t, c.explain(t, cleanup.Database())["old_logs"].Rows)
}

// An index that holds the column, asks for it or is made of it, and a generated
// column, keep updates from staying on their page.
func TestCleanupPlansByTheIndexes(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformTables)
	c.exec(t, `CREATE TABLE tickets (id int PRIMARY KEY, state text, closed_at timestamptz, is_open bool GENERATED ALWAYS AS (closed_at IS NULL) STORED, note text)`)
	job := variant(t, cleanup.InactiveSessions(), func(config *retention.Config) {
		config.Definition.Parameters = nil
		config.Rules = []retention.Rule{{Target: "tickets", Table: "tickets", SQL: "SELECT t.ctid FROM {table} t WHERE t.closed_at IS NULL", Set: `"closed_at" = now(), note = concat(note, ', closed')`}}
	})
	require.Contains(t, c.explain(t, job)["tickets"].Plan, "waves: ")
	for _, index := range []string{
		"CREATE INDEX i ON tickets (closed_at)", "CREATE INDEX i ON tickets (state) WHERE closed_at IS NULL",
		"CREATE INDEX i ON tickets (date_part('year', closed_at AT TIME ZONE 'UTC'))", "CREATE INDEX i ON tickets (id) INCLUDE (closed_at)",
		"CREATE INDEX i ON tickets (is_open)", "CREATE UNIQUE INDEX i ON tickets (note)",
	} {
		c.exec(t, index)
		require.Contains(t, c.explain(t, job)["tickets"].Plan, "each update touches the indexes, since i has to do with closed_at, note", index)
		c.exec(t, "DROP INDEX i")
	}
	c.exec(t, "CREATE INDEX i ON tickets (state)")
	require.Contains(t, c.explain(t, job)["tickets"].Plan, "none of 2 indexes has to do with closed_at, note")
}

func fetchNow(t *testing.T, c *cleaning) time.Time {
	t.Helper()
	return fetch[time.Time](t, c, "SELECT now()")
}
