package integration

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
	"github.com/systempromptio/scheduler/schedulertest"
)

// The jobs of docs/jobs.md, word for word.

// Rescore brings the scores of orders up to date, a hundred at a time.
type Rescore struct{}

func (Rescore) Definition() jobs.Definition {
	return jobs.Definition{Name: "rescore_orders", Schedule: "@hourly"}
}

func (Rescore) Start(_ context.Context, run *jobs.Run) (jobs.Batches, error) {
	r := &rescoring{}
	if run.Cursor != nil { // an earlier attempt has begun: go on after its last batch
		if err := json.Unmarshal(run.Cursor, &r.after); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// rescoring is one attempt.
type rescoring struct{ after int64 } // the id of the last order that was done

func (r *rescoring) Next(ctx context.Context, batch *jobs.Batch) (done bool, err error) {
	const size = 100
	var rows, last int64
	err = batch.Tx.QueryRow(ctx, `
		WITH changed AS (
			UPDATE orders SET score = amount * 2 WHERE id IN (
				SELECT id FROM orders WHERE id > $1 AND score IS DISTINCT FROM amount * 2 ORDER BY id LIMIT $2)
			RETURNING id)
		SELECT count(*), coalesce(max(id), $1) FROM changed`, r.after, size).Scan(&rows, &last)
	if err != nil {
		return false, err
	}
	r.after = last
	batch.Targets["orders"] = jobs.Target{Rows: rows, Batches: 1}
	batch.Cursor = last
	return rows < size, nil
}

// PurgeEvents deletes old events.
func PurgeEvents() *retention.Job {
	return retention.Must(retention.Config{
		Definition: jobs.Definition{
			Name: "purge_events", Schedule: "15 3 * * *",
			Parameters: []jobs.Parameter{
				{Name: "keep_days", Type: jobs.TypeInteger, Default: 30, Minimum: jobs.Bound(1), Maximum: jobs.Bound(36_500)},
			},
		},
		Rules: []retention.Rule{{
			Target: "events", Table: "events",
			SQL: "SELECT t.ctid FROM {table} t WHERE t.at < @now::timestamptz - make_interval(days => @keep_days::int)",
		}},
	})
}

func TestDocumentedJobs(t *testing.T) {
	t.Parallel()
	documentation, err := os.ReadFile("../docs/jobs.md")
	require.NoError(t, err)
	source, err := os.ReadFile("documented_test.go")
	require.NoError(t, err)
	for _, first := range []string{"// Rescore ", "// PurgeEvents "} {
		_, code, found := strings.Cut(string(documentation), "```go\n"+first)
		require.True(t, found, first)
		code, _, _ = strings.Cut(code, "```")
		require.Contains(t, string(source), first+code)
	}

	pool := testdb.New(t, migrated).Pool(t)
	setUp := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			CREATE TABLE orders (id bigint PRIMARY KEY, amount int NOT NULL, score int);
			INSERT INTO orders SELECT n, n FROM generate_series(1, 250) n;
			CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz NOT NULL);
			INSERT INTO events SELECT n, now() - n * interval '1 day' FROM generate_series(1, 200) n`)
		return err
	}
	config := PurgeEvents().Config()
	config.BatchRowsMax = 50
	purge, err := retention.New(config)
	require.NoError(t, err)
	for _, job := range []jobs.Job{Rescore{}, purge} {
		t.Run(job.Definition().Name, func(t *testing.T) {
			schedulertest.Contract(t, pool, job, schedulertest.ContractOptions{Options: schedulertest.Options{SetUpFunc: setUp}})
		})
	}
}
