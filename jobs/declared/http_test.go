package declared_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/declared"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// received is what a server got.
type received struct {
	header http.Header
	body   string
}

// serve answers requests, and hands out what it got.
func serve(t *testing.T, answer http.HandlerFunc) (url string, got chan received) {
	t.Helper()
	got = make(chan received, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- received{r.Header, string(body)}
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

func TestHTTPSignsWhatTheRunIs(t *testing.T) {
	t.Parallel()
	url, got := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "thank\nyou\x1b[31m") })
	job, err := declared.HTTP(declared.HTTPConfig{
		Definition: definition(keep), URL: url + "/hook?token=hidden", Headers: map[string]string{"X-Kind": "nightly"},
		CredentialsFunc: func() (declared.Credentials, error) {
			return declared.Credentials{Secret: secret, Headers: map[string]string{"Authorization": "Bearer hidden"}}, nil
		},
	})
	require.NoError(t, err)
	var first received
	for n := 1; n <= 2; n++ {
		targets, message, err := attempt(t, job, func(run *jobs.Run) { run.Attempt = n })
		require.NoError(t, err)
		require.Equal(t, "200 OK", targets["request"].Note)
		require.Regexp(t, `^200 OK after \S+: thank you\[31m$`, message)
		r := <-got
		require.JSONEq(t, `{"job": "nightly", "run_id": 7, "tick": "2026-11-27T03:00:00Z", "trigger": "schedule", "parameters": {"keep": 3}}`, r.body)
		require.Equal(t, "nightly-20261127T030000000000Z", r.header.Get("Idempotency-Key"))
		require.Equal(t, r.header.Get("Idempotency-Key"), r.header.Get("Webhook-Id"))
		require.Equal(t, string(rune('0'+n)), r.header.Get("Scheduler-Attempt"))
		require.Equal(t, "Bearer hidden", r.header.Get("Authorization"))
		require.Equal(t, "application/json", r.header.Get("Content-Type"))
		require.Empty(t, r.header.Get("Traceparent"))
		webhook, err := standardwebhooks.NewWebhook(secret)
		require.NoError(t, err)
		require.NoError(t, webhook.Verify([]byte(r.body), r.header))
		require.Error(t, webhook.Verify([]byte(r.body+" "), r.header))
		if n == 1 {
			first = r
		}
		require.Equal(t, first.body, r.body, "each attempt has the same body")
	}
	_, _, err = attempt(t, job, func(run *jobs.Run) { run.Trigger = jobs.TriggerManual })
	require.NoError(t, err)
	require.Equal(t, "nightly-20261127T030000000000Z-run-7", (<-got).header.Get("Webhook-Id"))
	_, message, err := attempt(t, job, func(run *jobs.Run) { run.DryRun = true })
	require.NoError(t, err)
	require.Contains(t, message, "a run would send POST "+url+"/hook")
	require.NotContains(t, message, "hidden")
	require.Empty(t, got, "a dry run sends nothing")
}

func TestHTTPIsTraced(t *testing.T) {
	t.Parallel()
	url, got := serve(t, func(http.ResponseWriter, *http.Request) {})
	job, err := declared.HTTP(declared.HTTPConfig{Definition: definition(), URL: url, Method: "GET"})
	require.NoError(t, err)
	batches, err := job.(jobs.BatchJob).Start(t.Context(), &jobs.Run{Job: "nightly", Logger: discard})
	require.NoError(t, err)
	_, err = batches.Next(t.Context(), &jobs.Batch{})
	require.NoError(t, err)
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	require.NoError(t, batches.(jobs.Preparer).Prepare(trace.ContextWithSpanContext(t.Context(), span)))
	r := <-got
	require.Equal(t, "00-01000000000000000000000000000000-0200000000000000-01", r.header.Get("Traceparent"))
	require.Empty(t, r.body, "GET has no body")
}

func TestHTTPVerdicts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status     int
		retryAfter string
		permanent  bool
		wait       time.Duration
	}{
		{500, "", false, -1},
		{503, "120", false, 2 * time.Minute},
		{429, "999999", false, declared.RetryAfterMax},
		{429, "Wed, 21 Oct 2015 07:28:00 GMT", false, 0},
		{503, "soon", false, -1},
		{408, "", false, -1},
		{425, "", false, -1},
		{400, "10", true, -1},
		{404, "", true, -1},
		{301, "", true, -1},
	} {
		url, got := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://elsewhere.example/x?token=hidden")
			if test.retryAfter != "" {
				w.Header().Set("Retry-After", test.retryAfter)
			}
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, strings.Repeat("no! ", 100_000))
		})
		job, err := declared.HTTP(declared.HTTPConfig{Definition: definition(), URL: strings.Replace(url, "//", "//user:hidden@", 1) + "/a?b=hidden"})
		require.NoError(t, err)
		_, _, err = attempt(t, job, nil)
		require.ErrorContains(t, err, "POST "+url+"/a answered ")
		require.NotContains(t, err.Error(), "hidden")
		require.Less(t, len(err.Error()), 1500)
		require.Equal(t, test.permanent, jobs.IsPermanent(err), test.status)
		wait, ok := jobs.RetryWait(err)
		require.Equal(t, test.wait >= 0, ok, test.status)
		if ok {
			require.Equal(t, test.wait, wait)
		}
		require.Len(t, got, 1, "a redirect is not followed")
	}
}

// A server that goes on in another protocol keeps no run from ending.
func TestHTTPSwitchesToNoOtherProtocol(t *testing.T) {
	t.Parallel()
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
		_, _ = conn.Read(make([]byte, 1)) // until the other side closes it
		_ = conn.Close()
	})
	job, err := declared.HTTP(declared.HTTPConfig{Definition: definition(), URL: url, Timeout: 5 * time.Second})
	require.NoError(t, err)
	_, _, err = attempt(t, job, nil)
	require.ErrorContains(t, err, "answered 101 Switching Protocols")
}

func TestHTTPErrorsHoldNoSecret(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "hooks.example.com", "ftp://hidden@x/y", "http://", "https://hidden:hidden@[::1/", "http://x/%zzhidden", "http:hidden"} {
		_, err := declared.HTTP(declared.HTTPConfig{Definition: definition(), URL: url})
		require.Contains(t, fieldsOf(err), "http.url", url)
		require.NotContains(t, err.Error(), "hidden")
	}
	job, err := declared.HTTP(declared.HTTPConfig{Definition: definition(), URL: "http://user:hidden@127.0.0.1:1/x?hidden"})
	require.NoError(t, err)
	_, _, err = attempt(t, job, nil)
	require.ErrorContains(t, err, "POST http://127.0.0.1:1/x: dial tcp")
	require.NotContains(t, err.Error(), "hidden")
	url, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	job, err = declared.HTTP(declared.HTTPConfig{Definition: definition(), URL: url, Timeout: 50 * time.Millisecond})
	require.NoError(t, err)
	_, _, err = attempt(t, job, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "no answer within 50ms")
}

func TestHTTPRefuses(t *testing.T) {
	t.Parallel()
	_, err := declared.HTTP(declared.HTTPConfig{
		Definition: definition(), URL: "https://example.com", Method: "get", Headers: map[string]string{"Webhook-Id": "1", "a b": "c", "X": "a\nb", "OK": "1"},
		Success: []int{99, 200}, Timeout: -1,
	})
	require.Equal(t, map[string]int{"http.method": 0, "http.headers.Webhook-Id": 0, "http.headers.a b": 0, "http.headers.X": 0, "http.success": 0, "http.timeout": 0}, fieldsOf(err))
	_, err = declared.HTTP(declared.HTTPConfig{Definition: definition(), URL: "https://example.com", Method: "GET", Body: "x"})
	require.Contains(t, fieldsOf(err), "http.body")
	for _, bad := range []string{"short!", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64, but long enough to be a secret", strings.TrimPrefix(secret, "whsec_")} {
		job, err := declared.HTTP(declared.HTTPConfig{Definition: definition(), URL: "https://example.com", CredentialsFunc: func() (declared.Credentials, error) {
			return declared.Credentials{Secret: bad}, nil
		}})
		require.NoError(t, err)
		err = job.(jobs.Checker).Check(t.Context(), nil)
		require.Contains(t, fieldsOf(err), "http.secret_variable")
		if bad != "whsec_" {
			require.NotContains(t, err.Error(), bad)
		}
	}
}

func TestHTTPSuccessAndBody(t *testing.T) {
	t.Parallel()
	url, got := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	job, err := declared.HTTP(declared.HTTPConfig{Definition: definition(), URL: url, Method: "PUT", Body: `{"a": 1}`, Success: []int{200, 404}})
	require.NoError(t, err)
	_, message, err := attempt(t, job, func(run *jobs.Run) { run.Cursor = json.RawMessage(`{"begun": true}`) })
	require.NoError(t, err)
	require.Contains(t, message, "an earlier attempt had begun, too")
	r := <-got
	require.Equal(t, `{"a": 1}`, r.body)
	require.Equal(t, "application/json", r.header.Get("Content-Type"))
	job, err = declared.HTTP(declared.HTTPConfig{Definition: definition(), URL: url, CredentialsFunc: func() (declared.Credentials, error) {
		return declared.Credentials{}, errors.New("the vault is closed")
	}})
	require.NoError(t, err)
	_, _, err = attempt(t, job, nil)
	require.ErrorContains(t, err, "the vault is closed")
	require.Empty(t, got)
}

// Of an answer that does not end no more is read than is looked at.
func TestHTTPAnswerWithoutEnd(t *testing.T) {
	t.Parallel()
	const most = 64 << 20 // far more than the sockets hold
	sent := make(chan int, 1)
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n := 0
		for n < most {
			written, err := io.WriteString(w, strings.Repeat("no end ", 1000))
			if n += written; err != nil {
				break
			}
		}
		sent <- n
	})
	job, err := declared.HTTP(declared.HTTPConfig{Definition: definition(), URL: url})
	require.NoError(t, err)
	_, message, err := attempt(t, job, nil)
	require.NoError(t, err)
	require.Contains(t, message, "200 OK")
	require.Less(t, len(message), 2000)
	require.Less(t, <-sent, most)
}
