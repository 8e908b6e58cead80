package integration

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
)

// The configuration decides which of the registered jobs run, and all are to be seen:
// without a database, before anybody has led, and where another program leads.
func TestRegisteredAndNotConfigured(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(path, []byte("only_listed_jobs: true\njobs:\n  - name: database_cleanup\n  - name: cleanup_job_runs\n    enabled: false\n"), 0o600))
	db := testdb.New(t, migrated)
	shell := shellOf(t, db)
	states := func(args ...string) map[string]any {
		states := make(map[string]any)
		for _, job := range shell.list(t, append(args, "--config", path)...) {
			name, _ := job["job_name"].(string)
			states[name] = job["state"]
			if job["state"] == nil {
				states[name] = []any{job["enabled"], job["configured"]}
			}
		}
		return states
	}
	nowhere := newShell(t, "DATABASE_URL=postgres://127.0.0.1:1/nowhere")
	require.Regexp(t, `(?m)^cleanup_empty_contexts +disabled, not configured +\S`, nowhere.succeed(t, "jobs", "--registered", "--config", path))
	require.Equal(t, map[string]any{
		"database_cleanup": []any{true, true}, "cleanup_job_runs": []any{false, true},
		"cleanup_empty_contexts": []any{false, false}, "cleanup_inactive_sessions": []any{false, false},
	}, states("jobs", "--registered"))

	// Nobody has led yet.
	require.Contains(t, shell.succeed(t, "jobs"), "There are no jobs yet: a replica declares them when it leads.")
	require.Equal(t, map[string]any{
		"database_cleanup": "undeclared", "cleanup_job_runs": "undeclared", "cleanup_empty_contexts": "undeclared", "cleanup_inactive_sessions": "undeclared",
	}, states("jobs"))

	replica := shell.serve(t, db, "--config", path)
	require.Equal(t, map[string]any{
		"database_cleanup": "active", "cleanup_job_runs": "disabled", "cleanup_empty_contexts": "disabled", "cleanup_inactive_sessions": "disabled",
	}, states("jobs"))
	out := shell.succeed(t, "jobs", "--config", path)
	for name, marked := range map[string]bool{"cleanup_empty_contexts": true, "cleanup_inactive_sessions": true, "cleanup_job_runs": false, "database_cleanup": false} {
		const note = " is registered and not configured: list it under jobs to have it scheduled"
		if marked {
			require.Contains(t, out, name+note)
		} else {
			require.NotContains(t, out, name+note)
		}
	}
	require.EqualValues(t, 0, scalar[int64](t, db, "SELECT count(*) FROM scheduler.runs"), "the default bootstrap job is not configured, either")
	replica.end(t)
}

// Another program leads, with jobs of its own.
func TestRegisteredHereAndNotInTheLeader(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{})
	shell := shellOf(t, db)
	out := shell.succeed(t, "jobs")
	require.Regexp(t, `(?m)^database_cleanup +undeclared `, out)
	require.Regexp(t, `(?m)^yearly_hit +active `, out)
	require.Contains(t, out, "Registered in this program, and not in the one that leads, which is another one or an older version: cleanup_empty_contexts, cleanup_inactive_sessions, cleanup_job_runs, database_cleanup")
}
