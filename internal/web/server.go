package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

const (
	// A client that is slower than these is none.
	headerTimeout = 5 * time.Second
	bodyTimeout   = 15 * time.Second
	answerTimeout = 45 * time.Second
	// Short, since all connections together have a bound.
	idleTimeout = 5 * time.Second

	// requestTimeout bounds what a request asks of the database.
	requestTimeout = 10 * time.Second
	// explainTimeout is for what looks at the application's tables.
	explainTimeout = 30 * time.Second

	// bodyMax is the longest body, in bytes: parameters are short.
	bodyMax   = 64 << 10
	headerMax = 16 << 10

	// connectionsMax is how many connections are served at once.
	connectionsMax = 1024

	// scrapesMax is how many requests for the metrics are answered at once. They ask no
	// database, and need processors and memory only: on two processors, 100 at once took
	// 0.6 s with 100 jobs and 7 s with 500, in which they held some 2 MB each. The bound is
	// for the memory; a hundred that come together are to be answered.
	scrapesMax = 128

	// closeTimeout is how long requests may go on when the server stops.
	closeTimeout = 5 * time.Second
)

// Server is the HTTP surface.
type Server struct {
	config   Config
	site     *site
	access   *access
	source   *source
	ready    *shared[readiness]
	overview *overview
	handler  http.Handler
	// looking holds a token for the one that looks at the application's tables.
	looking chan struct{}
	// analytics is whether there are evaluations to show.
	analytics  *shared[bool]
	jobStreams jobStreams
	// streams holds a token for each page that is kept up to date.
	streams chan struct{}
	// ending is closed when the server stops: streams have no end of their own.
	ending chan struct{}
	end    sync.Once
}

// New copies, completes and checks the configuration. It listens to nothing yet. The
// errors are *scheduler.ConfigError.
func New(config Config) (*Server, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	site := newSite(config.Prefix)
	s := &Server{config: config, site: site, access: newAccess(config, site), source: newSource(config), ready: newShared[readiness](), streams: make(chan struct{}, streamsMax), looking: make(chan struct{}, 1), analytics: newShared[bool](), ending: make(chan struct{})}
	s.overview = newOverview(site, s.source)
	s.handler = s.routes()
	return s, nil
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	if s.config.Gatherer != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(s.config.Gatherer, promhttp.HandlerOpts{
			ErrorLog: errorLog{s.config.Logger}, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: scrapesMax, Timeout: requestTimeout,
		}))
	}
	guarded := http.NewServeMux()
	s.addAPI(guarded)
	s.addPages(guarded)
	mux.Handle("/", secure(contentPolicy, s.access.guard(guarded)))
	if s.config.RiverFunc != nil {
		mux.Handle(riverPath, http.RedirectHandler(s.site.prefix+riverPath+"/", http.StatusMovedPermanently))
		mux.Handle(riverPath+"/", secure(riverPolicy, s.access.guard(http.HandlerFunc(s.river))))
	}
	return bounded(s.site.at(mux))
}

// bounded gives every body a bound.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, bodyMax)
		next.ServeHTTP(w, r)
	})
}

// ServeHTTP serves a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Close ends the streams and closes the client of the database. What is asked for
// afterwards is refused.
func (s *Server) Close() error {
	s.end.Do(func() { close(s.ending) })
	return s.source.close()
}

// Listen opens the address, so that one that is taken is known at the start. The error
// names the address.
func (s *Server) Listen(ctx context.Context) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.config.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s.config.Listen, err)
	}
	return listener, nil
}

// Run serves requests until ctx ends; then it lets those that run finish for five
// seconds. It closes the listener and the client of the database.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	defer func() {
		if err := s.source.close(); err != nil {
			s.config.Logger.WarnContext(context.WithoutCancel(ctx), "the HTTP surface has ended with connections open", slog.Any("error", err))
		}
	}()
	s.config.Logger.InfoContext(ctx, "serving HTTP", slog.String("address", "http://"+listener.Addr().String()), slog.Bool("read_only", s.config.ReadOnly))
	server := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout, WriteTimeout: answerTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: headerMax, ErrorLog: slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(netutil.LimitListener(listener, connectionsMax)) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	s.end.Do(func() { close(s.ending) })
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	err := server.Shutdown(closing)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// errorLog logs what could not be collected.
type errorLog struct{ logger *slog.Logger }

func (l errorLog) Println(v ...any) {
	l.logger.Warn("a metric could not be collected", slog.String("error", fmt.Sprint(v...)))
}
