package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cleanup"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// killer ends the connections of a run, at any moment, and counts how often.
type killer struct {
	c      *cleaning
	conn   *pgx.Conn
	random *rand.Rand
	kills  map[string]int
}

// killTables keep account: of what the worker has recorded with each batch, and of each
// row that was changed, whoever did it and however often.
const killTables = `
CREATE TABLE recorded (run_id bigint PRIMARY KEY, cursor jsonb, targets jsonb);
CREATE TABLE changed (table_name text, key text);
CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO changed VALUES (TG_TABLE_NAME, to_jsonb(OLD) ->> TG_ARGV[0]); RETURN NULL; END $$;`

func newKiller(t *testing.T, seed uint64) *killer {
	t.Helper()
	c := newCleaning(t, platformSeeded)
	c.exec(t, killTables)
	conn, err := pgx.Connect(t.Context(), c.pool.Config().ConnString())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return &killer{c: c, conn: conn, random: rand.New(rand.NewPCG(seed, 0)), kills: map[string]int{}}
}

// everybody ends every connection to the database but its own.
func (k *killer) everybody(ctx context.Context) error {
	_, err := k.conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()")
	return err
}

// reload makes the run what the last batch that was committed has recorded: a worker
// whose connection breaks at the commit cannot tell.
func (k *killer) reload(t *testing.T, r *ledgerRun) (isDone bool) {
	t.Helper()
	var cursor, targets []byte
	err := k.conn.QueryRow(t.Context(), "SELECT cursor, targets FROM recorded WHERE run_id = $1", r.id).Scan(&cursor, &targets)
	if err == pgx.ErrNoRows { //nolint:errorlint // it is not wrapped
		return false
	}
	require.NoError(t, err)
	r.cursor, r.targets = cursor, jobs.Targets{}
	require.NoError(t, json.Unmarshal(targets, &r.targets))
	var state struct {
		Allowed bool              `json:"allowed"`
		Units   []json.RawMessage `json:"units"`
	}
	require.NoError(t, json.Unmarshal(cursor, &state))
	return state.Allowed && len(state.Units) == 0
}

// record is what the worker does in the batch's transaction.
func (k *killer) record(ctx context.Context, r *ledgerRun, tx pgx.Tx, batch *jobs.Batch) error {
	merged := jobs.Targets{}
	merged.Merge(r.targets)
	merged.Merge(batch.Targets)
	_, err := tx.Exec(ctx, `INSERT INTO recorded VALUES ($1, $2, $3) ON CONFLICT (run_id) DO UPDATE SET cursor = EXCLUDED.cursor, targets = EXCLUDED.targets`,
		r.id, batch.Cursor, merged)
	return err
}

// work works the run with an attempt for each kill.
func (k *killer) work(t *testing.T, r *ledgerRun) {
	t.Helper()
	for tries := 0; ; tries++ {
		require.Less(t, tries, 1000, "the run does not get on")
		if k.reload(t, r) {
			return
		}
		k.c.reset()
		k.attempt(t, r)
	}
}

func (k *killer) attempt(t *testing.T, r *ledgerRun) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	passes := k.c.sent.count(passStatement)
	ways := []string{"before the commit", "at the commit", "at any time"}
	if k.kills["in the pass"] < 15 && (len(r.cursor) == 0 || k.random.IntN(4) == 0) {
		ways = []string{"in the pass"}
	}
	way := ways[k.random.IntN(len(ways))]
	var killing sync.WaitGroup
	var killErr error
	begun := make(chan struct{})
	switch way {
	case "at any time":
		after := time.Duration(k.random.IntN(12_000)) * time.Microsecond
		if k.random.IntN(2) == 0 {
			close(begun) // it may not even have connected by then
		}
		killing.Go(func() {
			<-begun
			<-time.After(after)
			killErr = k.everybody(context.WithoutCancel(ctx))
		})
	case "in the pass":
		killing.Go(func() {
			for k.c.sent.count(passStatement) == passes && ctx.Err() == nil {
				<-time.After(50 * time.Microsecond)
			}
			killErr = k.everybody(context.WithoutCancel(ctx))
		})
	}
	lives := k.random.IntN(2)
	batches, err := r.start(ctx)
	select {
	case <-begun:
	default:
		close(begun)
	}
	for done := false; err == nil && !done; {
		done, err = r.next(ctx, batches, func(tx pgx.Tx, batch *jobs.Batch) error {
			if err := k.record(ctx, r, tx, batch); err != nil {
				return err
			}
			if lives--; lives >= 0 {
				return nil
			}
			switch way {
			case "before the commit":
				return errKilled
			case "at the commit":
				return k.everybody(ctx)
			}
			return nil
		})
		if lives < -2 {
			break // it has outlived its killer, and is left to die
		}
	}
	stop()
	killing.Wait()
	require.NoError(t, killErr)
	if err != nil {
		k.kills[way]++
	}
}

func TestCleanupKilledAHundredTimes(t *testing.T) {
	t.Parallel()
	for name, given := range map[string]map[string]any{"audited by triggers": nil, "audited by the archive": {"archive": "json"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			k := newKiller(t, seed)
			c := k.c
			expected := map[string]int64{
				"sessions": 600, "contexts": 410, "orphaned_logs": 300, "old_logs": 600, "orphaned_mcp_executions": 150, "auth_codes": 180,
				"refresh_tokens": 120, "state_bindings": 40, "jti_revocations": 40, "id_jag_replays": 40,
			}
			kept := c.keptRows(t)
			for table, key := range seededKeys {
				event := "DELETE"
				if table == "user_sessions" {
					event = "UPDATE"
				} else if given != nil {
					continue // a trigger would keep rows from being deleted by ranges
				}
				c.exec(t, fmt.Sprintf("CREATE TRIGGER note_change AFTER %s ON %s FOR EACH ROW EXECUTE FUNCTION note_change('%s')", event, table, key))
			}
			ledger := map[string]int64{}
			for _, job := range platformJobs() {
				of := given
				if job.Definition().Name == cleanup.InactiveSessions().Definition().Name || job.Definition().Name == cleanup.EmptyContexts().Definition().Name {
					of = nil // one updates; below the other, rows go along
				}
				r := c.newRun(t, small(t, job, 10), of)
				k.work(t, r)
				maps.Copy(ledger, rowsOf(r.targets))
			}
			c.reset()
			require.Equal(t, expected, ledger)
			c.requireSeedCleaned(t)
			require.Equal(t, kept, c.keptRows(t))

			total := 0
			for _, n := range k.kills {
				total += n
			}
			t.Logf("killed %d times: %v", total, k.kills)
			require.GreaterOrEqual(t, total, 100)
			require.Len(t, k.kills, 4)

			// Each row once.
			changes := c.count(t, "changed")
			require.Equal(t, changes, c.count(t, "(SELECT DISTINCT * FROM changed) d"))
			require.Equal(t, changes, c.count(t, "changed WHERE key LIKE 'gone-%'"))
			require.Equal(t, int64(600), c.count(t, "changed WHERE table_name = 'user_sessions'"))
			if given == nil {
				require.Equal(t, int64(2480), changes)
				return
			}
			require.Equal(t, int64(1470), c.count(t, "scheduler.archived_rows"))
			require.Equal(t, int64(1470), c.count(t, "(SELECT DISTINCT table_name, row FROM scheduler.archived_rows) d"))
			for target, rows := range expected {
				if target != "sessions" && target != "contexts" {
					require.Equal(t, rows, c.count(t, "scheduler.archived_rows WHERE target = '"+target+"'"), target)
				}
			}
		})
	}
}

// An attempt that was taken for dead goes on beside the one that took its place: what the
// fence of the ledger would stop is done, but never twice.
func TestCleanupWithAZombie(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformSeeded)
	c.exec(t, killTables)
	for table, key := range seededKeys {
		c.exec(t, fmt.Sprintf("CREATE TRIGGER note_change AFTER DELETE ON %s FOR EACH ROW EXECUTE FUNCTION note_change('%s')", table, key))
	}
	for _, job := range []*retention.Job{cleanup.EmptyContexts(), cleanup.Database()} {
		zombie := c.newRun(t, small(t, job, 20), nil)
		batches, err := zombie.start(t.Context())
		require.NoError(t, err)
		done := false
		for err == nil && !done && zombie.targets.Rows() < 40 {
			done, err = zombie.next(t.Context(), batches, nil)
		}
		require.NoError(t, err)
		require.NoError(t, batches.(jobs.Preparer).Prepare(t.Context()))
		next := *zombie
		next.mustWork(t)
		// The zombie's batch, and whatever it makes of the rest.
		rows := zombie.targets.Rows()
		done, err = zombie.nextPrepared(t.Context(), batches, nil)
		for err == nil && !done {
			done, err = zombie.next(t.Context(), batches, nil)
		}
		require.NoError(t, err)
		require.Equal(t, rows, zombie.targets.Rows(), "nothing was left for it")
	}
	changes := c.count(t, "changed")
	require.Equal(t, int64(410+1470), changes)
	require.Equal(t, changes, c.count(t, "(SELECT DISTINCT * FROM changed) d"))
}

// A server that is killed in the middle, again and again, loses nothing that it has
// said to have done, and does nothing twice.
func TestCleanupOnAServerThatIsKilled(t *testing.T) {
	t.Parallel()
	server := testdb.Start(t, testdb.Options{})
	c := newCleaning(t, testdb.On(server), platformSeeded)
	c.exec(t, killTables)
	for table, key := range seededKeys {
		event := "DELETE"
		if table == "user_sessions" {
			event = "UPDATE"
		}
		c.exec(t, fmt.Sprintf("CREATE TRIGGER note_change AFTER %s ON %s FOR EACH ROW EXECUTE FUNCTION note_change('%s')", event, table, key))
	}
	for _, job := range platformJobs() {
		r := c.newRun(t, small(t, job, 60), nil)
		for kills := 0; ; kills++ {
			batches, err := r.start(t.Context())
			require.NoError(t, err)
			done := false
			// The first time while it looks, then with candidates of all targets left.
			for n := 0; (kills == 2 || n < 3+6*kills) && err == nil && !done; n++ {
				done, err = r.next(t.Context(), batches, nil)
			}
			require.NoError(t, err)
			if done {
				break
			}
			server.Kill(t)
			c.reset()
			server.Start(t)
		}
	}
	c.requireSeedCleaned(t)
	require.Equal(t, int64(2480), c.count(t, "changed"))
	require.Equal(t, int64(2480), c.count(t, "(SELECT DISTINCT * FROM changed) d"))
}
