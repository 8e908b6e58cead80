package integration

import (
	"context"
	"log/slog"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cleanup"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// briefly begins transactions that are read-only and bounded.
type briefly struct{ c *cleaning }

func (b briefly) Begin(ctx context.Context) (pgx.Tx, error) {
	return b.c.pool.BeginTx(ctx, pgx.TxOptions{BeginQuery: "BEGIN READ ONLY; SET LOCAL statement_timeout = '400ms'"})
}

func (c *cleaning) survey(t *testing.T, job *retention.Job, given map[string]any) (survey retention.Survey, byTarget map[string]retention.SurveyTarget) {
	t.Helper()
	parameters, err := jobs.Resolve(job.Definition(), given)
	require.NoError(t, err)
	survey, err = job.Survey(t.Context(), &jobs.Run{
		Job: job.Definition().Name, Now: fetchNow(t, c), Parameters: parameters, Schema: c.schema,
		Logger: slog.New(slog.DiscardHandler), Beginner: briefly{c},
	})
	require.NoError(t, err)
	byTarget = make(map[string]retention.SurveyTarget)
	for _, target := range survey.Targets {
		byTarget[target.Target] = target
	}
	return survey, byTarget
}

// A survey counts what a dry run counts, and says what would block the run.
func TestSurveyIsTheDryRun(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	c.exec(t, "ANALYZE")
	job := cleanup.Database()
	survey, targets := c.survey(t, job, nil)
	require.Empty(t, survey.Blocked)
	found := c.newDryRun(t, job, nil).mustWork(t)
	require.NotEmpty(t, found)
	for name, target := range found {
		require.True(t, targets[name].IsCounted, name)
		require.Equal(t, target.Rows, targets[name].Found, name)
	}
	survey, _ = c.survey(t, job, map[string]any{"max_rows": 3})
	require.Contains(t, survey.Blocked, "rows would be changed, and max_rows is 3")
}

// Where counting takes too long, the planner's expectation stands for it.
func TestSurveyOfWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformTables)
	c.exec(t, "CREATE TABLE slow (id bigint PRIMARY KEY); INSERT INTO slow SELECT generate_series(1, 1000); ANALYZE slow")
	job := retention.Must(retention.Config{
		Definition: jobs.Definition{Name: "slowly", Schedule: "@daily"},
		Rules:      []retention.Rule{{Target: "slow", Table: "slow", SQL: "SELECT s.ctid FROM {table} s WHERE pg_sleep(0.01) IS NOT NULL"}},
	})
	_, targets := c.survey(t, job, nil)
	require.NoError(t, targets["slow"].Err)
	require.False(t, targets["slow"].IsCounted)
	require.Positive(t, targets["slow"].Found)
}

// One rule that cannot be looked at does not hide the others.
func TestSurveyWithoutPrivileges(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformSeeded)
	role, databaseURL := roleOf(t, db, schemaGrants...)
	exec1(t, db, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO "+role)
	exec1(t, db, "REVOKE SELECT ON users FROM "+role)
	u, err := url.Parse(databaseURL)
	require.NoError(t, err)
	_, targets := openCleaning(t, u.String()).survey(t, cleanup.Database(), nil)
	require.ErrorContains(t, targets["orphaned_logs"].Err, "permission denied for table users")
	require.NoError(t, targets["auth_codes"].Err)
	require.Positive(t, targets["auth_codes"].Found)
}

// What a job needs is what it is refused without.
func TestPrivilegesOfJobs(t *testing.T) {
	t.Parallel()
	parameters := jobs.Parameters{}
	require.ElementsMatch(t, []retention.Privilege{
		{Table: "user_sessions", Privilege: "SELECT"}, {Table: "user_sessions", Privilege: "UPDATE"},
	}, cleanup.InactiveSessions().Privileges("scheduler", parameters))
	list := cleanup.EmptyContexts().Privileges("scheduler", parameters)
	require.Contains(t, list, retention.Privilege{Table: "user_contexts", Privilege: "DELETE"})
	require.Contains(t, list, retention.Privilege{Table: "agent_tasks", Privilege: "UPDATE"})
	require.Contains(t, list, retention.Privilege{Table: "task_messages", Privilege: "SELECT"})
	require.NotContains(t, list, retention.Privilege{Table: "task_messages", Privilege: "UPDATE"})
}
