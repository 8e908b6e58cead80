// Package schedulerhttp is the HTTP surface of a scheduler for a program that has an HTTP
// server of its own: health, readiness, metrics, the overview page and River UI, and the
// JSON API of docs/reference/http.md, as one [http.Handler].
//
// Health (/healthz, /readyz) and, if there are any, metrics (/metrics) are open to whoever
// reaches the handler; all else is for those whom [Config] lets in. Changing requests that
// a browser sends for a page of another site are refused, whoever sends them.
package schedulerhttp

import (
	"context"
	"errors"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/internal/connection"
	"github.com/systempromptio/scheduler/internal/web"
)

// Access is what the sender of a request may do.
type Access struct {
	// Actor is who it is, for the log and the view operations. Empty means that it is not
	// known.
	Actor string

	// Read lets a request read, Change lets it read and change. The zero value lets it do
	// nothing.
	Read, Change bool
}

// Config configures a [Handler].
type Config struct {
	// Scheduler is the one that is shown. Its database, logger, registry and version are
	// those of the pages, too. It need not run in this process, or yet. Required.
	Scheduler *scheduler.Scheduler

	// Prefix is the path at which the handler is mounted, such as "/scheduler", where all
	// addresses begin: mux.Handle("/scheduler/", handler), without http.StripPrefix. Empty
	// means the root.
	Prefix string

	// AccessFunc is the program's own authentication: it says of each request, but for
	// health and metrics, who has sent it and what they may do. It is called by several
	// goroutines at once. Nil leaves that to Token, User and Password, of which there must
	// be one then.
	AccessFunc func(r *http.Request) Access

	// Token lets a request do everything, as a bearer token or as any user's password; it
	// has at least 16 characters. Empty means none.
	Token string

	// User and Password let a request do everything by basic authentication; the password
	// has at least 12 characters. Empty means none.
	User, Password string

	// ReadOnly refuses every changing request. The zero value does not.
	ReadOnly bool

	// RiverUI shows River UI, too, at /river/. The zero value does not.
	RiverUI bool

	// Gatherer is what /metrics shows: the registry that was given as Config.Metrics to the
	// scheduler. Nil means that there is no such page, for the program has one of its own.
	Gatherer prometheus.Gatherer
}

// Handler serves the pages and the API. It is safe for concurrent use.
type Handler struct{ server *web.Server }

// New checks the configuration. It does not connect: that is done when something is asked
// for, on a few connections of the handler's own, which are made as the scheduler's are, so
// that those who look take none from the runs or the program. The errors are
// *scheduler.ConfigError.
func New(config Config) (*Handler, error) {
	if config.Scheduler == nil {
		return nil, &scheduler.ConfigError{Field: "scheduler", Err: errors.New("is missing; make one with scheduler.New, whether or not it is to run here")}
	}
	c := config.Scheduler.Config()
	webConfig := web.Config{
		Embedded: true, Prefix: config.Prefix,
		Token: config.Token, User: config.User, Password: config.Password, ReadOnly: config.ReadOnly,
		ConnectFunc: config.Scheduler.DedicatedClient,
		Registry:    c.Registry, Gatherer: config.Gatherer, Version: c.Version, Logger: c.Logger,
	}
	if config.AccessFunc != nil {
		webConfig.AccessFunc = func(r *http.Request) web.Access { return web.Access(config.AccessFunc(r)) }
	}
	if config.RiverUI {
		source := connection.Source{URL: c.DatabaseURL, BeforeConnectFunc: c.BeforeConnectFunc}
		if c.Pool != nil {
			source.Base = c.Pool.Config()
		}
		webConfig.RiverFunc = func(ctx context.Context) (*web.River, error) {
			return web.NewRiver(ctx, source, c.Schema, config.Prefix, c.Logger)
		}
	}
	server, err := web.New(webConfig)
	if err != nil {
		return nil, err
	}
	return &Handler{server: server}, nil
}

// ServeHTTP serves a request. Pages that are kept up to date hold one open until it is
// closed: an http.Server that is shut down waits for them unless the handler is closed
// before (http.Server.RegisterOnShutdown).
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.server.ServeHTTP(w, r) }

// Close ends the pages that are kept up to date, and closes the connections of the
// handler. What is asked for afterwards is refused. The error says that a database which
// hangs has kept them open for five seconds.
func (h *Handler) Close() error { return h.server.Close() }
