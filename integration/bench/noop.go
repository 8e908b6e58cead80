package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/systempromptio/scheduler"
)

const (
	noopRuns    = 5000
	noopWorkers = 20
	noopRounds  = 3
	plainSchema = "plain_river"
)

type plainArgs struct{}

func (plainArgs) Kind() string { return "plain_noop" }

// plainWorker does what a user of plain River writes for the same promise: the
// effect and the completion in one transaction.
type plainWorker struct {
	river.WorkerDefaults[plainArgs]
	pool *pgxpool.Pool
}

func (w *plainWorker) Work(ctx context.Context, job *river.Job[plainArgs]) error {
	return pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
}

// noop measures runs that do nothing, beside plain River with JobCompleteTx, in
// turns.
func noop(ctx context.Context, db *database) error {
	if err := migrateRiver(ctx, db, plainSchema); err != nil {
		return err
	}
	fmt.Printf("\nno-op runs: %d a round, %d workers, fetch cooldown 5 ms\n", noopRuns, noopWorkers)
	for round := range noopRounds {
		plain, err := plainRound(ctx, db)
		if err != nil {
			return err
		}
		ours, err := ourRound(ctx, db)
		if err != nil {
			return err
		}
		fmt.Printf("  round %d: plain River with JobCompleteTx %5.0f/s, scheduler %5.0f/s, ratio %.2f\n", round+1,
			noopRuns/plain.Seconds(), noopRuns/ours.Seconds(), plain.Seconds()/ours.Seconds())
	}
	return nil
}

func plainRound(ctx context.Context, db *database) (time.Duration, error) {
	config := db.pool.Config()
	config.MaxConns = noopWorkers + 4
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	workers := river.NewWorkers()
	river.AddWorker(workers, &plainWorker{pool: pool})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		FetchCooldown: 5 * time.Millisecond, Logger: quiet(), Schema: plainSchema, Workers: workers,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: noopWorkers}}, LeaderElectionDisabled: true,
	})
	if err != nil {
		return 0, err
	}
	inserts := make([]river.InsertManyParams, noopRuns)
	for i := range inserts {
		inserts[i].Args = plainArgs{}
	}
	if _, err := client.InsertManyFast(ctx, inserts); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := client.Start(ctx); err != nil {
		return 0, err
	}
	err = drained(ctx, db, plainSchema)
	took := time.Since(begin)
	return took, errors.Join(err, client.Stop(context.WithoutCancel(ctx)))
}

func ourRound(ctx context.Context, db *database) (time.Duration, error) {
	// What the leader writes for a run, many at once.
	_, err := db.pool.Exec(ctx, `
		WITH run AS (
			INSERT INTO scheduler.job_runs (job_name, tick, trigger, status)
			SELECT 'noop', clock_timestamp(), 'manual', 'pending' FROM generate_series(1, $1) RETURNING id, tick
		)
		INSERT INTO scheduler.river_job (args, kind, max_attempts, state, queue, priority)
		SELECT jsonb_build_object('run_id', id, 'tick', tick, 'trigger', 'manual'), 'noop', 5, 'available', 'default', 1 FROM run`, noopRuns)
	if err != nil {
		return 0, err
	}
	s, err := scheduler.New(scheduler.Config{DatabaseURL: db.url, Registry: registry(), BootstrapJobs: []string{}, MaxWorkers: noopWorkers, Logger: quiet()})
	if err != nil {
		return 0, err
	}
	runCtx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	begin := time.Now()
	go func() { ended <- s.Run(runCtx) }()
	err = drained(ctx, db, scheduler.SchemaDefault)
	took := time.Since(begin)
	stop()
	return took, errors.Join(err, <-ended)
}

// drained waits until no River job of a schema is left to do.
func drained(ctx context.Context, db *database, schema string) error {
	return until(ctx, 5*time.Minute, func() (bool, error) {
		var done bool
		err := db.pool.QueryRow(ctx, "SELECT NOT EXISTS (SELECT FROM "+schema+".river_job WHERE state IN ('available', 'running', 'retryable'))").Scan(&done)
		return done, err
	})
}
