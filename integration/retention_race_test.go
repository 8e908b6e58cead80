package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs/cleanup"
)

const (
	raceContexts = 8000
	raceWriters  = 4
)

// Every second context has a task without a message. Tasks of 'elsewhere' take the
// messages that name a context to which their task does not belong. A trigger notes
// when the statement began that deleted a context.
const raceTables = `
INSERT INTO users (id, name, email) VALUES ('u', 'u', 'u');
INSERT INTO user_contexts (context_id, user_id, name, created_at)
SELECT 'c' || n, 'u', 'c', now() - interval '3 days' FROM generate_series(0, %d - 1) n;
INSERT INTO user_contexts (context_id, user_id, name) VALUES ('elsewhere', 'u', 'young');
INSERT INTO agent_tasks (task_id, context_id, status) SELECT 't' || n, 'c' || n, 'open' FROM generate_series(0, %[1]d - 1, 2) n;
INSERT INTO agent_tasks (task_id, context_id, status) VALUES ('elsewhere', 'elsewhere', 'open');
CREATE TABLE said (message_id text, context_id text, path text, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE gone (context_id text, since timestamptz);
CREATE FUNCTION note_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO gone VALUES (OLD.context_id, statement_timestamp()); RETURN NULL; END $$;
CREATE TRIGGER note_gone AFTER DELETE ON user_contexts FOR EACH ROW EXECUTE FUNCTION note_gone();
ANALYZE;
`

// A message that is committed saves its context, by whatever path it arrives, in
// thousands of races with the batches.
func TestCleanupRacesWithMessages(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformTables)
	c.exec(t, fmt.Sprintf(raceTables, raceContexts))
	r := c.newRun(t, small(t, cleanup.EmptyContexts(), 12), map[string]any{"max_share": 1})

	ctx, stop := context.WithCancel(t.Context())
	var position, refused, saved atomic.Int64
	var writers sync.WaitGroup
	failures := make(chan error, raceWriters)
	for w := range raceWriters {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 1))
			for i := 0; ctx.Err() == nil; i++ {
				// Around the batch that is being worked.
				n := min(max(position.Load()+random.Int64N(60)-20, 0), raceContexts-1)
				isSaid, err := say(t.Context(), c, n, random.IntN(4), fmt.Sprintf("m-%d-%d", w, i))
				if err != nil {
					failures <- err
					return
				}
				if isSaid {
					saved.Add(1)
				} else {
					refused.Add(1)
				}
			}
		})
	}
	batches, err := r.start(t.Context())
	for done := false; err == nil && !done; {
		done, err = r.next(t.Context(), batches, nil)
		position.Store(r.targets.Rows() + saved.Load()/8)
	}
	stop()
	writers.Wait()
	close(failures)
	require.NoError(t, err)
	require.NoError(t, <-failures)

	t.Logf("%d messages committed, %d refused by a foreign key; %d contexts deleted in %d batches, %d saved", saved.Load(), refused.Load(),
		r.targets["contexts"].Rows, r.batches, raceContexts-r.targets["contexts"].Rows)
	require.Greater(t, r.targets["contexts"].Rows, int64(raceContexts/10), "too few deletions to prove anything")
	for _, path := range []string{"task", "new task", "elsewhere"} {
		require.Greater(t, c.count(t, "said WHERE path = '"+path+"'"), int64(200), "too few races by %s to prove anything", path)
	}
	require.Greater(t, saved.Load(), int64(2000), "too few races to prove anything")
	require.Greater(t, c.sent.count("FOR UPDATE OF k NOWAIT"), 100, "rows below are locked at once")
	require.Greater(t, c.sent.count("FOR UPDATE OF k SKIP LOCKED"), 10, "rows below that are locked are passed over")
	t.Logf("rows below were locked %d times, and passed over %d times", c.sent.count("FOR UPDATE OF k NOWAIT"), c.sent.count("FOR UPDATE OF k SKIP LOCKED"))
	require.Equal(t, int64(0), c.count(t, "said s WHERE NOT EXISTS (SELECT FROM task_messages m WHERE m.message_id = s.message_id)"),
		"committed messages are lost")
	require.Equal(t, int64(0), c.count(t, `said s JOIN gone g USING (context_id) WHERE s.path <> 'elsewhere'`),
		"contexts are lost whose message was below a task of theirs")
	// No key of a message's binds it to the context that it names. The context was
	// deleted by a statement that began before the message was there, or not at all.
	require.Equal(t, int64(0), c.count(t, `said s JOIN gone g USING (context_id) WHERE s.at < g.since`),
		"contexts are lost whose message was committed before")
	require.Equal(t, r.targets["contexts"].Rows, c.count(t, "gone"))
}

// say commits a message of context n by one of four paths. False: the context went
// first, and its foreign key refused the message.
func say(ctx context.Context, c *cleaning, n int64, path int, message string) (bool, error) {
	name := fmt.Sprintf("c%d", n)
	task, insertTask, named, noted := fmt.Sprintf("t%d", n-n%2), false, &name, "task"
	switch path {
	case 0: // below a task that exists, naming the context or, for path 1, none
		name = fmt.Sprintf("c%d", n-n%2)
	case 1:
		name = fmt.Sprintf("c%d", n-n%2)
		named = nil
	case 2: // with a new task
		task, insertTask, noted = message, true, "new task"
	case 3: // below the task of another context
		task, noted = "elsewhere", "elsewhere"
	}
	err := pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		if insertTask {
			if _, err := tx.Exec(ctx, "INSERT INTO agent_tasks (task_id, context_id, status) VALUES ($1, $2, 'open')", task, name); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `INSERT INTO task_messages (task_id, message_id, role, context_id, sequence_number) VALUES ($1, $2, 'user', $3, 1)`,
			task, message, named)
		return err
	})
	if pg := (*pgconn.PgError)(nil); errors.As(err, &pg) && pg.Code == "23503" {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = c.pool.Exec(ctx, "INSERT INTO said (message_id, context_id, path) VALUES ($1, $2, $3)", message, name, noted)
	return true, err
}
