package integration

import (
	"bufio"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/schedulerhttp"
)

// office is an application with an HTTP server, a mux and an authentication of its own,
// and a scheduler at /office/scheduler.
type office struct {
	t      *testing.T
	server *httptest.Server
}

const officePrefix = "/office/scheduler"

func openOffice(t *testing.T, s *scheduler.Scheduler, registry *prometheus.Registry) *office {
	t.Helper()
	handler, err := schedulerhttp.New(schedulerhttp.Config{
		Scheduler: s, Prefix: officePrefix, RiverUI: true, Gatherer: registry,
		AccessFunc: func(r *http.Request) schedulerhttp.Access {
			who := r.Header.Get("X-Office-User")
			return schedulerhttp.Access{Actor: who, Read: who != "", Change: who == "boss"}
		},
	})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle(officePrefix+"/", handler)
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("the office")) })
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		require.NoError(t, handler.Close())
		server.Close()
	})
	return &office{t, server}
}

// ask sends a request as somebody, and follows no redirection.
func (o *office) ask(who, method, path string, form url.Values) *http.Response {
	o.t.Helper()
	r, err := http.NewRequestWithContext(o.t.Context(), method, o.server.URL+path, strings.NewReader(form.Encode()))
	require.NoError(o.t, err)
	r.Header.Set("X-Office-User", who)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	require.NoError(o.t, err)
	o.t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

func (o *office) read(who, method, path string, form url.Values) (status int, body string) {
	o.t.Helper()
	response := o.ask(who, method, path, form) //nolint:bodyclose // when the test ends
	content, err := io.ReadAll(response.Body)
	require.NoError(o.t, err)
	return response.StatusCode, string(content)
}

var addressRE = regexp.MustCompile(`\s(href|src|action|formaction|data-next|data-live)="([^"#]+)[^"]*"`)

// Wherever the pages lead to is below the prefix, and there.
func TestPagesBelowAPrefix(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	registry := prometheus.NewRegistry()
	s, _ := embed(t, scheduler.Config{Pool: shopPool(t, db, nil), Metrics: registry})
	client := ready(t, s)
	run := runAndWait(t, client, "hopeless")
	require.Equal(t, jobs.StatusFailed, run.Status)
	office := openOffice(t, s, registry)

	seen, todo := map[string]bool{}, []string{officePrefix + "/"}
	for len(todo) > 0 {
		path := todo[0]
		todo = todo[1:]
		status, body := office.read("clerk", http.MethodGet, path, nil)
		require.Equal(t, http.StatusOK, status, "%s: %s", path, body)
		if strings.HasPrefix(path, officePrefix+"/river") || strings.HasPrefix(path, officePrefix+"/static") {
			continue
		}
		for _, match := range addressRE.FindAllStringSubmatch(body, -1) {
			address := html.UnescapeString(match[2])
			require.True(t, strings.HasPrefix(address, officePrefix+"/") || strings.HasPrefix(address, "data:"), "%s leads to %s", path, address)
			if (match[1] == "href" || match[1] == "src") && !seen[address] {
				seen[address] = true
				todo = append(todo, address)
			}
		}
	}
	require.Greater(t, len(seen), 10, "%v", seen)
	status, body := office.read("clerk", http.MethodGet, officePrefix+"/river/", nil)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, officePrefix+"/river/")
	for _, path := range []string{officePrefix + "/river", officePrefix} {
		response := office.ask("clerk", http.MethodGet, path, nil) //nolint:bodyclose // when the test ends
		require.Equal(t, path+"/", response.Header.Get("Location"))
	}
	_, body = office.read("", http.MethodGet, "/", nil)
	require.Equal(t, "the office", body)

	// What is live is below it, too.
	response := office.ask("clerk", http.MethodGet, officePrefix+"/live/overview", nil) //nolint:bodyclose // when the test ends
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "data: ") { //nolint:revive // it goes on to the data
	}
	require.Contains(t, lines.Text(), `href=\"`+officePrefix+`/jobs/yearly_hit\"`)
}

// The application's own authentication decides, and its users are named in the log of
// operations.
func TestTheApplicationsAuthentication(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	registry := prometheus.NewRegistry()
	s, _ := embed(t, scheduler.Config{Pool: shopPool(t, db, nil), Metrics: registry})
	ready(t, s)
	office := openOffice(t, s, registry)
	const run = officePrefix + "/jobs/yearly_hit/run"
	form := url.Values{"mode": {"real"}, "p.size": {"3"}}
	for _, test := range []struct {
		who, method, path string
		status            int
	}{
		{"", http.MethodGet, officePrefix + "/", http.StatusForbidden},
		{"", http.MethodGet, officePrefix + "/api/v1/jobs", http.StatusForbidden},
		{"", http.MethodGet, officePrefix + "/river/", http.StatusForbidden},
		{"", http.MethodPost, run, http.StatusForbidden},
		{"clerk", http.MethodGet, officePrefix + "/api/v1/jobs", http.StatusOK},
		{"clerk", http.MethodPost, run, http.StatusForbidden},
		{"clerk", http.MethodPost, officePrefix + "/river/api/jobs/cancel", http.StatusForbidden},
		{"boss", http.MethodPost, run, http.StatusSeeOther},
		{"", http.MethodGet, officePrefix + "/healthz", http.StatusOK},
		{"", http.MethodGet, officePrefix + "/readyz", http.StatusOK},
		{"", http.MethodGet, officePrefix + "/metrics", http.StatusOK},
		{"boss", http.MethodGet, officePrefix + "/nothing", http.StatusNotFound},
	} {
		response := office.ask(test.who, test.method, test.path, form) //nolint:bodyclose // when the test ends
		require.Equal(t, test.status, response.StatusCode, "%+v", test)
		if location := response.Header.Get("Location"); location != "" {
			require.Regexp(t, "^"+officePrefix+`/runs/\d+$`, location)
		}
	}
	require.Regexp(t, "^http boss ", scalar[string](t, db, "SELECT requested_application FROM scheduler.job_runs WHERE job_name = 'yearly_hit'"))

	// A page of another site is refused, whoever looks at it.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, office.server.URL+run, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header.Set("X-Office-User", "boss")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	response, err := new(http.Client).Do(r)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusForbidden, response.StatusCode)
}

func TestHandlersThatAreRefused(t *testing.T) {
	t.Parallel()
	s, err := scheduler.New(scheduler.Config{Registry: &jobs.Registry{}})
	require.NoError(t, err)
	for field, config := range map[string]schedulerhttp.Config{
		"scheduler":       {},
		"access":          {Scheduler: s},
		"prefix":          {Scheduler: s, Prefix: "scheduler/", Token: httpToken},
		"http_token":      {Scheduler: s, Token: "short"},
		"http_basic_auth": {Scheduler: s, User: "somebody"},
	} {
		_, err := schedulerhttp.New(config)
		errs := scheduler.ConfigErrors(err)
		require.NotEmpty(t, errs, field)
		require.Equal(t, field, errs[0].Field)
	}
}

// A handler whose database is away says so, and one that is closed refuses.
func TestHandlerWithoutADatabase(t *testing.T) {
	t.Parallel()
	s, err := scheduler.New(scheduler.Config{DatabaseURL: "postgres://127.0.0.1:1/nowhere", Registry: &jobs.Registry{}, Logger: discard()})
	require.NoError(t, err)
	handler, err := schedulerhttp.New(schedulerhttp.Config{Scheduler: s, Token: httpToken})
	require.NoError(t, err)
	ask := func(path string) int {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
		r.Header.Set("Authorization", "Bearer "+httpToken)
		handler.ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, http.StatusOK, ask("/healthz"))
	require.Equal(t, http.StatusServiceUnavailable, ask("/readyz"))
	require.Equal(t, http.StatusServiceUnavailable, ask("/api/v1/jobs"))
	require.NoError(t, handler.Close())
	require.NoError(t, handler.Close(), "once more does no harm")
	require.Equal(t, http.StatusServiceUnavailable, ask("/api/v1/jobs"))
}
