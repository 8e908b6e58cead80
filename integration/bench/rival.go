package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// rivalEnv makes the program run as a River client, with its defaults and a periodic
// job.
const rivalEnv = "SCHEDULER_BENCH_RIVAL"

const (
	rivalSchema = "rival_river"
	rivalKills  = 4
	rivalOthers = 2
	// rivalPeriod is how often the periodic job is inserted: so exact is the measure.
	rivalPeriod = 200 * time.Millisecond
)

type rivalArgs struct{}

func (rivalArgs) Kind() string { return "rival_periodic" }

type rivalWorker struct {
	river.WorkerDefaults[rivalArgs]
}

func (rivalWorker) Work(context.Context, *river.Job[rivalArgs]) error { return nil }

// migrateRiver makes plain River's tables in a schema of its own.
func migrateRiver(ctx context.Context, db *database, schema string) error {
	if _, err := db.pool.Exec(ctx, "CREATE SCHEMA "+schema); err != nil {
		return err
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(db.pool), &rivermigrate.Config{Schema: schema, Logger: quiet()})
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// runRival is the life of a River client with a periodic job.
func runRival(ctx context.Context, url string) error {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	workers := river.NewWorkers()
	river.AddWorker(workers, &rivalWorker{})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		ID: os.Getenv(replicaIDEnv), Logger: quiet(), Schema: rivalSchema, Workers: workers,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 10}},
		PeriodicJobs: []*river.PeriodicJob{river.NewPeriodicJob(river.PeriodicInterval(rivalPeriod),
			func() (river.JobArgs, *river.InsertOpts) { return rivalArgs{}, nil }, nil)},
	})
	if err != nil {
		return err
	}
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	<-ctx.Done()
	return client.Stop(context.WithoutCancel(ctx))
}

// rivalFailover measures the time from the end of River's leader until the next one
// has inserted the periodic job.
func rivalFailover(ctx context.Context, db *database) (took map[syscall.Signal][]time.Duration, err error) {
	if err := migrateRiver(ctx, db, rivalSchema); err != nil {
		return nil, err
	}
	f := newProcesses(db, rivalEnv+"=1")
	defer f.end()
	for range replicas {
		if err := f.start(); err != nil {
			return nil, err
		}
	}
	took = make(map[syscall.Signal][]time.Duration)
	for _, way := range []struct {
		signal syscall.Signal
		rounds int
	}{{syscall.SIGKILL, rivalKills}, {syscall.SIGSTOP, rivalOthers}, {syscall.SIGTERM, rivalOthers}} {
		for range way.rounds {
			d, err := f.rivalTakeOver(ctx, way.signal)
			if err != nil {
				return nil, fmt.Errorf("River's leader, %v: %w", way.signal, err)
			}
			took[way.signal] = append(took[way.signal], d)
		}
		slices.Sort(took[way.signal])
	}
	return took, nil
}

func (f *processes) rivalTakeOver(ctx context.Context, signal syscall.Signal) (time.Duration, error) {
	var leader string
	// It leads, and has shown that it inserts.
	err := until(ctx, time.Minute, func() (bool, error) {
		err := f.db.pool.QueryRow(ctx, `SELECT leader_id FROM rival_river.river_leader WHERE expires_at > now()
			AND EXISTS (SELECT FROM rival_river.river_job WHERE created_at > now() - interval '400 ms' AND created_at > elected_at)`).Scan(&leader)
		if errors.Is(err, pgx.ErrNoRows) {
			return false, nil
		}
		return err == nil && f.replicas[leader] != nil, err
	})
	if err != nil {
		return 0, fmt.Errorf("wait for a leader: %w", err)
	}
	struck := time.Now()
	if err := f.replicas[leader].Process.Signal(signal); err != nil {
		return 0, err
	}
	var inserted time.Time
	err = until(ctx, 2*time.Minute, func() (bool, error) {
		err := f.db.pool.QueryRow(ctx, `SELECT min(j.created_at) FROM rival_river.river_job j, rival_river.river_leader l
			WHERE l.leader_id <> $1 AND j.created_at > greatest(l.elected_at, $2) HAVING min(j.created_at) IS NOT NULL`, leader, struck).Scan(&inserted)
		if errors.Is(err, pgx.ErrNoRows) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return 0, fmt.Errorf("wait for the next leader: %w", err)
	}
	f.kill(leader)
	return inserted.Sub(struck), f.start()
}
