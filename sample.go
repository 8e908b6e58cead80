package scheduler

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/scheduler/internal/metrics"
	"github.com/systempromptio/scheduler/sql"
)

const (
	// sampleInterval is how often a replica asks for what the metrics can only know from
	// the database. Scrapes ask nothing, however many there are.
	sampleInterval = 15 * time.Second

	// sampleTimeout bounds that. A value that is old says so.
	sampleTimeout = 2 * time.Second
)

// registerMetrics makes the replica's metrics; nil if there are none.
func (s *Scheduler) registerMetrics() (*metrics.Metrics, error) {
	var names []string
	for _, job := range s.config.Registry.List() {
		names = append(names, job.Definition().Name)
	}
	m, err := metrics.New(s.config.Metrics, metrics.Config{
		JobNames: names, Version: s.config.Version, ReplicaID: s.config.ReplicaID, MaxWorkers: s.config.MaxWorkers,
	})
	if err != nil {
		return nil, &ConfigError{Field: "metrics", Err: err}
	}
	return m, nil
}

// sampler reads samples for the metrics.
type sampler struct {
	pool       *pgxpool.Pool
	statements *sql.Statements
	metrics    *metrics.Metrics
	logger     *slog.Logger
}

// run samples until ctx ends. Without metrics it does nothing.
func (s *sampler) run(ctx context.Context) {
	if s.metrics == nil {
		return
	}
	ticker := time.NewTicker(sampleInterval)
	defer ticker.Stop()
	for {
		s.sample(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *sampler) sample(ctx context.Context) {
	sampleCtx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	sample, err := s.statements.Sample(sampleCtx, s.pool)
	switch {
	case err == nil:
		s.metrics.Sampled(metrics.Sample{
			Queue: map[string]int64{
				"available": sample.Available, "running": sample.Running, "retryable": sample.Retryable,
				"scheduled": sample.Scheduled, "pending": sample.Pending,
			},
			OldestAvailable: sample.OldestAvailable,
			Jobs: map[string]int64{
				"active": sample.JobsActive, "paused": sample.JobsPaused, "disabled": sample.JobsDisabled,
				"unregistered": sample.JobsUnregistered, "problem": sample.JobsProblem,
			},
			Waiting: sample.Waiting,
		})
	case ctx.Err() == nil:
		s.metrics.SampleFailed()
		s.logger.DebugContext(ctx, "the queue could not be sampled for the metrics; trying again", slog.Any("error", err))
	}
}
