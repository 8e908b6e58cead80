package devdb

import (
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/sql/platform"
)

// tablesWithPrefixes are the tables whose ids say what becomes of a row.
var tablesWithPrefixes = map[string]string{
	"user_sessions":         "session_id",
	"user_contexts":         "context_id",
	"logs":                  "id",
	"mcp_tool_executions":   "mcp_execution_id",
	"governance_decisions":  "id",
	"oauth_refresh_tokens":  "token_id",
	"oauth_auth_codes":      "code",
	"oauth_state_bindings":  "state",
	"oauth_jti_revocations": "jti",
	"id_jag_replay":         "jti",
}

// newerTables are not on an older install.
var newerTables = []string{"governance_decisions", "oauth_state_bindings", "oauth_jti_revocations", "id_jag_replay"}

// The built-in jobs' rules, as plainly as they can be said: for a newer install
// (cleanNewer), for an older one (cleanOlder).
const cleanBoth = `
UPDATE user_sessions SET ended_at = now() WHERE ended_at IS NULL AND last_activity_at < now() - interval '1 hour';
DELETE FROM logs l WHERE user_id <> '' AND user_id <> 'system' AND NOT EXISTS (SELECT FROM users u WHERE u.id = l.user_id);
DELETE FROM logs WHERE "timestamp" < now() - interval '30 days';
DELETE FROM mcp_tool_executions x WHERE context_id <> ''
	AND NOT EXISTS (SELECT FROM user_contexts c WHERE c.context_id = x.context_id);
DELETE FROM oauth_auth_codes WHERE expires_at < now() OR used_at IS NOT NULL;
DELETE FROM oauth_refresh_tokens WHERE expires_at < now();
`

const emptyOldContext = `DELETE FROM user_contexts c WHERE created_at < now() - interval '24 hours'
	AND NOT EXISTS (SELECT FROM task_messages m WHERE m.context_id = c.context_id)
	AND NOT EXISTS (SELECT FROM agent_tasks t JOIN task_messages m USING (task_id) WHERE t.context_id = c.context_id)
	AND NOT EXISTS (SELECT FROM mcp_tool_executions x WHERE x.context_id = c.context_id)`

const cleanNewer = cleanBoth + emptyOldContext + `
	AND NOT EXISTS (SELECT FROM governance_decisions d WHERE d.context_id = c.context_id)
	AND (kind <> 'cli_session' OR session_id IS NULL);
DELETE FROM oauth_state_bindings WHERE expires_at < now();
DELETE FROM oauth_jti_revocations WHERE exp < now();
DELETE FROM id_jag_replay WHERE expires_at < now();`

const cleanOlder = cleanBoth + emptyOldContext

// counts of the rows whose ids begin with a prefix, by table.
func counts(t *testing.T, db *DB, prefix string, without ...string) map[string]int {
	t.Helper()
	counted := map[string]int{}
	for table, id := range tablesWithPrefixes {
		sql := "SELECT count(*) FROM " + table + " WHERE " + id + " LIKE '" + prefix + "%'"
		if table == "user_sessions" && prefix == "gone-" {
			sql += " AND ended_at IS NULL"
		}
		counted[table] = 0
		if !slices.Contains(without, table) {
			counted[table] = ask[int](t, db.URL, sql)
		}
	}
	return counted
}

func TestPrepareAndSeed(t *testing.T) {
	t.Parallel()
	db := running(t, openFolderFor(t), testMachine(t))

	// All or nothing.
	execute(t, db.URL, "CREATE TABLE scheduled_jobs ()") // the last one that schema.sql makes
	require.Error(t, db.Prepare(t.Context()))
	require.Equal(t, 1, ask[int](t, db.URL, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"))
	execute(t, db.URL, "DROP TABLE scheduled_jobs")
	begun := time.Now()
	require.NoError(t, db.Prepare(t.Context()))
	t.Logf("prepared in %v", time.Since(begun))

	// Every prefixed table has rows of both kinds, except where nothing may go.
	for table, n := range counts(t, db, "gone-") {
		require.Equal(t, table != "governance_decisions", n > 0, table)
	}
	kept := counts(t, db, "kept-")
	for table, n := range kept {
		require.Positive(t, n, table)
	}
	require.Equal(t, 44, ask[int](t, db.URL,
		"SELECT count(*) FROM pg_indexes WHERE tablename = 'user_sessions' AND indexdef NOT LIKE '%UNIQUE%'"))
	require.Zero(t, ask[int](t, db.URL,
		"SELECT count(*) FROM pg_indexes WHERE tablename = 'user_sessions' AND indexdef LIKE '%ended_at%'"))

	// A later start adds nothing while there is something to clean.
	sessions := ask[int](t, db.URL, "SELECT count(*) FROM user_sessions")
	require.NoError(t, db.Prepare(t.Context()))
	added, err := db.Seed(t.Context())
	require.NoError(t, err)
	require.Zero(t, added)
	require.Equal(t, sessions, ask[int](t, db.URL, "SELECT count(*) FROM user_sessions"))

	// What is to go goes by the rules, and nothing else.
	execute(t, db.URL, cleanNewer)
	for table, n := range counts(t, db, "gone-") {
		require.Zero(t, n, table)
	}
	require.Equal(t, kept, counts(t, db, "kept-"))
	require.Equal(t, 2, ask[int](t, db.URL, "SELECT count(*) FROM scheduled_jobs"))
	require.Zero(t, ask[int](t, db.URL, "SELECT count(*) FROM user_sessions WHERE session_id LIKE 'kept-live-%' AND ended_at IS NOT NULL"))

	// Then there is nothing left, and a start adds a batch; once.
	for range 2 {
		added, err = db.Seed(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 350, added)
		added, err = db.Seed(t.Context())
		require.NoError(t, err)
		require.Zero(t, added)
		execute(t, db.URL, cleanNewer)
	}
	require.Equal(t, 200, ask[int](t, db.URL, "SELECT count(*) FROM user_sessions WHERE session_id LIKE 'topup-%'"))
}

// The platform's tables live where search_path says, at any scale, and turn into
// an older install's.
func TestPlatformInAnotherSchema(t *testing.T) {
	t.Parallel()
	db := running(t, openFolderFor(t), testMachine(t))
	conn := connect(t, db.URL)
	_, err := conn.Exec(t.Context(), "CREATE SCHEMA elsewhere; ALTER DATABASE platform SET search_path = elsewhere; SET search_path = elsewhere")
	require.NoError(t, err)
	require.NoError(t, platform.Create(t.Context(), conn))
	require.Error(t, platform.Seed(t.Context(), conn, 0))
	require.NoError(t, platform.Seed(t.Context(), conn, 3))
	require.Equal(t, 1800, ask[int](t, db.URL, "SELECT count(*) FROM user_sessions WHERE session_id LIKE 'gone-%'"))
	require.Error(t, platform.Seed(t.Context(), conn, 3), "a second call is refused")
	require.Equal(t, 3000, ask[int](t, db.URL, "SELECT count(*) FROM user_sessions"))

	require.NoError(t, pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		return platform.Older(t.Context(), tx)
	}))
	kept := counts(t, db, "kept-", newerTables...)
	execute(t, db.URL, cleanOlder)
	for table, n := range counts(t, db, "gone-", newerTables...) {
		require.Zero(t, n, table)
	}
	require.Equal(t, kept, counts(t, db, "kept-", newerTables...))
	require.Zero(t, ask[int](t, db.URL, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"))
}
