package integration

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// paced does 100 rows in each batch, up to its gate, of 1,000 altogether.
type paced struct{ gate chan struct{} }

func (paced) Definition() jobs.Definition {
	return jobs.Definition{Name: "paced", Schedule: "@yearly", MaxAttempts: 1}
}

func (p paced) Start(_ context.Context, run *jobs.Run) (jobs.Batches, error) {
	return &pacedBatches{paced: p, run: run}, nil
}

type pacedBatches struct {
	paced
	run  *jobs.Run
	done int64
}

func (b *pacedBatches) Prepare(ctx context.Context) error {
	if b.done == 500 {
		b.run.Progress(ctx, jobs.Progress{Done: b.done, Message: "looking for more"})
		select {
		case <-b.gate:
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (b *pacedBatches) Next(ctx context.Context, batch *jobs.Batch) (bool, error) {
	if _, err := batch.Tx.Exec(ctx, "SELECT pg_sleep(0.05)"); err != nil {
		return false, err
	}
	b.done += 100
	batch.Targets["rows"] = jobs.Target{Rows: 100, Batches: 1}
	batch.Total, batch.Message = 1000, "pass 1 of 2"
	return b.done == 1000, nil
}

// How far a run is, how fast it goes and how long it will take are seen while it runs.
func TestProgressOfARun(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	registry := testRegistry()
	require.NoError(t, registry.Add(paced{gate: gate}))
	db := started(t, scheduler.Config{Registry: registry, BootstrapJobs: []string{}})
	shell := shellOf(t, db)
	waiting := shell.start(t, "run", "paced", "--wait")
	// 500 of 1,000 rows in a quarter of a second, at the best.
	waitValue(t, db, waitRun, true, `SELECT progress_done = 500 AND progress_total = 1000 AND rows_per_second BETWEEN 50 AND 2000
		AND abs(seconds_left - 500 / rows_per_second) < 0.02 AND progress_message = 'looking for more' AND message = 'pass 1 of 2'
		FROM scheduler.runs WHERE job_name = 'paced'`)
	require.Regexp(t, `(?m)^\d+ +paced .* running +500 .* 500 of 1000 rows \(50 %\), \d+ rows/s, about \d+s left, looking for more; pass 1 of 2$`,
		shell.succeed(t, "runs", "--job", "paced"))
	waiting.waitFor(t, waiting.stderr, "500 of 1000 rows (50 %)")
	close(gate)
	require.Equal(t, 0, waiting.code(t), waiting.stderr)
	require.Regexp(t, `running, \d+ of 1000 rows \(\d+ %\), \d+ rows/s, about \d+s left, `, waiting.stderr.String())
	require.True(t, scalar[bool](t, db, `SELECT status = 'success' AND progress_done IS NULL AND rows_per_second IS NULL AND seconds_left IS NULL
		AND progress_message IS NULL FROM scheduler.runs WHERE job_name = 'paced'`))
}
