package integration

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs/cleanup"
)

// Rows of one page change in different transactions, so that nearly all find room on
// their page and touch none of the forty indexes.
func TestCleanupUpdatesInPlace(t *testing.T) {
	t.Parallel()
	// A server of its own: a transaction that stays open in any database of a server
	// keeps dead versions in all of them from being removed.
	c := newCleaning(t, testdb.On(testdb.Start(t, testdb.Options{})), platformTables)
	c.exec(t, `ALTER TABLE user_sessions SET (autovacuum_enabled = false);
		INSERT INTO user_sessions (session_id, started_at, last_activity_at, user_agent, landing_page, entry_url)
		SELECT gen_random_uuid()::text, now() - n * interval '1 s', now() - n * interval '1 s', repeat('a', 120), '/page', 'https://example.com/' || n
		FROM generate_series(3600, 23600) n;
		ANALYZE user_sessions`)
	pages := fetch[int64](t, c, "SELECT pg_relation_size('user_sessions') / 8192")
	r := c.newRun(t, small(t, cleanup.InactiveSessions(), int(pages)/2), nil)
	rows := r.mustWork(t).Rows()
	require.GreaterOrEqual(t, rows, int64(20_000))
	testdb.WaitFor(t, "most updates are HOT", 30*time.Second, func(ctx context.Context) (bool, any, error) {
		var updated, hot int64
		err := c.pool.QueryRow(ctx, "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'user_sessions'").Scan(&updated, &hot)
		return updated == rows && hot*100 > updated*75, []int64{updated, hot}, err
	})
	t.Logf("%d pages", pages)
}

// Few rows, or few pages, are not worth a transaction for each row of a page.
func TestCleanupOfASmallTableTakesFewTransactions(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformTables)
	c.exec(t, `INSERT INTO user_sessions (session_id, started_at, last_activity_at)
		SELECT gen_random_uuid()::text, now() - interval '1 day', now() - interval '1 day' FROM generate_series(1, 277);
		ANALYZE user_sessions`)
	r := c.newRun(t, cleanup.InactiveSessions(), nil)
	require.Equal(t, int64(277), r.mustWork(t).Rows())
	transactions := fetch[int64](t, c, "SELECT count(DISTINCT xmin::text) FROM user_sessions")
	require.LessOrEqual(t, transactions, int64(10))
	require.Equal(t, transactions, r.targets["sessions"].Batches)
	require.Contains(t, r.targets["sessions"].Plan, "too few pages for waves")
}
