package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/systempromptio/scheduler"
)

// tracesFlush bounds how long the end of a replica waits for its last spans to be sent.
const tracesFlush = 3 * time.Second

// tracesWanted says whether the environment asks for traces: nothing is sent unasked.
func (a *app) tracesWanted() bool {
	of := func(name string) string {
		value, _ := a.lookupEnv(name)
		return strings.TrimSpace(value)
	}
	if strings.EqualFold(of("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	if exporter := of("OTEL_TRACES_EXPORTER"); exporter != "" {
		return exporter != "none"
	}
	return of("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || of("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// tracesTrouble tells of OpenTelemetry's own errors, not more often than once a minute.
type tracesTrouble struct {
	logger *slog.Logger

	mu   sync.Mutex
	said time.Time
}

// Handle is called with each error.
func (t *tracesTrouble) Handle(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.said.IsZero() || time.Since(t.said) > time.Minute {
		t.said = time.Now()
		t.logger.Warn("traces: spans may be lost, runs are not affected", slog.Any("error", err))
	}
}

// traced gives a replica a provider of traces, as OpenTelemetry's environment variables
// describe it. The function that it returns sends what is left, within a bound; it is
// never nil.
func (a *app) traced(ctx context.Context, c scheduler.Config) (scheduler.Config, func(), error) {
	if !a.tracesWanted() {
		return c, func() {}, nil
	}
	// Its own troubles, such as a collector that is away, are told like any other.
	trouble := &tracesTrouble{logger: c.Logger}
	otel.SetErrorHandler(trouble)
	otel.SetLogger(logr.FromSlogHandler(c.Logger.Handler()))
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return c, nil, &refusedError{err: fmt.Errorf("traces: %w; see OTEL_TRACES_EXPORTER and the OTEL_EXPORTER_OTLP_ variables", err)}
	}
	described, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		semconv.ServiceName("scheduler"), semconv.ServiceVersion(a.buildVersion()), semconv.ServiceInstanceID(c.ReplicaID)), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) && !errors.Is(err, resource.ErrSchemaURLConflict) {
		return c, nil, &refusedError{err: fmt.Errorf("traces: OTEL_RESOURCE_ATTRIBUTES: %w", err)}
	}
	// Spans wait in memory, at most OTEL_BSP_MAX_QUEUE_SIZE of them; what does not fit is
	// lost. So a collector that is away or slow holds up nobody.
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(described))
	c.TracerProvider = provider
	return c, func() {
		flushCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracesFlush)
		defer cancel()
		if err := provider.Shutdown(flushCtx); err != nil {
			c.Logger.WarnContext(flushCtx, "traces: the last spans could not be sent", slog.Any("error", err))
		}
	}, nil
}
