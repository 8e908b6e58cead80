package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/internal/web"
	"github.com/systempromptio/scheduler/jobs"
)

const httpToken = "0123456789abcdef-token"

// surface is an HTTP surface that is served.
type surface struct {
	t       *testing.T
	address string
}

// serveHTTP serves the HTTP surface of a database, as the replicas' role.
func serveHTTP(t *testing.T, db *testdb.DB, change func(*web.Config)) *surface {
	t.Helper()
	c := web.Config{
		Listen: "0", Token: httpToken, Registry: testRegistry(), Logger: discard(),
		ConnectFunc: func(ctx context.Context) (*scheduler.Client, error) {
			return scheduler.NewClient(ctx, testdb.ServeURL(db.URL), "")
		},
	}
	if change != nil {
		change(&c)
	}
	server, err := web.New(c)
	require.NoError(t, err)
	listener, err := server.Listen(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return &surface{t: t, address: listener.Addr().String()}
}

// ask sends a request with the token.
func (s *surface) ask(method, path, body string) (status int, answer []byte) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.address+path, strings.NewReader(body))
	require.NoError(s.t, err)
	r.Header.Set("Authorization", "Bearer "+httpToken)
	if strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/json")
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	require.NoError(s.t, err)
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	require.NoError(s.t, err)
	if location := response.Header.Get("Location"); location != "" {
		answer = []byte(location)
	}
	return response.StatusCode, answer
}

// object asks for an object of the API.
func (s *surface) object(method, path, body string) map[string]any {
	s.t.Helper()
	status, answer := s.ask(method, "/api/v1"+path, body)
	require.Contains(s.t, []int{http.StatusOK, http.StatusAccepted}, status, "%s %s: %s", method, path, answer)
	var value map[string]any
	require.NoError(s.t, json.Unmarshal(answer, &value), "%s", answer)
	return value
}

// refuses expects an error of the API.
func (s *surface) refuses(status int, code, method, path, body string, words ...string) {
	s.t.Helper()
	got, answer := s.ask(method, "/api/v1"+path, body)
	var value struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	require.NoError(s.t, json.Unmarshal(answer, &value), "%s", answer)
	require.Equal(s.t, status, got, "%s", answer)
	require.Equal(s.t, code, value.Error.Code, value.Error.Message)
	for _, word := range words {
		require.Contains(s.t, value.Error.Message, word)
	}
}

func TestHTTPAPI(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{})
	s := serveHTTP(t, db, nil)
	client, err := scheduler.NewClient(t.Context(), db.URL, "")
	require.NoError(t, err)
	t.Cleanup(client.Close)

	// What it shows is what the client reads.
	state := s.object("GET", "/state", "")
	require.Len(t, state["replicas"], 1)
	require.NotNil(t, state["leader"])
	job, err := client.Job(t.Context(), "yearly_hit")
	require.NoError(t, err)
	encoded, err := json.Marshal(job)
	require.NoError(t, err)
	_, answer := s.ask("GET", "/api/v1/jobs/yearly_hit", "")
	require.JSONEq(t, string(encoded), string(answer))
	next := s.object("GET", "/jobs/yearly_hit/next?count=3&schedule=0+3+*+*+0", "")
	require.Equal(t, "at 03:00 on Sunday", next["words"])
	require.Len(t, next["ticks"], 3)

	// A run, and what is told of it.
	run := s.object("POST", "/jobs/yearly_hit/run", `{"dry_run": false}`)
	id := int64(run["id"].(float64))
	waitStatus(t, db, id, "success")
	require.Equal(t, "success", s.object("GET", fmt.Sprintf("/runs/%d", id), "")["status"])
	require.Equal(t, "http token 127.0.0.1", scalar[string](t, db, "SELECT application FROM scheduler.operations WHERE run_id = $1", id), "who asked for it")
	_, log := s.ask("GET", fmt.Sprintf("/api/v1/runs/%d/log", id), "")
	require.Equal(t, "[]\n", string(log), "a run that logs nothing keeps nothing")
	history := s.object("GET", "/jobs/yearly_hit/history", "")
	require.Equal(t, []any{float64(id)}, history["runs"].(map[string]any)["ids"])
	later := s.object("POST", "/jobs/yearly_hit/run", `{"at": "2035-01-01T00:00:00Z"}`)
	require.Equal(t, "scheduled", later["status"])
	s.object("POST", fmt.Sprintf("/runs/%v/cancel", later["id"]), `{"reason": "no need"}`)
	s.refuses(http.StatusConflict, "not_runnable", "POST", fmt.Sprintf("/runs/%v/cancel", later["id"]), "", "has ended")

	// Steering.
	require.Equal(t, "paused", s.object("POST", "/jobs/yearly_hit/pause", `{"reason": "by hand"}`)["state"])
	s.refuses(http.StatusConflict, "not_runnable", "POST", "/jobs/yearly_hit/run", "", "paused")
	require.Equal(t, "http token 127.0.0.1", scalar[string](t, db, "SELECT application FROM scheduler.operations WHERE action = 'pause_job'"), "who did it")
	require.Equal(t, "active", s.object("POST", "/jobs/yearly_hit/resume", "")["state"])
	require.Equal(t, "0 4 1 1 *", s.object("POST", "/jobs/yearly_hit/reschedule", `{"schedule": "0 4 1 1 *"}`)["schedule"])
	require.Equal(t, job.Schedule, s.object("POST", "/jobs/yearly_hit/reschedule", "")["schedule"])
	require.NotNil(t, s.object("POST", "/pause", `{"reason": "maintenance"}`)["paused_at"])
	require.Nil(t, s.object("POST", "/resume", "")["paused_at"])
	backfill := s.object("POST", "/jobs/yearly_hit/backfill", `{"from": "2020-01-01T00:00:00Z", "to": "2023-01-01T00:00:00Z", "limit": 1}`)
	waitValue(t, db, waitRun, true, "SELECT status = 'done' FROM scheduler.backfills WHERE id = $1", int64(backfill["id"].(float64)))
	require.Equal(t, "done", s.object("GET", fmt.Sprintf("/backfills/%v", backfill["id"]), "")["status"])
	require.Equal(t, "http token 127.0.0.1", scalar[string](t, db, "SELECT application FROM scheduler.operations WHERE action = 'backfill'"), "who asked for it")
	s.object("POST", fmt.Sprintf("/backfills/%v/cancel", backfill["id"]), "")

	// Lists.
	for _, path := range []string{"/jobs", "/runs", "/runs?job=yearly_hit&status=success&limit=1", "/agenda", "/agenda?within=8760h", "/incidents", "/backfills", "/rollouts"} {
		_, answer := s.ask("GET", "/api/v1"+path, "")
		require.Equal(t, byte('['), answer[0], "%s: %s", path, answer)
	}
	_, first := s.ask("GET", fmt.Sprintf("/api/v1/runs?before=%d", id), "")
	require.NotContains(t, string(first), fmt.Sprintf(`"id": %d,`, id), "pages do not overlap")

	// What is refused changes nothing.
	s.refuses(http.StatusNotFound, "unknown_job", "GET", "/jobs/nothing", "", "nothing")
	s.refuses(http.StatusNotFound, "unknown_job", "POST", "/jobs/nothing/pause", `{"reason": "x"}`)
	s.refuses(http.StatusNotFound, "run_not_found", "GET", "/runs/999999999", "")
	s.refuses(http.StatusNotFound, "backfill_not_found", "GET", "/backfills/999999999", "")
	s.refuses(http.StatusBadRequest, "bad_request", "GET", "/runs/x", "", "is no id")
	s.refuses(http.StatusBadRequest, "bad_request", "GET", "/runs?limit=1001", "", "between 1 and 1000")
	s.refuses(http.StatusBadRequest, "bad_request", "GET", "/runs?status=odd", "", "must be one of")
	s.refuses(http.StatusBadRequest, "bad_request", "GET", "/agenda?within=-1h", "")
	s.refuses(http.StatusBadRequest, "bad_request", "GET", "/jobs/yearly_hit/explain", "", "is neither made of cleanup rules nor a declared partition job")
	for _, text := range []string{"%00", "%ff"} {
		s.refuses(http.StatusBadRequest, "bad_request", "GET", "/jobs/"+text, "", "NUL or bytes that are not UTF-8")
		s.refuses(http.StatusBadRequest, "bad_request", "GET", "/runs?job="+text, "", "NUL or bytes that are not UTF-8")
	}
	s.refuses(http.StatusBadRequest, "bad_request", "POST", "/jobs/yearly_hit/pause", `{"reason": "\u0000"}`)
	s.refuses(http.StatusBadRequest, "bad_request", "POST", "/jobs/yearly_hit/run", `{"parameters": {"size": "\u0000"}}`)
	s.refuses(http.StatusBadRequest, "invalid_schedule", "GET", "/jobs/yearly_hit/next?schedule=61+*+*+*+*", "", "minute")
	s.refuses(http.StatusBadRequest, "invalid_schedule", "POST", "/jobs/yearly_hit/reschedule", `{"schedule": "every day"}`)
	s.refuses(http.StatusBadRequest, "invalid_parameter", "POST", "/jobs/yearly_hit/run", `{"parameters": {"odd": 1}}`, "odd")
	s.refuses(http.StatusBadRequest, "bad_request", "POST", "/jobs/yearly_hit/run", `{"odd_key": {}}`, "odd_key")
	s.refuses(http.StatusBadRequest, "bad_request", "POST", "/jobs/yearly_hit/run", `{} {}`, "follows")
	s.refuses(http.StatusBadRequest, "bad_request", "POST", "/jobs/yearly_hit/run", `dry_run=true`, "application/json")
	s.refuses(http.StatusBadRequest, "bad_argument", "POST", "/jobs/yearly_hit/pause", `{"reason": " "}`, "reason")
	s.refuses(http.StatusBadRequest, "bad_request", "POST", "/jobs/yearly_hit/backfill", `{}`, "from and to")
	s.refuses(http.StatusNotFound, "not_found", "DELETE", "/jobs/yearly_hit", "")
	s.refuses(http.StatusRequestEntityTooLarge, "too_large", "POST", "/jobs/yearly_hit/run", `{"parameters": {"a": "`+strings.Repeat("x", 70_000)+`"}}`)
	require.Equal(t, "active", s.object("GET", "/jobs/yearly_hit", "")["state"])
	require.Equal(t, int64(0), scalar[int64](t, db, "SELECT count(*) FROM scheduler.runs WHERE status = 'requested'"))
}

// TestHTTPForms: the pages' forms work without a script.
func TestHTTPForms(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{})
	s := serveHTTP(t, db, nil)
	form := func(path, fields string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.address+path, strings.NewReader(fields))
		require.NoError(t, err)
		r.SetBasicAuth("", httpToken)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		response, err := client.Do(r)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		if response.StatusCode != http.StatusSeeOther {
			return fmt.Sprint(response.StatusCode) + " " + string(body)
		}
		return response.Header.Get("Location")
	}
	where := form("/jobs/yearly_hit/run", "mode=dry&p.size=7")
	require.Regexp(t, `^/runs/\d+$`, where)
	var id int64
	_, err := fmt.Sscanf(where, "/runs/%d", &id)
	require.NoError(t, err)
	waitStatus(t, db, id, "success")
	require.True(t, scalar[bool](t, db, "SELECT dry_run AND parameters ->> 'size' = '7' FROM scheduler.runs WHERE id = $1", id))
	require.Contains(t, form("/jobs/yearly_hit/run", "mode=dry&p.size=many"), "must be a whole number")
	require.Contains(t, form("/jobs/sweep/run", "mode=odd"), "400 ")
	require.Contains(t, form("/jobs/sweep/run", ""), "400 ")
	require.Equal(t, "/jobs/sweep", form("/jobs/sweep/pause", "reason=by+hand"))
	require.Equal(t, "by hand", scalar[string](t, db, "SELECT paused_reason FROM scheduler.jobs WHERE job_name = 'sweep'"))
	require.Contains(t, form("/jobs/sweep/pause", "reason="), "400 ")
	require.Equal(t, "/jobs/sweep", form("/jobs/sweep/resume", ""))
	require.Equal(t, "/jobs/sweep", form("/jobs/sweep/reschedule", "schedule=0+4+*+*+*"))
	require.Contains(t, form("/jobs/sweep/reschedule", "schedule=now"), "400 ")
	require.Contains(t, form("/jobs/sweep/end-rollout", ""), "409 ")
	require.Contains(t, form("/jobs/nothing/resume", ""), "404 ")
	require.Contains(t, form("/runs/x/cancel", ""), "400 ")
	require.Contains(t, form(where+"/cancel", ""), "409 ")
	for _, path := range []string{"/", "/?q=sweep", "/jobs/sweep", "/jobs/sweep?schedule=0+5+*+*+*", "/jobs/sweep?schedule=odd", "/runs", "/runs?job=sweep&status=success", where, "/agenda"} {
		status, body := s.ask("GET", path, "")
		require.Equal(t, http.StatusOK, status, "%s: %s", path, body)
		require.Contains(t, string(body), "</html>", path)
	}
	status, body := s.ask("GET", "/jobs/nothing", "")
	require.Equal(t, http.StatusNotFound, status)
	require.Contains(t, string(body), "unknown job")
}

func TestHTTPReady(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	empty := testdb.New(t)
	ready := func(s *surface) (int, map[string]any) {
		status, answer := s.ask("GET", "/readyz", "")
		var value map[string]any
		require.NoError(t, json.Unmarshal(answer, &value))
		return status, value
	}
	await := func(s *surface, what string) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			status, value := ready(s)
			if what == "" {
				assert.Equal(c, http.StatusOK, status)
				return
			}
			assert.Equal(c, http.StatusServiceUnavailable, status)
			assert.NotContains(c, []any{nil, "ok", ""}, value[what], "%v", value)
		}, waitRun, 100*time.Millisecond)
	}
	await(serveHTTP(t, db, func(c *web.Config) {
		c.ConnectFunc = func(ctx context.Context) (*scheduler.Client, error) {
			return scheduler.NewClient(ctx, "postgres://nobody@127.0.0.1:1/nothing", "")
		}
	}), "database")
	await(serveHTTP(t, empty, func(c *web.Config) {
		c.ConnectFunc = func(ctx context.Context) (*scheduler.Client, error) { return scheduler.NewClient(ctx, empty.URL, "") }
	}), "schema")
	s := serveHTTP(t, db, nil)
	await(s, "leader")
	stop := runScheduler(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "one"})
	await(s, "")

	// A leader that does not get at what is due.
	stop()
	await(s, "leader")
	exec1(t, db, "UPDATE scheduler.job_definitions SET next_run = clock_timestamp() - interval '1 minute' WHERE next_run IS NOT NULL")
	lock, err := db.Conn(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = lock.Exec(t.Context(), "SELECT FROM scheduler.job_definitions FOR UPDATE")
	require.NoError(t, err)
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "two"})
	await(s, "ticks")
	require.NoError(t, lock.Rollback(t.Context()))
	await(s, "")
}

// TestHTTPReadyBesideSlowPages: a table that somebody has locked makes pages wait, and
// nothing else.
func TestHTTPReadyBesideSlowPages(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformTables)
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, Registry: jobs.DefaultRegistry()})
	s := serveHTTP(t, db, func(c *web.Config) { c.Registry = jobs.DefaultRegistry() })
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs WHERE job_name = 'cleanup_inactive_sessions')")
	_, explained := s.ask("GET", "/api/v1/jobs/cleanup_inactive_sessions/explain?p.inactive_hours=12", "")
	require.Contains(t, string(explained), `"target": "sessions"`)
	lock, err := db.Conn(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = lock.Exec(t.Context(), "LOCK TABLE user_sessions IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	s.refuses(http.StatusBadRequest, "invalid_parameter", "GET", "/jobs/cleanup_inactive_sessions/explain?p.odd=1", "", "odd")
	s.refuses(http.StatusBadRequest, "invalid_parameter", "GET", "/jobs/cleanup_inactive_sessions/explain?p.inactive_hours=many", "", "whole number")
	var asked sync.WaitGroup
	for range 3 {
		asked.Go(func() { s.ask("GET", "/jobs/cleanup_inactive_sessions/explain", "") })
	}
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'user_sessions'::regclass)")
	for _, path := range []string{"/readyz", "/", "/runs"} {
		status, body := s.ask("GET", path, "")
		require.Equal(t, http.StatusOK, status, "%s: %s", path, body)
	}
	require.NoError(t, lock.Rollback(t.Context()))
	asked.Wait()
}

// TestHTTPHostile: who sends too much, too slowly or nothing holds up nobody.
func TestHTTPHostile(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{})
	s := serveHTTP(t, db, nil)
	raw := func(text string) string {
		t.Helper()
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.address)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(waitRun)))
		_, err = io.WriteString(conn, text)
		require.NoError(t, err)
		answer, err := io.ReadAll(conn)
		if !errors.Is(err, syscall.ECONNRESET) { // it was not read to its end
			require.NoError(t, err, "the server ends it")
		}
		return string(answer)
	}
	require.Contains(t, raw("GET / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 100_000)+"\r\n\r\n"), "431 ")
	require.Contains(t, raw("nonsense\r\n\r\n"), "400 ")
	require.Contains(t, raw("POST /api/v1/pause HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer "+httpToken+
		"\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"+strings.Repeat(" ", 100_000)), "413 ")
	// Many that never end their headers, and one who is served meanwhile.
	for range 50 {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.address)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: ")
		require.NoError(t, err)
	}
	status, _ := s.ask("GET", "/readyz", "")
	require.Equal(t, http.StatusOK, status)
	require.Empty(t, raw("GET / HTTP/1.1\r\nHost: "), "it is ended without an answer")
}

// TestHTTPLive: a page hears what changes, and only that.
func TestHTTPLive(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{})
	s := serveHTTP(t, db, nil)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.address+"/live/overview", nil)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))
	events := bufio.NewReader(response.Body)
	patch := func() map[string]string {
		t.Helper()
		for {
			line, err := events.ReadBytes('\n')
			require.NoError(t, err)
			data, ok := bytes.CutPrefix(line, []byte("data: "))
			if !ok {
				continue
			}
			var event struct {
				Elements map[string]string `json:"elements"`
			}
			if json.Unmarshal(data, &event) == nil && event.Elements != nil {
				return event.Elements
			}
		}
	}
	first := patch()
	require.Contains(t, first, "fleet")
	require.Contains(t, first["job-yearly_hit"], "yearly_hit")
	run := scalar[int64](t, db, "SELECT scheduler.run_now('yearly_hit')")
	for {
		changed := patch()
		require.NotContains(t, changed, "job-endless", "nothing has changed there")
		if row := changed["job-yearly_hit"]; strings.Contains(row, "success") {
			break
		}
	}
	waitStatus(t, db, run, "success")
}
