package web

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"riverqueue.com/riverui"

	"github.com/systempromptio/scheduler/internal/connection"
)

// riverPath is where River UI is.
const riverPath = "/river"

// riverConnections is how many connections River UI may open.
const riverConnections = 2

// River is River UI over the scheduler's schema. It is opened when somebody first looks
// at it, since it counts jobs every few seconds from then on.
type River struct {
	pool    *pgxpool.Pool
	handler *riverui.Handler
	cancel  context.CancelFunc
}

// NewRiver opens River UI, for pages below a prefix. Close ends it.
func NewRiver(ctx context.Context, source connection.Source, schema, prefix string, logger *slog.Logger) (*River, error) {
	config, err := source.PoolConfig()
	if err != nil {
		return nil, fmt.Errorf("River UI: database_url: %w", err)
	}
	config.MaxConns = riverConnections
	if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
		return nil, fmt.Errorf("River UI: database_url: %w", err)
	}
	// As the client of the pages: behind a pooler, too.
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	config.ConnConfig.RuntimeParams["application_name"] = "scheduler River UI"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("River UI: open the pool: %w", err)
	}
	// It works no job: it has no queue, and is never started.
	client, err := river.NewClient[pgx.Tx](riverpgxv5.New(pool), &river.Config{Schema: schema, Logger: logger})
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("River UI: %w", err)
	}
	handler, err := riverui.NewHandler(&riverui.HandlerOpts{Endpoints: riverui.NewEndpoints(client, nil), Logger: logger, Prefix: prefix + riverPath})
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("River UI: %w", err)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if err := handler.Start(running); err != nil {
		cancel()
		pool.Close()
		return nil, fmt.Errorf("River UI: %w", err)
	}
	return &River{pool: pool, handler: handler, cancel: cancel}, nil
}

// Close ends it.
func (r *River) Close() {
	r.cancel()
	r.pool.Close()
}

// river serves River UI.
func (s *Server) river(w http.ResponseWriter, r *http.Request) {
	river, err := s.source.river(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	whole := r.Clone(r.Context()) // River UI takes its prefix off by itself
	whole.URL.Path = s.site.prefix + whole.URL.Path
	if whole.URL.RawPath != "" {
		whole.URL.RawPath = s.site.prefix + whole.URL.RawPath
	}
	river.handler.ServeHTTP(w, whole)
}
