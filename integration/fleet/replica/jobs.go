package main

import (
	"context"
	_ "embed" // expired.sql
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
)

//go:embed expired.sql
var expired string

// newRegistry holds the jobs of a replica; extra is one that not every replica
// knows.
func newRegistry(extra bool) (*jobs.Registry, error) {
	purge, err := retention.New(retention.Config{
		Definition: jobs.Definition{Name: "purge", Schedule: "*/5 * * * * *", MaxAttempts: 20, BackoffFunc: backoff},
		Rules:      []retention.Rule{{Target: "items", Table: "items", SQL: expired}},
	})
	if err != nil {
		return nil, err
	}
	all := []jobs.Job{
		jobs.Func(jobs.Definition{Name: "each_second", Schedule: "* * * * * *", MaxAttempts: 10, BackoffFunc: backoff}, hit),
		jobs.Func(jobs.Definition{Name: "noop", Schedule: "@yearly", MaxAttempts: 10, BackoffFunc: backoff},
			func(context.Context, *jobs.Run) (jobs.Result, error) { return jobs.Result{}, nil }),
		jobs.Func(jobs.Definition{
			Name: "long", Schedule: "@yearly", MaxAttempts: 20, BackoffFunc: backoff,
			Parameters: []jobs.Parameter{{Name: "seconds", Type: jobs.TypeInteger, Default: 5, Minimum: jobs.Bound(0), Maximum: jobs.Bound(50)}},
		}, long),
		mark{},
		purge,
	}
	if extra {
		all = append(all, jobs.Func(jobs.Definition{Name: "extra", Schedule: "@yearly", MaxAttempts: 10, BackoffFunc: backoff}, hit))
	}
	registry := &jobs.Registry{}
	return registry, registry.Add(all...)
}

// backoff is short: a test waits for the next attempt.
func backoff(attempt int) time.Duration {
	return min(time.Duration(attempt)*200*time.Millisecond, 2*time.Second)
}

// hit leaves one row for each run that succeeds.
func hit(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
	tag, err := run.Tx.Exec(ctx, "INSERT INTO hits (tick, run_id, attempt, replica) VALUES ($1, $2, $3, $4)",
		run.Tick, run.ID, run.Attempt, os.Getenv("SCHEDULER_REPLICA_ID"))
	return jobs.Result{RowsAffected: tag.RowsAffected()}, err
}

// long hits and then keeps its transaction open.
func long(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
	result, err := hit(ctx, run)
	if err != nil {
		return result, err
	}
	timer := time.NewTimer(time.Duration(run.Parameters.Int("seconds")) * time.Second)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return jobs.Result{}, ctx.Err()
	case <-timer.C:
		return result, nil
	}
}

const markBatch = 20

// Rows that somebody else has locked are left for the next run.
const markRows = `
WITH picked AS (
    SELECT id FROM items WHERE marked_by IS NULL AND id > $2 ORDER BY id LIMIT $3 FOR UPDATE SKIP LOCKED
)
UPDATE items SET marked_by = $1 FROM picked WHERE items.id = picked.id RETURNING items.id`

// mark writes its run's id into rows that have none, a few in each transaction.
type mark struct{}

func (mark) Definition() jobs.Definition {
	return jobs.Definition{Name: "mark", Schedule: "@yearly", MaxAttempts: 20, BackoffFunc: backoff}
}

func (mark) Start(_ context.Context, run *jobs.Run) (jobs.Batches, error) {
	b := &markBatches{run: run}
	if run.Cursor != nil {
		if err := json.Unmarshal(run.Cursor, &b.last); err != nil {
			return nil, jobs.Permanent(fmt.Errorf("read the run's cursor %s: %w", run.Cursor, err))
		}
	}
	return b, nil
}

type markBatches struct {
	run  *jobs.Run
	last int64
}

func (b *markBatches) Next(ctx context.Context, batch *jobs.Batch) (bool, error) {
	rows, err := batch.Tx.Query(ctx, markRows, b.run.ID, b.last, markBatch)
	if err != nil {
		return false, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return false, err
	}
	for _, id := range ids {
		b.last = max(b.last, id)
	}
	batch.Targets["items"] = jobs.Target{Rows: int64(len(ids)), Batches: 1}
	batch.Cursor = b.last
	return len(ids) < markBatch, nil
}
