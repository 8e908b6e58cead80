package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cleanup"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// The application works on while a job cleans.

func TestCleanupSparesASessionThatIsTouchedAfterThePass(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	r := c.newRun(t, cleanup.InactiveSessions(), nil)
	batches, err := r.start(t.Context())
	require.NoError(t, err)
	require.NoError(t, batches.(jobs.Preparer).Prepare(t.Context()))
	c.exec(t, "UPDATE user_sessions SET last_activity_at = now() WHERE session_id IN ('gone-stale-1', 'gone-stale-600')")

	done, err := r.nextPrepared(t.Context(), batches, nil)
	for err == nil && !done {
		done, err = r.next(t.Context(), batches, nil)
	}
	require.NoError(t, err)
	require.Equal(t, int64(598), r.targets["sessions"].Rows)
	require.Equal(t, int64(2), c.count(t, "user_sessions WHERE session_id LIKE 'gone-%' AND ended_at IS NULL"))
}

func TestCleanupPassesOverLockedRows(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	app := c.session(t)
	for _, statement := range []string{
		"UPDATE user_sessions SET request_count = 1 WHERE session_id = 'gone-stale-7'",
		"SELECT FROM user_contexts WHERE context_id = 'gone-empty-7' FOR KEY SHARE",
		"SELECT FROM agent_tasks WHERE context_id = 'gone-task-only-7' FOR KEY SHARE",
		"SELECT FROM logs WHERE id = 'gone-old-7' FOR SHARE",
	} {
		_, err := app.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	// All of this returns while the application still holds its locks.
	for _, job := range platformJobs() {
		c.newRun(t, job, nil).mustWork(t)
	}
	require.Equal(t, int64(1), c.count(t, "user_sessions WHERE session_id LIKE 'gone-%' AND ended_at IS NULL"))
	require.Equal(t, int64(2), c.count(t, "user_contexts WHERE context_id IN ('gone-empty-7', 'gone-task-only-7')"))
	require.Equal(t, int64(2), c.count(t, "user_contexts WHERE context_id LIKE 'gone-%'"))
	require.Equal(t, int64(1), c.count(t, "logs WHERE id LIKE 'gone-%'"))

	require.NoError(t, app.Rollback(t.Context()))
	for _, job := range platformJobs() {
		c.newRun(t, job, nil).mustWork(t)
	}
	c.requireSeedCleaned(t)
}

// A row that a foreign key touches cannot be seen beforehand.
func TestCleanupGivesWayToALockBelow(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	app := c.session(t)
	_, err := app.Exec(t.Context(), "SELECT FROM oauth_auth_codes WHERE code = 'kept-code-of-expired-token-5' FOR UPDATE")
	require.NoError(t, err)

	job := variant(t, cleanup.Database(), func(config *retention.Config) { config.LockWait = 20 * time.Millisecond })
	targets := c.newRun(t, job, nil).mustWork(t)
	require.Equal(t, int64(119), targets["refresh_tokens"].Rows)
	require.Equal(t, "1 left for the next run: locked, changed meanwhile, or to go no more", targets["refresh_tokens"].Note)
	require.Equal(t, int64(1), c.count(t, "oauth_refresh_tokens WHERE token_id = 'gone-expired-5'"))
	require.Equal(t, int64(40), targets["id_jag_replays"].Rows, "later targets are worked")
}

// Whoever keeps writers out of the table, or wants to, goes first; the run goes on
// after it, and says meanwhile for whom it waits.
func TestCleanupWaitsForALockOnItsTable(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	for _, statement := range []string{"LOCK TABLE user_sessions IN SHARE MODE", "LOCK TABLE user_sessions IN ACCESS EXCLUSIVE MODE"} {
		app := c.session(t)
		r := c.newRun(t, small(t, cleanup.InactiveSessions(), 100), nil)
		r.progress = make(chan jobs.Progress, 1)
		batches, err := r.start(t.Context())
		require.NoError(t, err)
		_, err = r.next(t.Context(), batches, nil)
		require.NoError(t, err)
		require.NoError(t, batches.(jobs.Preparer).Prepare(t.Context()))
		_, err = app.Exec(t.Context(), statement)
		require.NoError(t, err)
		done, err := r.nextPrepared(t.Context(), batches, nil)
		require.NoError(t, err)
		require.False(t, done)
		ended := make(chan error, 1)
		go func() {
			var err error
			for done := false; err == nil && !done; {
				done, err = r.next(t.Context(), batches, nil)
			}
			ended <- err
		}()
		for message := ""; !strings.HasPrefix(message, "waiting for pid "); { // or of a transaction of another test
			message = (<-r.progress).Message
		}
		require.NoError(t, app.Commit(t.Context()))
		require.NoError(t, <-ended)
		require.Equal(t, int64(600), r.targets["sessions"].Rows, statement)
		c.exec(t, "UPDATE user_sessions SET ended_at = NULL WHERE session_id LIKE 'gone-%'")
	}
}

// The worker's own statements come after those of the batch.
func TestCleanupLeavesTheTransactionsSettingsAsTheyWere(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	const show = "SELECT current_setting('lock_timeout') || ' ' || current_setting('enable_seqscan') || ' ' || current_setting('random_page_cost')"
	before := fetch[string](t, c, show)
	r := c.newRun(t, cleanup.EmptyContexts(), nil)
	batches, err := r.start(t.Context())
	require.NoError(t, err)
	_, err = r.next(t.Context(), batches, func(tx pgx.Tx, batch *jobs.Batch) error {
		require.Equal(t, int64(8), batch.Targets["contexts"].Rows)
		var after string
		err := tx.QueryRow(t.Context(), show).Scan(&after)
		require.Equal(t, before, after)
		return err
	})
	require.NoError(t, err)
}
