// Package tracing makes the spans of the scheduler: from a tick, or from when a run was
// asked for, over the transaction that enqueues the run, to each of its attempts and their
// batches. They are one trace, whichever replicas have a part in it: the leader puts the
// W3C trace context into the metadata of River's job, and the replica that works it goes
// on from there. Each attempt of a run is a span of the same trace.
//
// Nothing here is global, and a nil [Tracer] makes no spans.
package tracing

import (
	"context"
	"encoding/json"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// scope is the instrumentation's name.
const scope = "github.com/systempromptio/scheduler"

// batchesMax is how many batches of an attempt have a span of their own. A cleanup may
// have a hundred thousand, and a trace of that size can be neither stored nor read.
const batchesMax = 200

// The attributes that semantic conventions have no name for.
const (
	keyJob       = attribute.Key("scheduler.job")
	keyRun       = attribute.Key("scheduler.run_id")
	keyTick      = attribute.Key("scheduler.tick")
	keyTrigger   = attribute.Key("scheduler.trigger")
	keyTerm      = attribute.Key("scheduler.term")
	keyReplica   = attribute.Key("scheduler.replica")
	keyAttempt   = attribute.Key("scheduler.attempt")
	keyDryRun    = attribute.Key("scheduler.dry_run")
	keyOutcome   = attribute.Key("scheduler.outcome")
	keyRows      = attribute.Key("scheduler.rows")
	keyBatch     = attribute.Key("scheduler.batch")
	keyBatches   = attribute.Key("scheduler.batches")
	keyUnspanned = attribute.Key("scheduler.batches_without_span")
)

// Tracer makes spans. All of its methods may be called on nil, and cost nothing then.
type Tracer struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	common     []attribute.KeyValue
}

// New makes a tracer for a replica; nil without a provider.
func New(provider trace.TracerProvider, replicaID, schema string) *Tracer {
	if provider == nil {
		return nil
	}
	return &Tracer{
		tracer:     provider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)),
		propagator: propagation.TraceContext{},
		common:     []attribute.KeyValue{keyReplica.String(replicaID), semconv.DBSystemNamePostgreSQL, attribute.String("scheduler.schema", schema)},
	}
}

// Run is what is known of a run.
type Run struct {
	// Job is the job's name.
	Job string
	// ID is the key in the ledger.
	ID int64
	// Tick is the time that it is for.
	Tick time.Time
	// Trigger is why it exists.
	Trigger string
	// DryRun is set if it changes nothing.
	DryRun bool
}

func (r Run) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{
		keyJob.String(r.Job), keyRun.Int64(r.ID), keyTick.String(r.Tick.UTC().Format(time.RFC3339Nano)), keyTrigger.String(r.Trigger), keyDryRun.Bool(r.DryRun),
	}
}

// Enqueued are the spans of runs that a transaction enqueues. What is not ended, since
// the transaction has failed, is never told.
type Enqueued struct {
	began time.Time
	spans []trace.Span
}

// Begin tells that a transaction begins, by this process's clock.
func (t *Tracer) Begin() Enqueued {
	if t == nil {
		return Enqueued{}
	}
	return Enqueued{began: time.Now()}
}

// Enqueue begins the spans of a run that a transaction enqueues, and returns the
// metadata for River's job: nil if there is nothing to tell. The tick, or the asking, lies age back; a negative age means
// that it is no beginning, as with a past tick of a backfill.
func (t *Tracer) Enqueue(enqueued *Enqueued, run Run, term int64, age time.Duration) []byte {
	if t == nil {
		return nil
	}
	name, start := "tick ", time.Now().Add(-age)
	if run.Trigger != "schedule" {
		name = "ask "
	}
	if age < 0 || start.After(enqueued.began) {
		start = enqueued.began
	}
	attributes := append(run.attributes(), keyTerm.Int64(term))
	// The trace begins here, whatever the leader's own context may hold.
	ctx, tick := t.tracer.Start(context.Background(), name+run.Job, trace.WithNewRoot(), trace.WithTimestamp(start), //nolint:forbidigo // a trace of its own
		trace.WithAttributes(t.common...), trace.WithAttributes(attributes...))
	ctx, enqueue := t.tracer.Start(ctx, "enqueue "+run.Job, trace.WithSpanKind(trace.SpanKindProducer), trace.WithTimestamp(enqueued.began),
		trace.WithAttributes(t.common...), trace.WithAttributes(attributes...))
	enqueued.spans = append(enqueued.spans, enqueue, tick)
	if !enqueue.SpanContext().IsValid() {
		return nil
	}
	carrier := propagation.MapCarrier{}
	t.propagator.Inject(ctx, carrier)
	metadata, err := json.Marshal(carrier)
	if err != nil {
		return nil
	}
	return metadata
}

// End ends the spans: the transaction has committed.
func (e *Enqueued) End() {
	for _, span := range e.spans {
		span.End()
	}
	e.spans = nil
}

// Attempt is the span of an attempt. Its methods may be called on nil.
type Attempt struct {
	tracer  *Tracer
	span    trace.Span
	batches int
	rows    int64
}

// Attempt begins the span of an attempt at a run. It goes on with the trace that the
// metadata of River's job name; where they name none, it begins one.
func (t *Tracer) Attempt(ctx context.Context, metadata []byte, run Run, attempt int) (context.Context, *Attempt) {
	if t == nil {
		return ctx, nil
	}
	carrier := propagation.MapCarrier{}
	var values map[string]any
	_ = json.Unmarshal(metadata, &values) // what cannot be read, names no trace
	for _, field := range t.propagator.Fields() {
		if value, ok := values[field].(string); ok {
			carrier[field] = value
		}
	}
	ctx = t.propagator.Extract(ctx, carrier)
	ctx, span := t.tracer.Start(ctx, "run "+run.Job, //nolint:spancheck // Attempt.End ends it
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(t.common...), trace.WithAttributes(run.attributes()...), trace.WithAttributes(keyAttempt.Int(attempt)))
	return ctx, &Attempt{tracer: t, span: span} //nolint:spancheck // the same
}

// TraceID is the trace's id; empty if there is none.
func (a *Attempt) TraceID() string {
	if a == nil || !a.span.SpanContext().HasTraceID() {
		return ""
	}
	return a.span.SpanContext().TraceID().String()
}

// Batch begins the span of a batch. Only the first 200 of an attempt have one.
func (a *Attempt) Batch(ctx context.Context) (context.Context, *Batch) {
	if a == nil {
		return ctx, nil
	}
	a.batches++
	if a.batches > batchesMax {
		return ctx, nil
	}
	ctx, span := a.tracer.tracer.Start(ctx, "batch", //nolint:spancheck // Batch.End ends it
		trace.WithAttributes(a.tracer.common...), trace.WithAttributes(keyBatch.Int(a.batches)))
	return ctx, &Batch{span: span} //nolint:spancheck // the same
}

// Rows counts rows that were changed.
func (a *Attempt) Rows(rows int64) {
	if a != nil {
		a.rows += rows
	}
}

// End ends the span with how the attempt has ended. A nil error is no failure.
func (a *Attempt) End(outcome string, err error) {
	if a == nil {
		return
	}
	a.span.SetAttributes(keyOutcome.String(outcome), keyRows.Int64(a.rows))
	if a.batches > 0 {
		a.span.SetAttributes(keyBatches.Int(a.batches), keyUnspanned.Int(max(a.batches-batchesMax, 0)))
	}
	fail(a.span, err)
	a.span.End()
}

// Batch is the span of a batch. Its methods may be called on nil.
type Batch struct{ span trace.Span }

// End ends the span, with the rows that were changed.
func (b *Batch) End(rows int64, err error) {
	if b == nil {
		return
	}
	b.span.SetAttributes(keyRows.Int64(rows))
	fail(b.span, err)
	b.span.End()
}

func fail(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
}
