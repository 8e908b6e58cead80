package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// traced starts a replica that keeps its spans.
func traced(t *testing.T, db *testdb.DB, config scheduler.Config) *tracetest.SpanRecorder {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	t.Cleanup(func() { require.NoError(t, provider.Shutdown(context.WithoutCancel(t.Context()))) })
	config.DatabaseURL, config.TracerProvider = db.URL, provider
	runScheduler(t, config)
	return recorder
}

// waitSpans waits for the spans of a run with a name.
func waitSpans(t *testing.T, recorder *tracetest.SpanRecorder, run int64, name string, n int) []sdktrace.ReadOnlySpan {
	t.Helper()
	var found []sdktrace.ReadOnlySpan
	testdb.WaitFor(t, "spans called "+name, waitRun, func(context.Context) (bool, any, error) {
		found = nil
		for _, span := range recorder.Ended() {
			if span.Name() == name && (run == 0 || attribute(span, "scheduler.run_id") == run) {
				found = append(found, span)
			}
		}
		return len(found) >= n, len(found), nil
	})
	require.Len(t, found, n, name)
	return found
}

func attribute(span sdktrace.ReadOnlySpan, key string) any {
	for _, attribute := range span.Attributes() {
		if string(attribute.Key) == key {
			return attribute.Value.AsInterface()
		}
	}
	return nil
}

// records keeps a log in JSON.
type records struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *records) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *records) list(t *testing.T) []map[string]any {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []map[string]any
	for line := range strings.Lines(r.buf.String()) {
		var record map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &record))
		list = append(list, record)
	}
	return list
}

// The leader knows none of the jobs' workers: what it enqueues, another replica works.
// The trace goes on there, with each batch, and with another attempt on a third one.
func TestOneTraceOverReplicas(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	exec1(t, db, "INSERT INTO sweep_rows SELECT g FROM generate_series(1, 45) g")
	leads := traced(t, db, scheduler.Config{ReplicaID: "leads", MaxWorkers: 1, Jobs: []scheduler.JobConfig{{Name: "each_second", Enabled: new(bool)}}})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs) AND EXISTS (SELECT FROM scheduler.leader)")
	blocker := runNow(t, db, "endless") // the leader's only worker is busy
	waitStatus(t, db, blocker, jobs.StatusRunning)
	log := &records{}
	works := traced(t, db, scheduler.Config{ReplicaID: "works", Logger: slog.New(slog.NewJSONHandler(log, nil)), Jobs: []scheduler.JobConfig{{Name: "each_second", Enabled: new(bool)}}})
	waitValue(t, db, waitRun, int64(2), "SELECT count(*) FROM scheduler.replicas")
	run := runNow(t, db, "sweep")
	waitStatus(t, db, run, jobs.StatusSuccess)

	ask := waitSpans(t, leads, run, "ask sweep", 1)[0]
	enqueue := waitSpans(t, leads, run, "enqueue sweep", 1)[0]
	worked := waitSpans(t, works, run, "run sweep", 1)[0]
	batches := waitSpans(t, works, 0, "batch", 3)
	require.False(t, ask.Parent().IsValid())
	require.Equal(t, ask.SpanContext().SpanID(), enqueue.Parent().SpanID())
	require.Equal(t, enqueue.SpanContext().SpanID(), worked.Parent().SpanID())
	require.True(t, worked.Parent().IsRemote())
	for _, batch := range batches {
		require.Equal(t, worked.SpanContext().SpanID(), batch.Parent().SpanID())
		require.Equal(t, ask.SpanContext().TraceID(), batch.SpanContext().TraceID())
	}
	require.Equal(t, "leads", attribute(enqueue, "scheduler.replica"))
	require.Equal(t, int64(1), attribute(enqueue, "scheduler.term"))
	require.Equal(t, "works", attribute(worked, "scheduler.replica"))
	require.Equal(t, int64(45), attribute(worked, "scheduler.rows"))
	require.Equal(t, int64(1), attribute(worked, "scheduler.attempt"))
	require.Equal(t, "success", attribute(worked, "scheduler.outcome"))
	require.Equal(t, "postgresql", attribute(worked, "db.system.name"))

	// Attempts of a run are spans of one trace, and each line of the log names it.
	failing := runNow(t, db, "fails_once")
	waitStatus(t, db, failing, jobs.StatusSuccess)
	attempts := waitSpans(t, works, failing, "run fails_once", 2)
	enqueue = waitSpans(t, leads, failing, "enqueue fails_once", 1)[0]
	for i, attempt := range attempts {
		require.Equal(t, enqueue.SpanContext().SpanID(), attempt.Parent().SpanID())
		require.Equal(t, int64(i+1), attribute(attempt, "scheduler.attempt"))
	}
	require.Equal(t, "the first attempt fails", attempts[0].Status().Description)
	require.Equal(t, "retrying", attribute(attempts[0], "scheduler.outcome"))
	lines := 0
	for _, record := range log.list(t) {
		if record["run_id"] == float64(failing) {
			lines++
			require.Equal(t, "fails_once", record["job"])
			require.Equal(t, enqueue.SpanContext().TraceID().String(), record["trace_id"])
		}
	}
	require.Equal(t, 1, lines)
	exec1(t, db, "SELECT scheduler.cancel_run($1)", blocker)
}

// A tick's trace begins with the tick; a run whose replica was killed goes on in the
// same trace.
func TestTraceOfATickAndOfAKilledReplica(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	victim := startReplica(t, db, "victim")
	waitValue(t, db, 30*time.Second, true, "SELECT EXISTS (SELECT FROM scheduler.jobs WHERE job_name = 'endless')")
	// The victim leads without traces, and works the run that names a trace.
	first := runNow(t, db, "endless")
	waitStatus(t, db, first, jobs.StatusRunning)
	recorder := traced(t, db, scheduler.Config{ReplicaID: "heir", MaxWorkers: 1})
	waitValue(t, db, waitRun, int64(2), "SELECT count(*) FROM scheduler.replicas")
	const trace = "0af7651916cd43dd8448eb211c80319c"
	exec1(t, db, `UPDATE scheduler.river_job SET metadata = metadata || '{"traceparent": "00-`+trace+`-b7ad6b7169203331-01"}'
		WHERE id = (SELECT river_job_id FROM scheduler.job_runs WHERE id = $1)`, first)
	victim.kill()
	waitValue(t, db, waitRun, true, "SELECT status = 'running' AND replica_id = 'heir' AND started_at < clock_timestamp() - interval '1 second' FROM scheduler.runs WHERE id = $1", first)
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'scheduler worker heir' AND state = 'idle in transaction' AND state_change < clock_timestamp() - interval '200 ms')")
	exec1(t, db, "SELECT scheduler.cancel_run($1)", first)
	again := waitSpans(t, recorder, first, "run endless", 1)[0]
	require.Equal(t, trace, again.SpanContext().TraceID().String())
	require.Equal(t, int64(2), attribute(again, "scheduler.attempt"))
	require.Equal(t, "cancelled", attribute(again, "scheduler.outcome"))

	var tick sdktrace.ReadOnlySpan
	testdb.WaitFor(t, "a tick", waitRun, func(context.Context) (bool, any, error) {
		for _, span := range recorder.Ended() {
			if span.Name() == "tick each_second" {
				tick = span
			}
		}
		return tick != nil, nil, nil
	})
	text, _ := attribute(tick, "scheduler.tick").(string)
	at, err := time.Parse(time.RFC3339Nano, text)
	require.NoError(t, err)
	require.WithinDuration(t, at, tick.StartTime(), 2*time.Second, "it begins with the tick")
}

// collector is where the program sends its spans.
func collector(t *testing.T, handle http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	return server.URL
}

func TestCLISendsTraces(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	bodies := make(chan string, 100)
	url := collector(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case bodies <- r.URL.Path + " " + string(body):
		default:
		}
		w.WriteHeader(http.StatusOK)
	})
	shell := shellOf(t, db)
	shell.variables = append(shell.variables, "OTEL_EXPORTER_OTLP_ENDPOINT="+url, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
		"OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test")
	replica := shell.serve(t, db, "--replica-id=named")
	timer := time.NewTimer(waitCLI)
	defer timer.Stop()
	var all strings.Builder
	for _, want := range []string{"/v1/traces", "run cleanup_inactive_sessions", "enqueue cleanup_inactive_sessions", "service.name", "scheduler", "service.instance.id", "named", "deployment.environment.name"} {
		for !strings.Contains(all.String(), want) {
			select {
			case body := <-bodies:
				all.WriteString(body)
			case <-timer.C:
				require.Fail(t, "not sent", want)
			}
		}
	}
	replica.end(t)
}

// A collector that takes spans and never answers holds up neither runs nor the end; one
// that is switched off is never asked.
func TestCLITracesOfACollectorThatHangs(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	asked := make(chan struct{}, 100)
	released := make(chan struct{})
	url := collector(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		select {
		case <-released:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(released) })
	shell := shellOf(t, db)
	shell.variables = append(shell.variables, "OTEL_EXPORTER_OTLP_ENDPOINT="+url, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_BSP_SCHEDULE_DELAY=50")
	replica := shell.serve(t, db)
	waitValue(t, db, waitCLI, "success", "SELECT status FROM scheduler.runs WHERE trigger = 'bootstrap'")
	select {
	case <-asked:
	case <-t.Context().Done():
	}
	require.Equal(t, "success", shell.object(t, "run", "database_cleanup", "--wait")["status"])
	began := time.Now()
	replica.end(t)
	require.Less(t, time.Since(began), 15*time.Second)
	require.Contains(t, replica.stderr.String(), "the last spans could not be sent")
	for len(asked) > 0 {
		<-asked
	}
	for _, off := range []string{"OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=none"} {
		quiet := shell
		quiet.variables = append(append([]string{}, shell.variables...), off)
		replica := quiet.serve(t, db)
		require.Equal(t, "success", quiet.object(t, "run", "database_cleanup", "--wait")["status"])
		replica.end(t)
		require.Empty(t, asked, off)
	}
	wrong := shell
	wrong.variables = append(append([]string{}, shell.variables...), "OTEL_TRACES_EXPORTER=nonsense")
	require.Contains(t, wrong.refuse(t, "serve"), "OTEL_TRACES_EXPORTER")
}
