package integration

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cleanup"
	"github.com/systempromptio/scheduler/jobs/retention"
)

const sayElsewhere = `INSERT INTO task_messages (task_id, message_id, role, context_id, sequence_number)
SELECT 'task-of-kept-talk-1', gen_random_uuid()::text, 'user', $1, 1`

// An id that was handed out before the pass, and is committed after it.
func TestCleanupWaitsForWritersBeforeThePass(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	early := c.session(t)
	_, err := early.Exec(t.Context(), sayElsewhere, "gone-empty-3")
	require.NoError(t, err)
	c.exec(t, sayElsewhere, "gone-empty-4") // a higher id, and committed

	impatient := variant(t, cleanup.EmptyContexts(), func(config *retention.Config) { config.MarkWait = 50 * time.Millisecond })
	r := c.newRun(t, impatient, nil)
	err = r.work(t.Context())
	require.ErrorContains(t, err, `target "contexts" (table user_contexts): a transaction of pid`)
	require.ErrorContains(t, err, "has been writing to task_messages and has not ended within 50ms")
	require.False(t, jobs.IsPermanent(err))
	require.Zero(t, c.sent.count(passStatement), "no pass before it")

	// The same run, patient: it is seen waiting, then the writer commits.
	r.job = cleanup.EmptyContexts()
	ended := make(chan error, 1)
	go func() { ended <- r.work(t.Context()) }()
	polls := c.sent.count("virtualtransaction")
	testdb.WaitFor(t, "the run waits for the writer", time.Minute, func(context.Context) (bool, any, error) {
		n := c.sent.count("virtualtransaction")
		return n > polls+3, n, nil
	})
	require.Zero(t, c.sent.count(passStatement))
	require.NoError(t, early.Commit(t.Context()))
	require.NoError(t, <-ended)
	require.Equal(t, int64(408), r.targets["contexts"].Rows)
	require.Equal(t, int64(2), c.count(t, "user_contexts WHERE context_id IN ('gone-empty-3', 'gone-empty-4')"))
}

// Writers that come after the mark are not waited for, nor is anybody who reads.
func TestCleanupDoesNotWaitForNewWriters(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	reader := c.session(t)
	_, err := reader.Exec(t.Context(), "SELECT count(*) FROM task_messages")
	require.NoError(t, err)
	r := c.newRun(t, small(t, cleanup.EmptyContexts(), 40), nil)
	batches, err := r.start(t.Context())
	require.NoError(t, err)
	_, err = r.next(t.Context(), batches, nil)
	require.NoError(t, err)

	// Between two batches, and open until the run has ended: one is not seen and
	// harms nobody, one has been committed and saves its context.
	writer := c.session(t)
	_, err = writer.Exec(t.Context(), sayElsewhere, "gone-cli-unbound-30")
	require.NoError(t, err)
	c.exec(t, sayElsewhere, "gone-cli-unbound-29")
	r.mustWork(t)
	require.Equal(t, int64(1), c.count(t, "user_contexts WHERE context_id LIKE 'gone-%'"))
	require.NoError(t, writer.Commit(t.Context()))
}

// The rule looks, in a batch, only at messages that came since the pass. Another row
// in the place of a candidate that has gone was not looked at by the pass.
func TestCleanupKnowsWhenAnotherRowHasTakenTheCandidatesPlace(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformTables)
	c.exec(t, `
		INSERT INTO users (id, name, email) VALUES ('u', 'u', 'u');
		INSERT INTO user_contexts (context_id, user_id, name, created_at)
		SELECT name, 'u', 'x', now() - interval '3 days' FROM unnest('{keep,other,candidate}'::text[]) name;
		INSERT INTO agent_tasks (task_id, context_id, status) VALUES ('t', 'other', 'open');
		INSERT INTO task_messages (task_id, message_id, role, context_id, sequence_number) VALUES ('t', 'm', 'user', 'keep', 1)`)
	c.pinHorizon(t)
	c.exec(t, "INSERT INTO user_contexts (context_id, user_id, name, created_at) VALUES ('fresh', 'u', 'x', now() - interval '3 days')")
	place := fetch[string](t, c, "SELECT ctid::text FROM user_contexts WHERE context_id = 'candidate'")
	r := c.newRun(t, cleanup.EmptyContexts(), nil)
	batches, err := r.start(t.Context())
	require.NoError(t, err)
	require.NoError(t, batches.(jobs.Preparer).Prepare(t.Context()))

	c.exec(t, "DELETE FROM user_contexts WHERE context_id = 'candidate'")
	testdb.WaitFor(t, "VACUUM frees the place, and the next version takes it", time.Minute, func(ctx context.Context) (bool, any, error) {
		if _, err := c.pool.Exec(ctx, "VACUUM user_contexts"); err != nil {
			return false, nil, err
		}
		var now string
		err := c.pool.QueryRow(ctx, "UPDATE user_contexts SET name = name || 'x' WHERE context_id = 'keep' RETURNING ctid::text").Scan(&now)
		return now == place, now, err
	})

	done, err := r.nextPrepared(t.Context(), batches, nil)
	require.NoError(t, err)
	require.True(t, done)
	require.Equal(t, jobs.Target{Rows: 1, Batches: 1, Note: "1 left for the next run: locked, changed meanwhile, or to go no more"}, r.outcome("contexts"))
	require.Equal(t, "keep other", fetch[string](t, c, "SELECT string_agg(context_id, ' ' ORDER BY context_id) FROM user_contexts"))
}

// pinHorizon keeps a transaction open in another database of the server, for as long as
// the test runs: no transaction that begins from now on gets below a horizon.
func (c *cleaning) pinHorizon(t *testing.T) {
	t.Helper()
	config := c.pool.Config().ConnConfig.Copy()
	config.Database = "postgres"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	_, err = conn.Exec(t.Context(), "BEGIN; SELECT pg_current_xact_id()")
	require.NoError(t, err)
}

func TestCleanupRefusesIdsThatDoNotAscend(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	c.exec(t, "ALTER SEQUENCE task_messages_id_seq CACHE 20")
	err := c.newRun(t, cleanup.EmptyContexts(), nil).work(t.Context())
	require.ErrorContains(t, err, "the sequence of task_messages(id) does not hand out ascending ids")
	require.True(t, jobs.IsPermanent(err))
	require.Equal(t, map[string]int64{"contexts": 410}, rowsOf(c.newDryRun(t, cleanup.EmptyContexts(), nil).mustWork(t)))
}

// A mark in an empty table lies below every id, too.
func TestCleanupMarksAnEmptyTable(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformTables)
	c.pinHorizon(t)
	c.exec(t, `
		INSERT INTO users (id, name, email) VALUES ('u', 'u', 'u');
		INSERT INTO user_contexts (context_id, user_id, name, created_at)
		SELECT 'c' || n, 'u', 'x', now() - interval '3 days' FROM generate_series(1, 3) n;
		INSERT INTO agent_tasks (task_id, context_id, status) SELECT 't', 'c1', 'open'`)
	r := c.newRun(t, cleanup.EmptyContexts(), nil)
	batches, err := r.start(t.Context())
	require.NoError(t, err)
	require.NoError(t, batches.(jobs.Preparer).Prepare(t.Context()))
	c.exec(t, "INSERT INTO task_messages (task_id, message_id, role, context_id, sequence_number) VALUES ('t', 'm', 'user', 'c2', 1)")
	_, err = r.nextPrepared(t.Context(), batches, func(pgx.Tx, *jobs.Batch) error { return nil })
	require.NoError(t, err)
	require.Equal(t, "c1 c2", fetch[string](t, c, "SELECT string_agg(context_id, ' ' ORDER BY context_id) FROM user_contexts"))
}
