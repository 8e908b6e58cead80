package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/internal/config"
	"github.com/systempromptio/scheduler/internal/metrics"
	"github.com/systempromptio/scheduler/internal/web"
)

func (a *app) serveCommand() *cobra.Command {
	var replicaID string
	var untilEOF bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a replica until it is stopped",
		Long: `Runs a replica: it takes part in the election, turns schedules into runs while it
leads, and works runs all the time. It waits for a database that is not there yet; a
database or schema that will not do is refused at once.

SIGTERM or SIGINT ends it: it gives its leadership away, lets its runs finish for
--shutdown-timeout, stops the rest at the end of a batch and hands them to other
replicas. It exits with 0 if all had finished, with 3 if others go on with some. A
second signal ends it at once, with exit code 143 (SIGTERM) or 130 (SIGINT).

Traces are sent where OpenTelemetry's environment variables ask for it:
OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_EXPORTER and the others.`,
		Example: `  scheduler serve --migrate
  scheduler serve --config config.yaml --log-format json
  scheduler serve --listen 8080    # http://127.0.0.1:8080
  DATABASE_URL=postgres://scheduler@db/platform scheduler serve --max-workers 20`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			settings, err := a.settingsForDatabase(ctx)
			if err != nil {
				return err
			}
			logger := newLogger(a.stderr, settings)
			if settings.LogFormat == config.LogFormatJSON {
				a.reportFunc = func(message string) {
					logger.ErrorContext(context.WithoutCancel(ctx), "stopped", slog.String("error", message))
				}
			}
			if untilEOF {
				ctx = a.endWithInput(ctx)
			}
			settings.Scheduler.Logger = logger
			settings.Scheduler.ReplicaID = replicaID
			return settings.Locate(a.serve(ctx, settings))
		},
	}
	a.flags.addRest(cmd.Flags())
	completeFields(cmd)
	// For "dev", whose children end with it, however it ends.
	cmd.Flags().StringVar(&replicaID, "replica-id", "", "identity of this process start")
	cmd.Flags().BoolVar(&untilEOF, "until-eof", false, "end when standard input ends, and not by SIGINT")
	for _, name := range []string{"replica-id", "until-eof"} {
		_ = cmd.Flags().MarkHidden(name) // it exists
	}
	return cmd
}

// serve runs a replica and, where it was asked for, its HTTP surface. That outlives the
// replica's runs, so that somebody can watch them end.
func (a *app) serve(ctx context.Context, settings config.Settings) error {
	c := settings.Scheduler
	c.App = a.given.App
	registry := metrics.NewRegistry()
	surface, err := a.newSurface(settings, registry)
	if err != nil {
		return err
	}
	if surface != nil {
		c.Metrics, c.Version = registry, a.given.Version
	}
	replica, err := scheduler.New(c)
	if err != nil {
		return err
	}
	c, flush, err := a.traced(ctx, replica.Config())
	if err != nil {
		return err
	}
	defer flush()
	if replica, err = scheduler.New(c); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		c.Logger.InfoContext(context.WithoutCancel(ctx), "stopping: runs may finish", //nolint:contextcheck // it has ended
			slog.String("cause", fmt.Sprint(context.Cause(ctx))), slog.Duration("shutdown_timeout", replica.Config().ShutdownTimeout))
	})
	defer stop()
	if surface == nil {
		err = replica.Run(ctx)
	} else {
		err = runBoth(ctx, replica, surface)
	}
	if err != nil {
		return err
	}
	c.Logger.InfoContext(context.WithoutCancel(ctx), "stopped")
	return nil
}

// runBoth runs a replica and its HTTP surface. Either's failure ends both.
func runBoth(ctx context.Context, replica *scheduler.Scheduler, surface *web.Server) error {
	listener, err := surface.Listen(ctx)
	if err != nil {
		return err
	}
	serving, endServing := context.WithCancel(context.WithoutCancel(ctx))
	defer endServing()
	running, endRunning := context.WithCancel(ctx)
	defer endRunning()
	var group errgroup.Group
	group.Go(func() error {
		defer endServing()
		return replica.Run(running)
	})
	group.Go(func() error {
		defer endRunning()
		return surface.Run(serving, listener)
	})
	return group.Wait()
}

var errInputEnded = errors.New("the program that started this one has ended")

// endWithInput makes a context that also ends with standard input: the kernel
// closes it with the process at its other end, whatever that dies of. Unlike the
// parent-death signal it exists on every system and is not bound to a thread.
//
// A terminal sends SIGINT to the parent too, who decides; and a log that nobody
// reads any more is no reason to break off.
func (a *app) endWithInput(ctx context.Context) context.Context {
	signal.Ignore(syscall.SIGINT, syscall.SIGPIPE)
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { // it ends with the process: a read cannot be interrupted
		_, _ = io.Copy(io.Discard, a.stdin)
		cancel(errInputEnded)
	}()
	return ctx
}

func newLogger(w io.Writer, settings config.Settings) *slog.Logger {
	options := &slog.HandlerOptions{Level: settings.LogLevel}
	if settings.LogFormat == config.LogFormatJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
