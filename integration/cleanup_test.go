package integration

import (
	"maps"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cleanup"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// Where the seed's ids tell what happens to a row.
var seededKeys = map[string]string{
	"user_sessions": "session_id", "user_contexts": "context_id", "logs": "id", "mcp_tool_executions": "mcp_execution_id",
	"governance_decisions": "id", "oauth_auth_codes": "code", "oauth_refresh_tokens": "token_id",
	"oauth_state_bindings": "state", "oauth_jti_revocations": "jti", "id_jag_replay": "jti",
}

func platformJobs() []*retention.Job {
	return []*retention.Job{cleanup.InactiveSessions(), cleanup.EmptyContexts(), cleanup.Database()}
}

// keptRows counts the rows that must stay as they are.
func (c *cleaning) keptRows(t *testing.T) map[string]int64 {
	t.Helper()
	kept := map[string]int64{
		"users": c.count(t, "users"), "scheduled_jobs": c.count(t, "scheduled_jobs"), "task_messages": c.count(t, "task_messages"),
		"live sessions": c.count(t, "user_sessions WHERE session_id LIKE 'kept-live-%' AND ended_at IS NULL"),
	}
	for table, key := range seededKeys {
		kept[table] = c.count(t, table+" WHERE "+key+" LIKE 'kept-%'")
	}
	return kept
}

func TestCleanupDoesWhatItsDryRunSays(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	kept := c.keptRows(t)
	expected := map[string]int64{
		"sessions": 600, "contexts": 410, "orphaned_logs": 300, "old_logs": 600, "orphaned_mcp_executions": 150, "auth_codes": 180,
		"refresh_tokens": 120, "state_bindings": 40, "jti_revocations": 40, "id_jag_replays": 40,
	}

	dry := map[string]int64{}
	for _, job := range platformJobs() {
		maps.Copy(dry, rowsOf(c.newDryRun(t, job, nil).mustWork(t)))
	}
	require.Equal(t, expected, dry)
	require.Equal(t, int64(600), c.count(t, "user_sessions WHERE session_id LIKE 'gone-%' AND ended_at IS NULL"), "a dry run changes nothing")
	require.Equal(t, int64(900), c.count(t, "logs WHERE id LIKE 'gone-%'"), "a dry run changes nothing")

	worked := map[string]int64{}
	for _, job := range platformJobs() {
		maps.Copy(worked, rowsOf(c.newRun(t, job, nil).mustWork(t)))
	}
	require.Equal(t, expected, worked)
	for table, key := range seededKeys {
		if table != "user_sessions" {
			require.Zero(t, c.count(t, table+" WHERE "+key+" LIKE 'gone-%'"), table)
		}
	}
	require.Zero(t, c.count(t, "user_sessions WHERE session_id LIKE 'gone-%' AND ended_at IS NULL"))
	require.Equal(t, kept, c.keptRows(t))
}

func TestCleanupTwiceWritesNothing(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	for _, job := range platformJobs() {
		c.newRun(t, job, nil).mustWork(t)
	}
	for _, job := range platformJobs() {
		r := c.newRun(t, job, nil)
		batches, err := r.start(t.Context())
		require.NoError(t, err)
		done, err := r.next(t.Context(), batches, func(tx pgx.Tx, batch *jobs.Batch) error {
			var xid *string
			if err := tx.QueryRow(t.Context(), "SELECT pg_current_xact_id_if_assigned()::text").Scan(&xid); err != nil {
				return err
			}
			require.Nil(t, xid, "%s has written", job.Definition().Name)
			return nil
		})
		require.NoError(t, err)
		require.True(t, done, "one batch records that all is clean")
		for _, rule := range job.Config().Rules {
			require.Contains(t, r.targets, rule.Target)
			require.Equal(t, jobs.Target{}, r.targets[rule.Target])
		}
		require.Equal(t, "0 rows affected", r.message)
	}
}
