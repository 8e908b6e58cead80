// Package embed looks, alone in its process, at whether a scheduler that is handed
// everything touches what belongs to the whole program, and what it leaves behind.
package embed

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log" //nolint:depguard // to see that nobody uses it
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/schedulerhttp"
)

func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }

// wires notes who touches what belongs to the whole program.
type wires struct {
	mu      sync.Mutex
	touched []string
}

func (w *wires) touch(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.touched = append(w.touched, what+"\n"+string(debug.Stack()))
}

func (w *wires) Write(p []byte) (int, error) {
	w.touch(fmt.Sprintf("package log: %s", p))
	return len(p), nil
}

// Enabled and the others are slog.Default's.
func (w *wires) Enabled(context.Context, slog.Level) bool { return true }

func (w *wires) Handle(_ context.Context, r slog.Record) error {
	w.touch("slog.Default: " + r.Message)
	return nil
}

func (w *wires) WithAttrs([]slog.Attr) slog.Handler { return w }

func (w *wires) WithGroup(string) slog.Handler { return w }

// RoundTrip is http.DefaultTransport's and http.DefaultClient's.
func (w *wires) RoundTrip(r *http.Request) (*http.Response, error) {
	w.touch("the default HTTP client: " + r.URL.String())
	return nil, http.ErrUseLastResponse
}

// Inject and the others are otel's global propagator.
func (w *wires) Inject(context.Context, propagation.TextMapCarrier) { w.touch("otel's propagator") }

func (w *wires) Extract(ctx context.Context, _ propagation.TextMapCarrier) context.Context {
	w.touch("otel's propagator")
	return ctx
}

func (w *wires) Fields() []string { return nil }

type tracers struct {
	noop.TracerProvider
	*wires
}

func (p tracers) Tracer(name string, options ...trace.TracerOption) trace.Tracer {
	p.touch("otel's tracer provider: " + name)
	return p.TracerProvider.Tracer(name, options...)
}

type metrics struct{ *wires }

func (m metrics) Register(prometheus.Collector) error { m.touch("the default registry"); return nil }

func (m metrics) MustRegister(...prometheus.Collector) { m.touch("the default registry") }

func (m metrics) Unregister(prometheus.Collector) bool { m.touch("the default registry"); return true }

// stretch puts a wire across everything that is the program's.
func stretch(t *testing.T) *wires {
	t.Helper()
	w := &wires{}
	slog.SetDefault(slog.New(w))
	log.SetOutput(w)
	prometheus.DefaultRegisterer = metrics{w}       //nolint:reassign // to see who uses it
	http.DefaultTransport = w                       //nolint:reassign // to see who uses it
	http.DefaultClient = &http.Client{Transport: w} //nolint:reassign // to see who uses it
	otel.SetTracerProvider(tracers{wires: w})
	otel.SetTextMapPropagator(w)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { w.touch("otel's error handler: " + err.Error()) }))
	w.touched = nil
	// With these, a connection that takes anything from the environment fails.
	for name, value := range map[string]string{
		"PGHOST": "/nowhere", "PGPORT": "none", "PGSSLMODE": "wrong", "PGCONNECT_TIMEOUT": "never", "PGSERVICE": "nowhere", "PGUSER": "nobody", "PGDATABASE": "nothing",
		"DATABASE_URL": "nowhere", "SCHEDULER_SCHEMA": "nothing", "SCHEDULER_CONFIG": "/nowhere", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "TZ": "Mars/Olympus",
	} {
		t.Setenv(name, value)
	}
	return w
}

// output is what is written to standard output and error until the returned function is
// called.
func output(t *testing.T) (end func() string) {
	t.Helper()
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = writer, writer //nolint:reassign // to see who uses it
	read := make(chan string)
	go func() {
		content, _ := io.ReadAll(reader)
		read <- string(content)
	}()
	return func() string {
		os.Stdout, os.Stderr = stdout, stderr //nolint:reassign // as above
		require.NoError(t, writer.Close())
		return <-read
	}
}

type postOffice struct{ letters chan int64 }

// An application hands over everything that it has, and finds it again as it was.
func TestNothingOfTheProgramsIsTouched(t *testing.T) { //nolint:paralleltest // it changes what all share
	db := testdb.New(t)
	before := goleak.IgnoreCurrent()
	config, err := pgxpool.ParseConfig(db.URL)
	require.NoError(t, err)
	config.MaxConns = 8
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	registry := prometheus.NewRegistry()
	post := &postOffice{letters: make(chan int64, 10)}
	var mistakes, flags int
	flag.VisitAll(func(*flag.Flag) { flags++ })
	logger := slog.New(slog.DiscardHandler)
	jobRegistry := &jobs.Registry{}
	require.NoError(t, jobRegistry.Add(jobs.Func(jobs.Definition{
		Name: "letter", Schedule: "@yearly", Needs: []jobs.Need{jobs.Needs[*postOffice]("takes the letters"), jobs.Needs[*http.Client]("fetches them")},
	}, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		office, err := jobs.App[*postOffice](run)
		if err != nil {
			return jobs.Result{}, err
		}
		run.Logger.InfoContext(ctx, "posted")
		run.Progress(ctx, jobs.Progress{Done: 1})
		office.letters <- run.ID
		return jobs.Result{RowsAffected: 1}, nil
	})))

	w := stretch(t)
	written := output(t)
	s, err := scheduler.New(scheduler.Config{
		Pool: pool, Schema: "clockwork", Migrate: true, Registry: jobRegistry, BootstrapJobs: []string{}, MaxWorkers: 3, ReplicaID: "first", Version: "v1",
		App: jobs.Provide(post, &http.Client{}, pool), Metrics: registry, TracerProvider: provider, Logger: logger,
	})
	require.NoError(t, err)
	handler, err := schedulerhttp.New(schedulerhttp.Config{
		Scheduler: s, Prefix: "/clockwork", Gatherer: registry, RiverUI: true,
		AccessFunc: func(*http.Request) schedulerhttp.Access { return schedulerhttp.Access{Read: true} },
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()

	client, err := s.Client(t.Context())
	require.NoError(t, err)
	testdb.WaitFor(t, "it leads", 20*time.Second, func(ctx context.Context) (bool, any, error) {
		list, err := client.Jobs(ctx)
		return err == nil && len(list) == 1, len(list), err
	})
	ended, err := client.Subscribe(t.Context(), scheduler.Subscription{JobName: "letter"})
	require.NoError(t, err)
	var id int64
	err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) (err error) {
		id, err = s.RunNowTx(t.Context(), tx, "letter", nil, nil)
		return err
	})
	require.NoError(t, err)
	require.Equal(t, id, <-post.letters)
	for run, err := range ended {
		require.NoError(t, err)
		require.Equal(t, jobs.StatusSuccess, run.Status)
		break
	}
	for _, path := range []string{"/", "/readyz", "/metrics", "/jobs/letter", "/runs", "/api/v1/jobs/letter/history", "/river/", "/river/api/jobs?state=completed"} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/clockwork"+path, http.NoBody))
		if answer.Code != http.StatusOK {
			mistakes++
			w.touch(fmt.Sprintf("%s answers %d %s", path, answer.Code, answer.Body))
		}
	}
	require.NotEmpty(t, spans.GetSpans())

	cancel()
	require.NoError(t, <-done)
	require.NoError(t, handler.Close())
	client.Close()
	text := written()
	require.Empty(t, text, "nothing is written to standard output or error")
	require.Zero(t, mistakes)
	require.Empty(t, w.touched)
	after := 0
	flag.VisitAll(func(*flag.Flag) { after++ })
	require.Equal(t, flags, after)
	_, pattern := http.DefaultServeMux.Handler(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", http.NoBody))
	require.Empty(t, pattern)
	gathered, err := registry.Gather()
	require.NoError(t, err)
	require.Empty(t, gathered, "its metrics are gone from the application's registry")

	require.Zero(t, pool.Stat().AcquiredConns(), "the pool has all its connections back")
	var one int
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT 1").Scan(&one), "and is open")
	pool.Close()
	require.NoError(t, provider.Shutdown(t.Context()))
	goleak.VerifyNone(t, before)
}
