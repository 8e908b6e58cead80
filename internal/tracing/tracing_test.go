package tracing_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"

	"github.com/systempromptio/scheduler/internal/tracing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func recorded(t *testing.T, options ...sdktrace.TracerProviderOption) (*tracing.Tracer, *tracetest.SpanRecorder) {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(append(options, sdktrace.WithSpanProcessor(recorder))...)
	t.Cleanup(func() { require.NoError(t, provider.Shutdown(context.WithoutCancel(t.Context()))) })
	return tracing.New(provider, "replica", "scheduler"), recorder
}

func byName(spans []sdktrace.ReadOnlySpan) map[string]sdktrace.ReadOnlySpan {
	named := make(map[string]sdktrace.ReadOnlySpan)
	for _, span := range spans {
		named[span.Name()] = span
	}
	return named
}

func someRun(trigger string) tracing.Run {
	return tracing.Run{Job: "a", ID: 7, Tick: time.Now().Add(-time.Minute), Trigger: trigger}
}

func TestOneTrace(t *testing.T) {
	t.Parallel()
	tracer, recorder := recorded(t)
	enqueued := tracer.Begin()
	metadata := tracer.Enqueue(&enqueued, someRun("schedule"), 3, time.Minute)
	require.Empty(t, recorder.Ended(), "the transaction has not committed")
	enqueued.End()

	ctx, attempt := tracer.Attempt(t.Context(), metadata, someRun("schedule"), 1)
	require.NotEmpty(t, attempt.TraceID())
	_, batch := attempt.Batch(ctx)
	attempt.Rows(5)
	batch.End(5, nil)
	attempt.End("retrying", errors.New("it failed"))
	spans := byName(recorder.Ended())
	require.Len(t, spans, 4)
	tick, enqueue, run, ofBatch := spans["tick a"], spans["enqueue a"], spans["run a"], spans["batch"]
	require.False(t, tick.Parent().IsValid())
	require.Equal(t, tick.SpanContext().SpanID(), enqueue.Parent().SpanID())
	require.Equal(t, enqueue.SpanContext().SpanID(), run.Parent().SpanID())
	require.True(t, run.Parent().IsRemote())
	require.Equal(t, run.SpanContext().SpanID(), ofBatch.Parent().SpanID())
	for name, span := range spans {
		require.Equal(t, attempt.TraceID(), span.SpanContext().TraceID().String(), name)
	}
	require.InDelta(t, 60, enqueue.StartTime().Sub(tick.StartTime()).Seconds(), 1)
	require.False(t, tick.EndTime().Before(enqueue.EndTime()))
	require.Equal(t, trace.SpanKindProducer, enqueue.SpanKind())
	require.Equal(t, trace.SpanKindConsumer, run.SpanKind())
	require.Equal(t, sdktrace.Status{Code: codes.Error, Description: "it failed"}, run.Status())
	require.Equal(t, codes.Unset, ofBatch.Status().Code)
}

// What is not a beginning begins with the transaction.
func TestABackfillBeginsWhenItIsEnqueued(t *testing.T) {
	t.Parallel()
	tracer, recorder := recorded(t)
	enqueued := tracer.Begin()
	tracer.Enqueue(&enqueued, someRun("backfill"), 3, -1)
	enqueued.End()
	spans := byName(recorder.Ended())
	require.Equal(t, spans["enqueue a"].StartTime(), spans["ask a"].StartTime())
}

func TestMetadataOfOthers(t *testing.T) {
	t.Parallel()
	tracer, recorder := recorded(t)
	for _, metadata := range []string{"", "{", "[]", "null", `{"traceparent": 5}`, `{"traceparent": "nonsense"}`, `{"other": {}}`, `{"traceparent": "00-00000000000000000000000000000000-0000000000000000-01"}`} {
		_, attempt := tracer.Attempt(t.Context(), []byte(metadata), someRun("manual"), 1)
		attempt.End("success", nil)
	}
	for _, span := range recorder.Ended() {
		require.False(t, span.Parent().IsValid(), "it begins a trace of its own")
	}
	require.Len(t, recorder.Ended(), 8)
}

func TestALargeCleanupHasFewSpans(t *testing.T) {
	t.Parallel()
	tracer, recorder := recorded(t)
	ctx, attempt := tracer.Attempt(t.Context(), nil, someRun("schedule"), 1)
	for range 1000 {
		_, batch := attempt.Batch(ctx)
		batch.End(1, nil)
	}
	attempt.End("success", nil)
	require.Len(t, recorder.Ended(), 201)
	require.Contains(t, recorder.Ended()[200].Attributes(), tracing.WithoutSpan(800))
}

// Without a provider, and with one that samples nothing, there is nothing to carry, or
// what is carried says so.
func TestNothingIsTraced(t *testing.T) {
	t.Parallel()
	use := func(tracer *tracing.Tracer) []byte {
		enqueued := tracer.Begin()
		metadata := tracer.Enqueue(&enqueued, someRun("schedule"), 1, time.Second)
		enqueued.End()
		ctx, attempt := tracer.Attempt(t.Context(), metadata, someRun("schedule"), 1)
		_, batch := attempt.Batch(ctx)
		attempt.Rows(1)
		batch.End(1, errors.New("x"))
		attempt.End("failed", errors.New("x"))
		return metadata
	}
	require.Nil(t, tracing.New(nil, "", ""))
	require.Nil(t, use(nil))
	require.Nil(t, use(tracing.New(noop.NewTracerProvider(), "r", "s")))
	tracer, recorder := recorded(t, sdktrace.WithSampler(sdktrace.NeverSample()))
	require.Regexp(t, `"traceparent":"00-[0-9a-f]{32}-[0-9a-f]{16}-00"`, string(use(tracer)), "nobody else samples it, either")
	require.Empty(t, recorder.Ended())
}
