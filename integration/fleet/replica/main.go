// Command replica is a replica of the scheduler for tests that break what is
// around it. Package fleet builds it and runs it in a container; the tables that
// its jobs work on are fleet.Tables.
//
// It is also built within older revisions of this module, so it uses only what
// both have.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/systempromptio/scheduler"
)

const (
	maxWorkers             = 10
	shutdownTimeoutDefault = 5 * time.Second
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "replica:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	timeout := shutdownTimeoutDefault
	if text := os.Getenv("SCHEDULER_REPLICA_SHUTDOWN"); text != "" {
		var err error
		if timeout, err = time.ParseDuration(text); err != nil {
			return fmt.Errorf("SCHEDULER_REPLICA_SHUTDOWN: %w", err)
		}
	}
	registry, err := newRegistry(os.Getenv("SCHEDULER_REPLICA_EXTRA") == "1")
	if err != nil {
		return err
	}
	s, err := scheduler.New(scheduler.Config{
		DatabaseURL:     os.Getenv("SCHEDULER_REPLICA_URL"),
		ReplicaID:       os.Getenv("SCHEDULER_REPLICA_ID"),
		Registry:        registry,
		BootstrapJobs:   []string{},
		MaxWorkers:      maxWorkers,
		ShutdownTimeout: timeout,
		Logger:          slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}
