package integration

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// bounded is a job in batches that would go past a bound, unless it is told to.
type bounded struct{}

func (bounded) Definition() jobs.Definition {
	return jobs.Definition{
		Name: "bounded", Schedule: "@yearly", MaxAttempts: 5, BackoffFunc: shortBackoff, Overlap: jobs.OverlapQueue,
		Parameters: []jobs.Parameter{{Name: "rows", Type: jobs.TypeInteger, Default: 2000}},
	}
}

func (bounded) Start(_ context.Context, run *jobs.Run) (jobs.Batches, error) {
	return &boundedBatches{run: run, rows: run.Parameters.Int("rows")}, nil
}

type boundedBatches struct {
	run  *jobs.Run
	rows int64
}

func (b *boundedBatches) Prepare(context.Context) error {
	if b.rows > 1000 {
		return jobs.Blocked(errors.New("target \"rows\" would lose 2000 of 2010 rows, 1000 are allowed\nsee the documentation"))
	}
	return nil
}

func (b *boundedBatches) Next(ctx context.Context, batch *jobs.Batch) (bool, error) {
	_, err := batch.Tx.Exec(ctx, "INSERT INTO hits (tick, run_id, attempt) VALUES ($1, $2, $3)", b.run.Tick, b.run.ID, b.run.Attempt)
	return true, err
}

func startBounded(t *testing.T) *testdb.DB {
	t.Helper()
	registry := testRegistry()
	require.NoError(t, registry.Add(bounded{}, jobs.Func(jobs.Definition{Name: "bounded_tx", Schedule: "@yearly"},
		func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			if _, err := hit(ctx, run); err != nil {
				return jobs.Result{}, err
			}
			return jobs.Result{}, jobs.Blocked(errors.New("one hit is one too many"))
		})))
	return started(t, scheduler.Config{Registry: registry, BootstrapJobs: []string{}})
}

// A run that would go past a bound ends at once, and whoever looks sees it.
func TestBlockedRun(t *testing.T) {
	t.Parallel()
	db := startBounded(t)
	run := runNow(t, db, "bounded")
	waitStatus(t, db, run, jobs.StatusBlocked)
	require.True(t, scalar[bool](t, db, `
		SELECT attempt = 1 AND started_at IS NOT NULL AND finished_at IS NOT NULL AND error LIKE 'target "rows" would lose 2000%documentation'
		FROM scheduler.runs WHERE id = $1`, run))
	require.True(t, scalar[bool](t, db, `
		SELECT last_status = 'blocked' AND problem = 'blocked: target "rows" would lose 2000 of 2010 rows, 1000 are allowed'
		       AND last_error LIKE 'target%' AND run_count = 1
		FROM scheduler.jobs WHERE job_name = 'bounded'`))
	require.True(t, scalar[bool](t, db, `
		SELECT blocked = 1 AND failed = 0 AND last_failure IS NULL AND last_blocked IS NOT NULL FROM scheduler.job_stats WHERE job_name = 'bounded'`))
	require.Equal(t, "discarded", scalar[string](t, db, "SELECT state::text FROM scheduler.river_job WHERE (args ->> 'run_id')::bigint = $1", run))
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM hits WHERE run_id = $1", run))

	shell := shellOf(t, db)
	p := shell.call(t, "run", "bounded", "--wait")
	require.Equal(t, 1, p.code(t))
	require.Contains(t, p.stderr.String(), `of bounded: blocked: target "rows" would lose 2000`)
	require.Contains(t, shell.succeed(t, "runs", "--status", "blocked"), `target "rows" would lose 2000`)
	table := shell.succeed(t, "jobs")
	require.Contains(t, table, `bounded has a problem: blocked: target "rows" would lose`)
	require.NotContains(t, table, "bounded went wrong")

	backfill := scalar[int64](t, db, "SELECT scheduler.backfill('bounded', now() - interval '2 years', now())")
	waitValue(t, db, waitRun, "done", "SELECT status FROM scheduler.backfills WHERE id = $1", backfill)
	require.True(t, scalar[bool](t, db, "SELECT blocked = runs AND runs >= 1 FROM scheduler.backfills WHERE id = $1", backfill), "those in line come after one that was blocked")

	run = scalar[int64](t, db, `SELECT scheduler.run_now('bounded', '{"rows": 3}')`)
	waitStatus(t, db, run, jobs.StatusSuccess)
	require.True(t, scalar[bool](t, db, "SELECT problem IS NULL AND last_error IS NULL FROM scheduler.jobs WHERE job_name = 'bounded'"))
}

// What a job in one transaction has changed before it says so is rolled back.
func TestBlockedTransaction(t *testing.T) {
	t.Parallel()
	db := startBounded(t)
	run := runNow(t, db, "bounded_tx")
	waitStatus(t, db, run, jobs.StatusBlocked)
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM hits WHERE run_id = $1", run))
	require.Equal(t, "one hit is one too many", scalar[string](t, db, "SELECT error FROM scheduler.runs WHERE id = $1", run))
}

// River's row of a blocked run can be tried again by hand; the ledger says how that
// ends.
func TestBlockedRunTriedAgain(t *testing.T) {
	t.Parallel()
	db := startBounded(t)
	run := runNow(t, db, "bounded")
	waitStatus(t, db, run, jobs.StatusBlocked)
	exec1(t, db, `UPDATE scheduler.river_job SET state = 'available', finalized_at = NULL, args = jsonb_set(args, '{parameters,rows}', '"many"')
		WHERE (args ->> 'run_id')::bigint = $1`, run)
	waitStatus(t, db, run, jobs.StatusFailed)
	if text := scalar[string](t, db, "SELECT error FROM scheduler.runs WHERE id = $1", run); !strings.Contains(text, "rows") {
		t.Errorf("the error is %q", text)
	}
}
