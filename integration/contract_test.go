package integration

import (
	"testing"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cleanup"
	"github.com/systempromptio/scheduler/schedulertest"
)

// Our own jobs stand what every job must.
func TestContractOfTheBuiltInJobs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		job     jobs.Job
		options schedulertest.ContractOptions
	}{
		{job: small(t, cleanup.InactiveSessions(), 40), options: schedulertest.ContractOptions{Tables: []string{"public.user_sessions"}}},
		{job: small(t, cleanup.EmptyContexts(), 40), options: schedulertest.ContractOptions{Tables: []string{"public.user_contexts"}}},
		{job: small(t, cleanup.Database(), 40), options: schedulertest.ContractOptions{Tables: []string{
			"public.logs", "public.mcp_tool_executions", "public.oauth_auth_codes", "public.oauth_refresh_tokens",
			"public.oauth_state_bindings", "public.oauth_jti_revocations", "public.id_jag_replay",
		}}},
		{job: small(t, cleanup.JobRuns(), 40), options: schedulertest.ContractOptions{Tables: []string{"scheduler.job_runs"}}},
	} {
		t.Run(test.job.Definition().Name, func(t *testing.T) {
			t.Parallel()
			db := testdb.New(t, platformSeeded)
			exec1(t, db, oldRuns)
			// Where their tokens go, codes that stay are changed by the foreign key, and not counted.
			exec1(t, db, "UPDATE oauth_auth_codes SET refresh_token_id = NULL WHERE code LIKE 'kept-%'")
			schedulertest.Contract(t, db.Pool(t), test.job, test.options)
		})
	}
}

// oldRuns are rows of the ledger that its retention deletes, and some that it keeps.
const oldRuns = `INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, started_at, finished_at)
SELECT 'kept_or_gone', t, 'manual', 'success', t, t
FROM (SELECT now() - n * interval '1 day' AS t FROM generate_series(1, 600) n) AS ticks`
