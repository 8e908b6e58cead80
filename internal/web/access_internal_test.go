package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
)

const (
	secretToken    = "0123456789abcdef"
	secretPassword = "correct horse"
)

var errAway = errors.New("connect to secret-host.internal: refused")

// newTestServer is a server whose database is away.
func newTestServer(t *testing.T, c Config) *Server {
	t.Helper()
	c.ConnectFunc = func(context.Context) (*scheduler.Client, error) { return nil, errAway }
	c.Logger = slog.New(slog.DiscardHandler)
	s, err := New(c)
	require.NoError(t, err)
	return s
}

func serveRequest(s *Server, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

// passed is the status of a request that was let through to a database that is away.
const passed = http.StatusServiceUnavailable

func TestAccess(t *testing.T) {
	t.Parallel()
	const (
		loopback = "127.0.0.1:8080"
		network  = "0.0.0.0:8080"
	)
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	basic := func(user, password string) http.Header {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.SetBasicAuth(user, password)
		return r.Header
	}
	with := func(header http.Header, name, value string) http.Header {
		header.Set(name, value)
		return header
	}
	for _, test := range []struct {
		name, listen, method, path, host string
		readOnly, noSecrets              bool
		header                           http.Header
		status                           int
	}{
		{name: "health is open", listen: network, path: "/healthz", host: "scheduler.example.com", status: http.StatusOK},
		{name: "readiness is open", listen: network, path: "/readyz", host: "scheduler.example.com", status: passed},
		{name: "reading at the machine", listen: loopback, path: "/", host: "127.0.0.1:8080", status: passed},
		{name: "by its name", listen: loopback, path: "/", host: "localhost:8080", status: passed},
		{name: "by its other address", listen: "[::1]:8080", path: "/", host: "[::1]:8080", status: passed},
		{name: "without secrets", listen: loopback, path: "/", host: "localhost", noSecrets: true, status: passed},
		{name: "through a name that somebody points there", listen: loopback, path: "/", host: "evil.example.com", status: http.StatusUnauthorized},
		{name: "through such a name, without secrets", listen: loopback, path: "/", host: "evil.example.com", noSecrets: true, status: http.StatusForbidden},
		{
			name: "through a proxy at the machine", listen: loopback, path: "/", host: "127.0.0.1:8080",
			header: http.Header{"X-Forwarded-For": {"203.0.113.7"}}, status: http.StatusUnauthorized,
		},
		{
			name: "through another kind of proxy", listen: loopback, path: "/", host: "localhost",
			header: http.Header{"Via": {"1.1 proxy"}}, status: http.StatusUnauthorized,
		},
		{name: "reading from the network", listen: network, path: "/", host: "127.0.0.1:8080", status: http.StatusUnauthorized},
		{name: "the API from the network", listen: network, path: "/api/v1/jobs", host: "scheduler.example.com", status: http.StatusUnauthorized},
		{name: "River UI from the network", listen: network, path: "/river/", host: "scheduler.example.com", status: http.StatusUnauthorized},
		{name: "what does not exist from the network", listen: network, path: "/nothing", host: "scheduler.example.com", status: http.StatusUnauthorized},
		{name: "by the token", listen: network, path: "/", host: "scheduler.example.com", header: bearer(secretToken), status: passed},
		{name: "by the token as a password", listen: network, path: "/", host: "scheduler.example.com", header: basic("anybody", secretToken), status: passed},
		{name: "by the password", listen: network, path: "/", host: "scheduler.example.com", header: basic("operator", secretPassword), status: passed},
		{name: "another user's name", listen: network, path: "/", host: "scheduler.example.com", header: basic("root", secretPassword), status: http.StatusUnauthorized},
		{name: "a wrong token", listen: network, path: "/", host: "scheduler.example.com", header: bearer("0123456789abcdeg"), status: http.StatusUnauthorized},
		{name: "no token", listen: network, path: "/", host: "scheduler.example.com", header: bearer(""), status: http.StatusUnauthorized},
		{name: "no user", listen: network, path: "/", host: "scheduler.example.com", header: basic("", ""), status: http.StatusUnauthorized},
		{name: "a part of the token", listen: network, path: "/", host: "scheduler.example.com", header: bearer(secretToken[:15]), status: http.StatusUnauthorized},
		{name: "another kind of secret", listen: network, path: "/", host: "scheduler.example.com", header: http.Header{"Authorization": {"Digest x"}}, status: http.StatusUnauthorized},
		{name: "a wrong token where nothing is needed", listen: loopback, path: "/", host: "localhost", header: bearer("wrong"), status: http.StatusUnauthorized},

		{name: "changing needs a secret", listen: loopback, method: "POST", path: "/api/v1/pause", host: "localhost", status: http.StatusUnauthorized},
		{name: "changing where there is none", listen: loopback, method: "POST", path: "/api/v1/pause", host: "localhost", noSecrets: true, status: http.StatusForbidden},
		{name: "changing by form", listen: loopback, method: "POST", path: "/jobs/a/pause", host: "localhost", status: http.StatusUnauthorized},
		{name: "changing in River UI", listen: loopback, method: "POST", path: "/river/api/jobs/cancel", host: "localhost", status: http.StatusUnauthorized},
		{name: "changing by the token", listen: loopback, method: "POST", path: "/api/v1/pause", host: "localhost", header: bearer(secretToken), status: passed},
		{name: "another method", listen: loopback, method: "DELETE", path: "/api/v1/jobs", host: "localhost", status: http.StatusUnauthorized},
		{
			name: "from another site, with a secret", listen: loopback, method: "POST", path: "/api/v1/pause", host: "localhost",
			header: with(basic("operator", secretPassword), "Sec-Fetch-Site", "cross-site"), status: http.StatusForbidden,
		},
		{
			name: "from a sister site", listen: loopback, method: "POST", path: "/jobs/a/pause", host: "localhost",
			header: with(basic("operator", secretPassword), "Sec-Fetch-Site", "same-site"), status: http.StatusForbidden,
		},
		{
			name: "from another site, by an old browser", listen: loopback, method: "POST", path: "/jobs/a/pause", host: "localhost",
			header: with(basic("operator", secretPassword), "Origin", "http://evil.example.com"), status: http.StatusForbidden,
		},
		{
			name: "from a page without an origin", listen: loopback, method: "POST", path: "/jobs/a/pause", host: "localhost",
			header: with(basic("operator", secretPassword), "Origin", "null"), status: http.StatusForbidden,
		},
		{
			name: "from our own page", listen: loopback, method: "POST", path: "/jobs/a/pause", host: "localhost:8080",
			header: with(basic("operator", secretPassword), "Origin", "http://localhost:8080"), status: passed,
		},
		{
			name: "read-only", listen: loopback, method: "POST", path: "/api/v1/pause", host: "localhost", readOnly: true,
			header: bearer(secretToken), status: http.StatusForbidden,
		},
		{
			name: "read-only River UI", listen: loopback, method: "PUT", path: "/river/api/queues/default", host: "localhost", readOnly: true,
			header: bearer(secretToken), status: http.StatusForbidden,
		},
		{name: "reading where it is read-only", listen: loopback, path: "/", host: "localhost", readOnly: true, status: passed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := Config{Listen: test.listen, Token: secretToken, User: "operator", Password: secretPassword, ReadOnly: test.readOnly}
			if test.noSecrets {
				c.Token, c.User, c.Password = "", "", ""
			}
			c.RiverFunc = func(context.Context) (*River, error) { return nil, errAway }
			s := newTestServer(t, c)
			method := test.method
			if method == "" {
				method = http.MethodGet
			}
			r := httptest.NewRequest(method, test.path, nil)
			r.Host = test.host
			maps.Copy(r.Header, test.header)
			w := serveRequest(s, r)
			require.Equal(t, test.status, w.Code, w.Body.String())
			require.Equal(t, test.status == http.StatusUnauthorized, w.Header().Get("WWW-Authenticate") != "")
			require.NotContains(t, w.Body.String(), "secret-host", "what only the log is for")
		})
	}
}

// TestAccess_everyRoute: no call of the API that changes something is open, whatever
// may be added.
func TestAccess_everyRoute(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, Config{Listen: "127.0.0.1:0", Token: secretToken})
	seen := 0
	for _, route := range routes() {
		r := httptest.NewRequest(route.method, apiPath+strings.NewReplacer("{name}", "a", "{id}", "1").Replace(route.path), nil)
		r.Host = "localhost"
		expect := passed
		if route.method != http.MethodGet {
			expect = http.StatusUnauthorized
			seen++
		}
		require.Equal(t, expect, serveRequest(s, r).Code, "%s %s", route.method, route.path)
	}
	for form := range s.forms() {
		r := httptest.NewRequest(http.MethodPost, strings.NewReplacer("{name}", "a", "{id}", "1").Replace(form), nil)
		r.Host = "localhost"
		require.Equal(t, http.StatusUnauthorized, serveRequest(s, r).Code, form)
	}
	require.Positive(t, seen)
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, Config{Listen: "127.0.0.1:0"})
	for _, path := range []string{"/", "/nothing", "/api/v1/jobs", "/static/app.js", "/jobs/x"} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = "localhost"
		h := serveRequest(s, r).Header()
		policy := h.Get("Content-Security-Policy")
		require.Contains(t, policy, "script-src 'self';", path)
		require.NotContains(t, policy, "unsafe", path)
		require.Contains(t, policy, "frame-ancestors 'none'", path)
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
		require.Equal(t, "DENY", h.Get("X-Frame-Options"), path)
		require.Equal(t, "no-store", h.Get("Cache-Control"), path)
		require.Empty(t, h.Get("Access-Control-Allow-Origin"), path)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, Config{Listen: "127.0.0.1:0"})
	r := httptest.NewRequest(http.MethodGet, "/api/v1/nothing", nil)
	r.Host = "localhost"
	w := serveRequest(s, r)
	require.Equal(t, http.StatusNotFound, w.Code)
	var answer errorAnswer
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
	require.Equal(t, "not_found", answer.Error.Code)

	r = httptest.NewRequest(http.MethodGet, "/<script>alert(1)</script>", nil)
	r.Host = "localhost"
	w = serveRequest(s, r)
	require.Equal(t, http.StatusNotFound, w.Code)
	require.NotContains(t, w.Body.String(), "<script>alert")
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		config Config
		// field and text are of the error; empty for none.
		field, text string
	}{
		{Config{Listen: "8080"}, "", ""},
		{Config{Listen: "127.0.0.1:8080"}, "", ""},
		{Config{Listen: "127.9.9.9:8080"}, "", ""},
		{Config{Listen: "localhost:http"}, "listen", "has no port"},
		{Config{Listen: "[::1]:0"}, "", ""},
		{Config{Listen: ":8080", Token: secretToken}, "", ""},
		{Config{Listen: "10.0.0.1:8080", User: "operator", Password: secretPassword}, "", ""},
		{Config{Listen: ":8080"}, "listen", "can be reached from other machines: set http_token or http_basic_auth"},
		{Config{Listen: "0.0.0.0:8080"}, "listen", "can be reached"},
		{Config{Listen: "[::]:8080"}, "listen", "can be reached"},
		{Config{Listen: "db.example.com:8080"}, "listen", "can be reached"},
		{Config{Listen: "localhost"}, "listen", `"localhost" is no address`},
		{Config{Listen: "127.0.0.1"}, "listen", `"127.0.0.1" is no address`},
		{Config{Listen: "127.0.0.1:"}, "listen", "has no port"},
		{Config{Listen: "99999"}, "listen", "is no address"},
		{Config{Listen: "1:2:3"}, "listen", "is no address"},
		{Config{Listen: "8080", Token: "short"}, "http_token", "has 5 characters, must have at least 16"},
		{Config{Listen: "8080", Token: "0123456789 abcdef"}, "http_token", "no header can carry"},
		{Config{Listen: "8080", User: "operator"}, "http_basic_auth", "user:password"},
		{Config{Listen: "8080", User: "operator", Password: "short"}, "http_basic_auth", "the password has 5 characters"},
	} {
		err := test.config.Validate()
		if test.field == "" {
			require.NoError(t, err, test.config.Listen)
			continue
		}
		list := scheduler.ConfigErrors(err)
		require.Len(t, list, 1, fmt.Sprint(err))
		require.Equal(t, test.field, list[0].Field)
		require.ErrorContains(t, list[0], test.text)
	}
}
