package cleanup

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/systempromptio/scheduler/jobs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestImportRegistersTheJobs(t *testing.T) {
	t.Parallel()
	for name, schedule := range map[string]string{
		"cleanup_inactive_sessions": "0 */10 * * * *",
		"cleanup_empty_contexts":    "0 0 */2 * * *",
		"database_cleanup":          "0 0 3 * * *",
		"cleanup_job_runs":          "0 30 3 * * *",
	} {
		job, err := jobs.DefaultRegistry().Get(name)
		require.NoError(t, err)
		require.Equal(t, schedule, job.Definition().Schedule)
		require.NoError(t, jobs.Validate(job))
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	var targets []string
	for _, e := range InactiveSessions().Explain("s") {
		targets = append(targets, e.Target)
	}
	for _, e := range EmptyContexts().Explain("s") {
		targets = append(targets, e.Target)
	}
	for _, e := range Database().Explain("s") {
		targets = append(targets, e.Target)
	}
	require.Equal(t, "sessions contexts orphaned_logs old_logs orphaned_mcp_executions auth_codes refresh_tokens state_bindings jti_revocations id_jag_replays",
		strings.Join(targets, " "))
	require.Equal(t, []string{"user_contexts", "agent_tasks", "task_messages"}, EmptyContexts().Explain("s")[0].Requires[:3])
	require.Equal(t, "s.job_runs", JobRuns().Explain("s")[0].Table)
}

func TestParametersAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		job       jobs.Job
		parameter string
		value     any
		reason    string
	}{
		{InactiveSessions(), "inactive_hours", 0, "is 0, must be at least 1"},
		{InactiveSessions(), "inactive_hours", -3, "is -3, must be at least 1"},
		{InactiveSessions(), "inactive_hours", 1.5, "must be a whole number"},
		{InactiveSessions(), "inactive_hours", "2", `must be a whole number, not the string "2"`},
		{InactiveSessions(), "inactive_hours", 3_000_000_000, "must be at most 876600"},
		{InactiveSessions(), "hours", 2, "unknown; the job has: "},
		{EmptyContexts(), "retention_hours", 0, "must be at least 1"},
		{EmptyContexts(), "retention_hours", nil, "must be a whole number, not null"},
		{Database(), "log_retention_days", 0, "must be at least 1"},
		{Database(), "log_retention_days", 36_526, "must be at most 36525"},
		{Database(), "system_user_ids", "system", "must be a list of strings"},
		{Database(), "system_user_ids", []any{"system", 1}, "must be a list of strings"},
		{Database(), "mcp_executions", "archive", "must be one of: delete, keep"},
		{JobRuns(), "retention_days", 0, "must be at least 1"},
	} {
		name := c.job.Definition().Name
		_, err := jobs.Resolve(c.job.Definition(), map[string]any{c.parameter: c.value})
		require.ErrorIs(t, err, jobs.ErrInvalidParameter, c.parameter)
		require.ErrorContains(t, err, `job "`+name+`": parameter "`+c.parameter+`": `)
		require.ErrorContains(t, err, c.reason)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	defaults := jobs.Parameters{}
	for _, job := range []jobs.Job{InactiveSessions(), EmptyContexts(), Database(), JobRuns()} {
		resolved, err := jobs.Resolve(job.Definition())
		require.NoError(t, err)
		require.Equal(t, resolved["archive"] != nil, resolved["max_share"] == 0.9, "what deletes is bounded")
		maps.Copy(defaults, resolved)
	}
	require.Equal(t, jobs.Parameters{
		"inactive_hours": int64(1), "retention_hours": int64(24), "log_retention_days": int64(30),
		"system_user_ids": []string{"system"}, "mcp_executions": "delete", "retention_days": int64(30),
		"batch_time": 50 * time.Millisecond, "max_rows": int64(0), "max_share": 0.9, "lag_max_mb": int64(256), "archive": "none", "partitions": "delete",
	}, defaults)
}
