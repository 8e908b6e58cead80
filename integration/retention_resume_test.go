package integration

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cleanup"
)

const (
	passStatement  = "-- The pass"
	clearStatement = "DELETE FROM scheduler.retention_candidates"
)

// Every batch is worked by a new attempt, as if each replica died right after it.
func TestCleanupGoesOnAfterEveryBatch(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	for _, job := range platformJobs() {
		r := c.newRun(t, small(t, job, 40), nil)
		passes := c.sent.count(passStatement)
		for done := false; !done; {
			batches, err := r.start(t.Context())
			require.NoError(t, err)
			done, err = r.next(t.Context(), batches, nil)
			require.NoError(t, err)
		}
		targets := len(job.Config().Rules)
		if job.Definition().Name == "database_cleanup" {
			targets++ // old logs, again, after orphaned ones have gone
		}
		require.Equal(t, targets, c.sent.count(passStatement)-passes, "each table is looked through once, whoever goes on")
		require.Equal(t, r.batches, r.attempt)
		require.Greater(t, r.batches, targets)
	}
	c.requireSeedCleaned(t)
}

// Every second attempt dies before its batch commits.
func TestCleanupLosesNothingWithABatchThatIsRolledBack(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	for _, job := range platformJobs() {
		r := c.newRun(t, small(t, job, 40), nil)
		for done := false; !done; {
			batches, err := r.start(t.Context())
			require.NoError(t, err)
			if r.attempt%2 == 1 {
				_, err = r.next(t.Context(), batches, func(pgx.Tx, *jobs.Batch) error { return errKilled })
				require.ErrorIs(t, err, errKilled)
				continue
			}
			done, err = r.next(t.Context(), batches, nil)
			require.NoError(t, err)
		}
	}
	c.requireSeedCleaned(t)
}

// requireSeedCleaned: what had to go has gone, and the counts were right.
func (c *cleaning) requireSeedCleaned(t *testing.T) {
	t.Helper()
	for table, key := range seededKeys {
		if table != "user_sessions" {
			require.Zero(t, c.count(t, table+" WHERE "+key+" LIKE 'gone-%'"), table)
		}
	}
	require.Zero(t, c.count(t, "user_sessions WHERE session_id LIKE 'gone-%' AND ended_at IS NULL"))
	require.Equal(t, int64(150), c.count(t, "user_sessions WHERE ended_at IS NULL"))
	require.Zero(t, c.count(t, "scheduler.retention_candidates"))
}

func TestCleanupCountsWhatItChangesWhenResumed(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	r := c.newRun(t, small(t, cleanup.Database(), 25), nil)
	for done := false; !done; {
		batches, err := r.start(t.Context())
		require.NoError(t, err)
		for n := 0; n < 3 && !done; n++ {
			done, err = r.next(t.Context(), batches, nil)
			require.NoError(t, err)
		}
	}
	require.Equal(t, map[string]int64{
		"orphaned_logs": 300, "old_logs": 600, "orphaned_mcp_executions": 150, "auth_codes": 180,
		"refresh_tokens": 120, "state_bindings": 40, "jti_revocations": 40, "id_jag_replays": 40,
	}, rowsOf(r.targets))
	require.GreaterOrEqual(t, r.targets["old_logs"].Batches, int64(5), "a page at least")
	require.Equal(t, int64(12+2), r.targets["orphaned_logs"].Batches+r.targets["id_jag_replays"].Batches+1, "twenty-five rows each, and one page")
	require.Equal(t, "1470 rows affected", r.message)
}

// A server that crashes empties tables that are not logged.
func TestCleanupFindsItsCandidatesAgainAfterACrash(t *testing.T) {
	t.Parallel()
	server := testdb.Start(t, testdb.Options{})
	c := newCleaning(t, testdb.On(server), platformSeeded)
	r := c.newRun(t, small(t, cleanup.EmptyContexts(), 50), nil)
	batches, err := r.start(t.Context())
	require.NoError(t, err)
	for range 3 {
		_, err = r.next(t.Context(), batches, nil)
		require.NoError(t, err)
	}
	c.reset()
	server.Kill(t)
	server.Start(t)
	require.Zero(t, c.count(t, "scheduler.retention_candidates"), "the crash has emptied the table")
	require.Equal(t, int64(8+12+18), r.targets["contexts"].Rows, "it begins with few, where rows may hang below")

	targets := r.mustWork(t)
	require.Equal(t, int64(410), targets["contexts"].Rows)
	require.Zero(t, c.count(t, "user_contexts WHERE context_id LIKE 'gone-%'"))
	require.Equal(t, 2, c.sent.count(passStatement))
}

// What failed and cancelled runs leave behind goes when the next job starts.
func TestCleanupDropsTheCandidatesOfEndedRuns(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	begin := func() *ledgerRun {
		r := c.newRun(t, small(t, cleanup.Database(), 10), nil)
		batches, err := r.start(t.Context())
		require.NoError(t, err)
		for r.targets.Rows() == 0 {
			_, err = r.next(t.Context(), batches, nil)
			require.NoError(t, err)
		}
		return r
	}
	running, failed, deleted := begin(), begin(), begin()
	c.exec(t, "UPDATE scheduler.job_runs SET status = 'failed', finished_at = now() WHERE id = $1", failed.id)
	c.exec(t, "DELETE FROM scheduler.job_runs WHERE id = $1", deleted.id)
	of := func(r *ledgerRun) int64 {
		return fetch[int64](t, c, "SELECT count(*) FROM scheduler.retention_candidates WHERE run_id = $1", r.id)
	}
	require.Equal(t, []int64{8, 8, 8}, []int64{of(running), of(failed), of(deleted)}, "a chunk for each target")

	dry := c.newDryRun(t, cleanup.InactiveSessions(), nil)
	_, err := dry.start(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(8), of(failed), "a dry run changes nothing")

	c.newRun(t, cleanup.InactiveSessions(), nil).mustWork(t)
	require.Equal(t, []int64{8, 0, 0}, []int64{of(running), of(failed), of(deleted)})
	running.mustWork(t)
	require.Equal(t, int64(280), running.targets["orphaned_logs"].Rows, "twenty had gone by the other runs")
	require.Equal(t, "20 left for the next run: locked, changed meanwhile, or to go no more", running.targets["orphaned_logs"].Note)
}
