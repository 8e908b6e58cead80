package integration

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// Somebody asks what a cleanup will do, is told that it would go too far, and lets it
// through once, all from the command line.
func TestCLICleanupFromExplanationToRun(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformTables)
	shell := shellOf(t, db)
	shell.serve(t, db)
	c := openCleaning(t, db.URL)
	c.exec(t, `INSERT INTO logs (id, "timestamp", level, module, message)
		SELECT 'l' || n, now() - interval '40 days', 'INFO', 'm', 'x' FROM generate_series(1, 3000) n; ANALYZE logs`)

	text := shell.succeed(t, "explain", "database_cleanup")
	require.Contains(t, text, "old_logs: DELETE logs\n  block ranges: the rule looks at nothing but the row itself; nothing refers to the table, and a delete touches no index\n  The planner expects 3000 rows.\n")
	require.NotContains(t, text, "SKIP LOCKED")
	require.Contains(t, shell.succeed(t, "explain", "database_cleanup", "--sql"), "FOR UPDATE SKIP LOCKED")
	var list []retention.Explanation
	require.NoError(t, json.Unmarshal([]byte(shell.succeed(t, "explain", "database_cleanup", "--param", "log_retention_days=50", "--json")), &list))
	require.Equal(t, "old_logs", list[1].Target)
	require.LessOrEqual(t, list[1].Rows, int64(1), "none is so old")
	require.Contains(t, shell.refuse(t, "explain", "no_such_job"), `job "no_such_job": unknown job`)
	require.Equal(t, int64(3000), c.count(t, "logs"))

	text = shell.fail(t, "run", "database_cleanup", "--wait").stderr.String()
	require.Contains(t, text, "3000 of the 3000 rows of logs would be changed, and max_share is 0.9.")
	require.Contains(t, text, `let it through once: SELECT scheduler.run_now('database_cleanup', '{"max_share":1}')`)
	require.Equal(t, "blocked", fetch[string](t, c, "SELECT status FROM scheduler.runs WHERE job_name = 'database_cleanup' ORDER BY id DESC LIMIT 1"))
	require.Equal(t, int64(3000), c.count(t, "logs"))

	shell.succeed(t, "run", "database_cleanup", "--param", "max_share=1", "--param", "archive=json", "--wait")
	require.Zero(t, c.count(t, "logs"))
	require.Equal(t, int64(3000), c.count(t, "scheduler.archived_rows WHERE table_name = 'logs' AND row->>'message' = 'x'"))
	c.exec(t, "INSERT INTO logs SELECT (jsonb_populate_record(NULL::logs, row)).* FROM scheduler.archived_rows WHERE table_name = 'logs'")
	require.Equal(t, int64(3000), c.count(t, "logs"), "as docs/operating.md says")
}
