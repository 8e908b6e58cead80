package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/internal/connection"
	"github.com/systempromptio/scheduler/internal/metrics"
)

type closedKey struct{}

// Watch is a tracer for the connections of the pool. It notices when the database
// goes away and comes back, for the log, and for what was in flight then.
type Watch struct {
	outage  *connection.Outage
	metrics *metrics.Metrics
	// doubted holds a token when somebody should ask whether the database is there.
	doubted chan struct{}

	mu       sync.Mutex
	lost     time.Time
	relisten func()
}

// NewWatch makes a watch. It belongs into the pool's ConnConfig.Tracer. The metrics are
// told of losses; nil is told nothing.
func NewWatch(logger *slog.Logger, m *metrics.Metrics) *Watch {
	return &Watch{metrics: m, doubted: make(chan struct{}, 1), outage: &connection.Outage{
		Logger:   logger,
		LostText: "the workers have lost the database; trying again until it is back, interrupted runs go on from their last committed batch",
		BackText: "the workers have the database back",
	}}
}

// TraceQueryStart notes whether the connection is closed already: then what follows
// is no loss, but a rollback after a statement that was broken off, say.
func (*Watch) TraceQueryStart(ctx context.Context, conn *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	if conn.IsClosed() {
		return context.WithValue(ctx, closedKey{}, true)
	}
	return ctx
}

// TraceQueryEnd looks at how a statement ended.
func (w *Watch) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	switch {
	case data.Err == nil:
		w.outage.Well(ctx)
	case ctx.Err() != nil, ctx.Value(closedKey{}) != nil:
	case connection.IsAway(data.Err):
		w.saw(ctx, data.Err)
	}
}

// TraceConnectStart does nothing.
func (*Watch) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return ctx
}

// TraceConnectEnd looks at how an attempt to connect ended.
func (w *Watch) TraceConnectEnd(ctx context.Context, data pgx.TraceConnectEndData) {
	if data.Err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		w.saw(ctx, data.Err)
	}
}

func (w *Watch) saw(ctx context.Context, err error) {
	if w.outage.Lost(ctx, err) {
		w.metrics.Lost(metrics.ConnectionWorkers)
	}
	w.doubt()
}

// doubt is told that something may have been lost.
func (w *Watch) doubt() {
	w.mu.Lock()
	w.lost = time.Now()
	w.mu.Unlock()
	select {
	case w.doubted <- struct{}{}:
	default:
	}
}

// lastLost is when the database was last found to be away, or may have been another;
// zero if it never was.
func (w *Watch) lastLost() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// Moved is told when the replica's connections may have led to a server that is not the
// primary any more. River's listener connects anew. What was committed there may be lost
// with it, such as the end of a run, though no statement has failed.
func (w *Watch) Moved() {
	w.mu.Lock()
	w.lost = time.Now()
	relisten := w.relisten
	w.mu.Unlock()
	if relisten != nil {
		relisten()
	}
}

// riverLog keeps River's routine lines out of the log of a program that is not
// debugging: below warnings, they are about River's own services. While the
// database is away, each of River's loops says so again and again; that is said
// once, by the watch. What is not about the database is not said more often than
// once a minute.
type riverLog struct {
	slog.Handler

	watch *Watch
	said  *saidTimes
	// shared: River's statements have no tracer, and what it complains of is all that is
	// heard of them.
	shared bool
}

type saidTimes struct {
	mu sync.Mutex
	at map[string]time.Time
}

const repeatAfter = time.Minute

func (h riverLog) Enabled(ctx context.Context, level slog.Level) bool {
	if level < slog.LevelWarn {
		level = slog.LevelDebug
	} else if h.shared {
		return true // it is heard, whether or not it is logged
	}
	return h.Handler.Enabled(ctx, level)
}

func (h riverLog) Handle(ctx context.Context, record slog.Record) error {
	if h.shared && record.Level >= slog.LevelWarn {
		h.watch.doubt()
		if !h.Handler.Enabled(ctx, record.Level) {
			return nil
		}
	}
	if record.Level >= slog.LevelWarn && (h.watch.outage.Ongoing() || h.said.lately(record.Message)) {
		if !h.Handler.Enabled(ctx, slog.LevelDebug) {
			return nil
		}
		record.Level = slog.LevelDebug
	}
	return h.Handler.Handle(ctx, record)
}

func (h riverLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.Handler = h.Handler.WithAttrs(attrs)
	return h
}

func (h riverLog) WithGroup(name string) slog.Handler {
	h.Handler = h.Handler.WithGroup(name)
	return h
}

// lately says whether a message was said within the last minute, and notes it.
func (s *saidTimes) lately(message string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.at[message]; ok && time.Since(at) < repeatAfter {
		return true
	}
	s.at[message] = time.Now()
	return false
}
