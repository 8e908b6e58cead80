package integration

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
)

// Everything that the repository tells, from the command line.
func TestCLIAnalytics(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformSeeded)
	shell := shellOf(t, db)
	exec1(t, db, "UPDATE conversation_evaluations SET analyzed_at = '2026-03-29 12:00:00+00'::timestamptz - id * interval '1 hour', issues_encountered = E'line one\\nline \\x1b[31mtwo' WHERE id <= 3")
	var list []map[string]any
	read := func(args ...string) []map[string]any {
		t.Helper()
		require.NoError(t, json.Unmarshal([]byte(shell.succeed(t, append([]string{"analytics"}, append(args, "--json")...)...)), &list))
		return list
	}
	require.Len(t, read("categories", "--from", "2026-03-29", "--to", "2026-03-30", "--timezone", "Europe/Berlin"), 3)
	require.Equal(t, "2026-03-29", list[0]["day"])
	require.Contains(t, shell.succeed(t, "analytics", "categories"), "AVERAGE")
	require.Len(t, read("low", "--below", "0.03"), 3)
	require.InDelta(t, 0, list[0]["score"], 0)
	text := shell.succeed(t, "analytics", "low", "--below", "0.03")
	require.Contains(t, text, "line one…")
	require.NotContains(t, text, "\x1b")
	require.NotEmpty(t, read("issues"))
	require.LessOrEqual(t, len(list), 20)
	require.Len(t, read("goals"), 3)
	require.Equal(t, "yes", list[0]["goal_achieved"])
	require.Contains(t, shell.succeed(t, "analytics", "distribution"), "excellent")

	// From page to page, as standard error says.
	seen, after := 0, ""
	for {
		p := shell.start(t, "analytics", "evaluations", "--limit", "40", "--json", "--after", after)
		require.Zero(t, p.code(t))
		require.NoError(t, json.Unmarshal([]byte(p.stdout.String()), &list))
		seen += len(list)
		_, more, found := strings.Cut(strings.TrimSpace(p.stderr.String()), "--after ")
		if !found {
			break
		}
		after = more
	}
	require.Equal(t, 100, seen)

	for args, want := range map[string]string{
		"categories --from tomorrow":              `--from: "tomorrow" is not a time`,
		"categories --timezone Local":             "--timezone: ",
		"goals --from 2026-03-29 --to 2026-03-29": "must end after it begins",
		"low --below 2":                           "more than 0, and at most 1",
		"evaluations --after 12":                  `--after: "12" is no place`,
	} {
		require.Contains(t, shell.refuse(t, append([]string{"analytics"}, strings.Fields(args)...)...), want, args)
	}
	exec1(t, db, "DROP TABLE conversation_evaluations")
	for _, command := range []string{"categories", "low", "issues", "goals", "evaluations", "distribution"} {
		text := shell.refuse(t, "analytics", command)
		require.Contains(t, text, `table "conversation_evaluations" is absent`)
		require.Contains(t, text, "search_path")
	}
}

func TestHTTPAnalytics(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformSeeded)
	s := serveHTTP(t, db, nil)
	list := func(path string) (list []map[string]any) {
		status, answer := s.ask("GET", "/api/v1"+path, "")
		require.Equal(t, http.StatusOK, status, "%s: %s", path, answer)
		require.NoError(t, json.Unmarshal(answer, &list))
		return list
	}
	require.NotEmpty(t, list("/analytics/categories?timezone=Asia/Kolkata&from=2020-01-01&limit=10000"))
	require.Empty(t, list("/analytics/categories?to=2020-01-01"))
	require.Len(t, list("/analytics/low?below=0.9&limit=5"), 5)
	require.NotEmpty(t, list("/analytics/issues"))
	require.Len(t, list("/analytics/goals"), 3)
	require.EqualValues(t, 10, s.object("GET", "/analytics/distribution", "")["excellent"])
	page := list("/analytics/evaluations?limit=60")
	require.Len(t, page, 60)
	last := page[59]
	after := last["analyzed_at"].(string) + "," + string(must(json.Marshal(last["id"])))
	require.Len(t, list("/analytics/evaluations?limit=60&after="+url.QueryEscape(after)), 40)
	require.Len(t, list("/images/pending?limit=3"), 3)

	for path, code := range map[string]string{
		"/analytics/categories?timezone=Local":            "bad_request",
		"/analytics/categories?from=yesterday":            "bad_request",
		"/analytics/goals?from=2026-01-01&to=2025-01-01":  "bad_argument",
		"/analytics/low?below=NaN":                        "bad_argument",
		"/analytics/low?below=x":                          "bad_request",
		"/analytics/evaluations?after=1":                  "bad_argument",
		"/analytics/evaluations?limit=1001":               "bad_request",
		"/analytics/evaluations?category=%ff":             "bad_argument",
		"/analytics/distribution?to=99999-01-01T00:00:00": "bad_request",
	} {
		s.refuses(http.StatusBadRequest, code, "GET", path, "")
	}
	exec1(t, db, "DROP TABLE conversation_evaluations, markdown_content")
	for _, path := range []string{"/analytics/categories", "/analytics/low", "/analytics/issues", "/analytics/goals", "/analytics/evaluations", "/analytics/distribution"} {
		s.refuses(http.StatusNotFound, "table_absent", "GET", path, "", "conversation_evaluations")
	}
	s.refuses(http.StatusNotFound, "table_absent", "GET", "/images/pending", "", "markdown_content")
	status, answer := s.ask("GET", "/analytics", "")
	require.Equal(t, http.StatusNotFound, status)
	require.Contains(t, string(answer), "conversation_evaluations")
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// Evaluations that somebody has locked hold up who asks for them, and nobody else.
func TestHTTPOtherPagesBesideSlowAnalytics(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformSeeded)
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL})
	s := serveHTTP(t, db, nil)
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs)")
	lock, err := db.Conn(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = lock.Exec(t.Context(), "LOCK TABLE conversation_evaluations, markdown_content IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	var asked sync.WaitGroup
	for _, path := range []string{"/analytics", "/api/v1/analytics/goals", "/api/v1/images/pending", "/analytics"} {
		asked.Go(func() { s.ask("GET", path, "") })
	}
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation IN ('conversation_evaluations'::regclass, 'markdown_content'::regclass))")
	for _, path := range []string{"/readyz", "/", "/runs", "/agenda"} {
		status, body := s.ask("GET", path, "")
		require.Equal(t, http.StatusOK, status, "%s: %s", path, body)
	}
	require.NoError(t, lock.Rollback(t.Context()))
	asked.Wait()
}
