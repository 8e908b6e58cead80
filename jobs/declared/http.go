package declared

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.opentelemetry.io/otel/propagation"
	"golang.org/x/net/http/httpguts"

	"github.com/systempromptio/scheduler/jobs"
)

const (
	// RequestTimeoutDefault bounds a request that names no bound.
	RequestTimeoutDefault = 30 * time.Second

	// RetryAfterMax is the longest wait that an answer's Retry-After is obeyed for.
	RetryAfterMax = time.Hour

	// responseMax is how much of an answer is read, responseKept how much of it is kept.
	responseMax  = 64 << 10
	responseKept = 1 << 10

	// secretMin is the least number of bytes of a secret.
	secretMin = 24
)

// Credentials are what a request has that stands in no file and no row.
type Credentials struct {
	// Secret signs the body: whsec_ and 24 bytes or more in base64, as the Standard
	// Webhooks specification has it. Empty means no signature.
	Secret string
	// Headers are set over those of the configuration.
	Headers map[string]string
}

// HTTPConfig says what a job of [HTTP] does.
type HTTPConfig struct {
	// Definition describes the job. Its parameters are part of the body that is made where
	// none is given.
	Definition jobs.Definition
	// URL is where the request goes: http or https. Required.
	URL string
	// Method is the request's. Empty means POST.
	Method string
	// Headers are set on the request.
	Headers map[string]string
	// Body is the request's, as it is. Empty means a JSON object with job, run_id, tick,
	// trigger and parameters, the same for each attempt; GET and HEAD have none.
	Body string
	// Timeout bounds the request. Zero means [RequestTimeoutDefault].
	Timeout time.Duration
	// Success lists the statuses that mean success. Empty means 200 to 299.
	Success []int
	// CredentialsFunc gives what is secret. It is called before each request, and before
	// the start; an error says what is missing. Nil means nothing.
	CredentialsFunc func() (Credentials, error)
	// Client sends the requests. Nil means one of its own, which keeps no connection open.
	// Redirects are not followed in any case.
	Client *http.Client
}

// HTTP makes a job that sends a request: once in each attempt, outside any transaction
// and at least once, see [SQLOutsideTransaction].
//
//   - The header webhook-id, and Idempotency-Key with the same value, is the same for each
//     attempt at a tick of a job, so that a receiver can leave out what it has had:
//     the job's name and the tick, for a run that was asked for also its id. With a
//     secret, the body is signed as Standard Webhooks have it (webhook-timestamp,
//     webhook-signature). Scheduler-Attempt counts the attempts; traceparent is set where
//     the run is traced.
//   - Other statuses than those of Success fail the attempt. Those from 300 to 499, but for
//     408, 425 and 429, end the run at once: another attempt would get the same answer. A
//     Retry-After of up to [RetryAfterMax] says when the next attempt comes; else the
//     job's backoff does.
//   - Redirects are not followed: the signed body goes to the address that was declared.
//   - The first bytes of the answer are kept, in the run's message or error and its log. An
//     error names the address without user, password and query.
//   - A dry run sends nothing, and says so.
func HTTP(config HTTPConfig) (jobs.Job, error) {
	r := &request{config: config}
	r.config.Headers, r.config.Success = maps.Clone(config.Headers), slices.Clone(config.Success)
	if config.Method == "" {
		r.config.Method = http.MethodPost
	}
	if config.Timeout == 0 {
		r.config.Timeout = RequestTimeoutDefault
	}
	if err := r.validate(); err != nil {
		return nil, err
	}
	client := http.Client{Transport: ownTransport()}
	if config.Client != nil {
		client = *config.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	r.client = &client
	return &outside{
		definition: labelled(config.Definition, "HTTP request: not one with its record, may be done twice"),
		target:     "request",
		dry:        "send " + r.label,
		do:         r.send,
		check: func(context.Context, *jobs.Run) error {
			_, err := r.credentials()
			return err
		},
	}, nil
}

// ownTransport keeps no connections: a job's requests are far apart.
func ownTransport() *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
		MaxResponseHeaderBytes: responseMax,
	}
}

// request is what a job of [HTTP] sends.
type request struct {
	config HTTPConfig
	client *http.Client
	// label names the request without what may be secret in it.
	label string
}

func (r *request) validate() error {
	refuse := func(field, format string, args ...any) error {
		return &jobs.FieldError{Field: field, Err: fmt.Errorf(format, args...)}
	}
	var errs []error
	// What the parser says holds the address, and so a password that may be in it.
	switch address, err := url.Parse(r.config.URL); {
	case r.config.URL == "":
		errs = append(errs, refuse("http.url", "is missing; give the address, such as https://example.com/hooks/nightly"))
	case err != nil || address.Scheme != "http" && address.Scheme != "https" || address.Host == "" || address.Opaque != "":
		errs = append(errs, refuse("http.url", "is no address of HTTP; give one such as https://example.com/hooks/nightly"))
	default:
		r.label = fmt.Sprintf("%s %s://%s%s", r.config.Method, address.Scheme, address.Host, address.EscapedPath())
	}
	if !httpguts.ValidHeaderFieldName(r.config.Method) || strings.ToUpper(r.config.Method) != r.config.Method || r.config.Method == http.MethodConnect {
		errs = append(errs, refuse("http.method", "%q is no method of HTTP; use one such as POST, PUT or GET", r.config.Method))
	}
	for _, name := range slices.Sorted(maps.Keys(r.config.Headers)) {
		errs = append(errs, checkHeader("http.headers."+name, name, r.config.Headers[name]))
	}
	for _, status := range r.config.Success {
		if status < 200 || status > 599 {
			errs = append(errs, refuse("http.success", "%d is no status of an answer; use numbers from 200 to 599", status))
		}
	}
	if r.config.Timeout < 0 {
		errs = append(errs, refuse("http.timeout", "is %v, must be positive", r.config.Timeout))
	}
	if r.config.Body != "" && r.withoutBody() {
		errs = append(errs, refuse("http.body", "%s has no body; leave it out, or use POST", r.config.Method))
	}
	return errors.Join(errs...)
}

// checkHeader refuses what cannot be sent, and what the request sets itself. The value
// may be a secret.
func checkHeader(field, name, value string) error {
	problem := ""
	switch lower := strings.ToLower(name); {
	case !httpguts.ValidHeaderFieldName(name):
		problem = "is no name of a header"
	case !httpguts.ValidHeaderFieldValue(value):
		problem = "has a value that a header cannot have; it must be one line of text"
	case strings.HasPrefix(lower, "webhook-"), slices.Contains([]string{"idempotency-key", "scheduler-attempt", "traceparent", "tracestate", "content-length", "transfer-encoding", "host"}, lower):
		problem = "is set by the request itself; leave it out"
	}
	if problem == "" {
		return nil
	}
	return &jobs.FieldError{Field: field, Err: fmt.Errorf("%q %s", name, problem)}
}

func (r *request) withoutBody() bool {
	return r.config.Method == http.MethodGet || r.config.Method == http.MethodHead
}

// credentials are what is secret, checked.
func (r *request) credentials() (Credentials, error) {
	if r.config.CredentialsFunc == nil {
		return Credentials{}, nil
	}
	c, err := r.config.CredentialsFunc()
	if err != nil {
		return Credentials{}, err
	}
	if c.Secret != "" {
		if _, err := signer(c.Secret); err != nil {
			return Credentials{}, &jobs.FieldError{Field: "http.secret_variable", Err: err}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		if err := checkHeader("http.header_variables."+name, name, c.Headers[name]); err != nil {
			return Credentials{}, err
		}
	}
	return c, nil
}

// signer makes what signs with a secret. The error does not hold it.
func signer(secret string) (*standardwebhooks.Webhook, error) {
	webhook, err := standardwebhooks.NewWebhook(secret)
	if encoded, ok := strings.CutPrefix(secret, "whsec_"); err != nil || !ok || len(encoded)*3/4-strings.Count(encoded, "=") < secretMin {
		return nil, fmt.Errorf(`the secret must be whsec_ and at least %d bytes in base64; make one with: echo "whsec_$(openssl rand -base64 32)"`, secretMin)
	}
	return webhook, nil
}

// deduplicationID is the same for each attempt at what is to happen once.
func deduplicationID(run *jobs.Run) string {
	id := run.Job + "-" + strings.Replace(run.Tick.UTC().Format("20060102T150405.000000Z"), ".", "", 1)
	if run.Trigger == jobs.TriggerManual {
		id += fmt.Sprintf("-run-%d", run.ID)
	}
	return id
}

// facts is the body where none is given. It is the same for each attempt, which a
// receiver that goes by the Idempotency-Key may insist on.
type facts struct {
	Job        string          `json:"job"`
	RunID      int64           `json:"run_id"`
	Tick       time.Time       `json:"tick"`
	Trigger    jobs.Trigger    `json:"trigger"`
	Parameters jobs.Parameters `json:"parameters"`
}

// make makes the request of a run.
func (r *request) make(ctx context.Context, run *jobs.Run) (*http.Request, error) {
	credentials, err := r.credentials()
	if err != nil {
		return nil, err
	}
	body, isJSON := []byte(r.config.Body), false
	if r.config.Body == "" && !r.withoutBody() {
		isJSON = true
		if body, err = json.Marshal(facts{Job: run.Job, RunID: run.ID, Tick: run.Tick.UTC(), Trigger: run.Trigger, Parameters: run.Parameters}); err != nil {
			return nil, fmt.Errorf("encode the body: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.config.Method, r.config.URL, bytes.NewReader(body))
	if err != nil {
		return nil, r.plain(err)
	}
	req.Header.Set("User-Agent", "systempromptio-scheduler")
	if isJSON || json.Valid(body) {
		req.Header.Set("Content-Type", "application/json")
	} else if len(body) > 0 {
		req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	for _, headers := range []map[string]string{r.config.Headers, credentials.Headers} {
		for name, value := range headers {
			req.Header.Set(name, value)
		}
	}
	id := deduplicationID(run)
	req.Header.Set(standardwebhooks.HeaderWebhookID, id)
	req.Header.Set("Idempotency-Key", id)
	req.Header.Set("Scheduler-Attempt", strconv.Itoa(run.Attempt))
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(req.Header))
	if credentials.Secret == "" {
		return req, nil
	}
	webhook, err := signer(credentials.Secret)
	if err != nil {
		return nil, err
	}
	// The receiver compares the time with its own clock, and so not the run's.
	at := time.Now()
	signature, err := webhook.Sign(id, at, body)
	if err != nil {
		return nil, fmt.Errorf("sign the body: %w", err)
	}
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return req, nil
}

// errNoAnswer ends a request whose own time is over, and not the attempt's.
var errNoAnswer = errors.New("the time for the answer is over")

// send sends the request of a run.
func (r *request) send(ctx context.Context, run *jobs.Run) (outcome, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.config.Timeout, errNoAnswer)
	defer cancel()
	req, err := r.make(ctx, run)
	if err != nil {
		return outcome{}, err
	}
	began := time.Now()
	response, err := r.client.Do(req)
	if err != nil && errors.Is(context.Cause(ctx), errNoAnswer) {
		return outcome{}, fmt.Errorf("%s: no answer within %v, its http.timeout: %w", r.label, r.config.Timeout, context.DeadlineExceeded)
	}
	if err != nil {
		return outcome{}, r.plain(err)
	}
	defer func() { _ = response.Body.Close() }()
	var read []byte
	var readErr error
	// What follows a 101 is another protocol, on a connection that no context ends.
	if response.StatusCode != http.StatusSwitchingProtocols {
		read, readErr = io.ReadAll(io.LimitReader(response.Body, responseMax))
	}
	took := time.Since(began).Round(time.Millisecond)
	kept := printable(strings.Join(strings.Fields(string(read[:min(len(read), responseKept)])), " "))
	run.Logger.InfoContext(ctx, "answer", slog.Int("status", response.StatusCode), slog.Duration("took", took), slog.String("body", kept))
	if kept != "" {
		kept = ": " + kept
	}
	status := strings.TrimSpace(fmt.Sprintf("%d %s", response.StatusCode, http.StatusText(response.StatusCode)))
	if r.succeeded(response.StatusCode) {
		if readErr != nil && len(read) < responseMax {
			kept += " (the answer broke off)"
		}
		return outcome{target: jobs.Target{Note: status}, message: fmt.Sprintf("%s after %v%s", status, took, kept)}, nil
	}
	return outcome{}, verdict(response, fmt.Errorf("%s answered %s%s", r.label, status, kept))
}

func (r *request) succeeded(status int) bool {
	if len(r.config.Success) > 0 {
		return slices.Contains(r.config.Success, status)
	}
	return status >= 200 && status < 300
}

// verdict says whether another attempt is worth it, and when.
func verdict(response *http.Response, err error) error {
	status := response.StatusCode
	switch {
	case status >= 300 && status < 400:
		if target, locationErr := response.Location(); locationErr == nil {
			err = fmt.Errorf("%w; it redirects to %s://%s, and redirects are not followed: declare the address itself", err, target.Scheme, target.Host)
		}
		return jobs.Permanent(err)
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status < 300, status >= 500:
		if wait, ok := retryAfter(response.Header.Get("Retry-After")); ok {
			return jobs.RetryAfter(err, wait)
		}
		return err
	}
	return jobs.Permanent(err)
}

// retryAfter reads the header of that name: seconds or a date.
func retryAfter(text string) (time.Duration, bool) {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, RetryAfterMax), true
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(time.Until(at), 0), RetryAfterMax), true
	}
	return 0, false
}

// plain is an error of the client without the address, of which parts may be secret.
func (r *request) plain(err error) error {
	if cause, ok := errors.AsType[*url.Error](err); ok {
		err = cause.Err
	}
	return fmt.Errorf("%s: %w", r.label, err)
}
