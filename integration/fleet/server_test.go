package fleet

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
)

func checkDisk(t *testing.T, f *Fleet) {
	t.Helper()
	s := f.Primary()
	conn := connect(t, f.URL())
	_, err := conn.Exec(t.Context(), "CREATE TABLE large (text text); INSERT INTO large VALUES ('before')")
	require.NoError(t, err)

	require.NoError(t, s.FillDisk(t.Context()))
	_, err = conn.Exec(t.Context(), "INSERT INTO large SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
	var pgErr *pgconn.PgError
	require.ErrorAs(t, err, &pgErr)
	require.Equal(t, "53100", pgErr.Code)
	require.NoError(t, s.FreeDisk(t.Context()))
	require.NoError(t, s.FreeDisk(t.Context()), "nothing to free any more")

	// A server that cannot write its log dies of it.
	require.NoError(t, s.FillDisk(t.Context()))
	testdb.WaitFor(t, "the server to die of the full disk", patience, func(ctx context.Context) (bool, any, error) {
		_, _ = scalar[string](ctx, f.URL(), "SELECT pg_switch_wal()::text FROM pg_logical_emit_message(false, 'fill', repeat('x', 1000000))")
		return s.Down(), nil, nil
	})
	require.NoError(t, s.FreeDisk(t.Context()))
	n, err := scalar[int](t.Context(), f.URL(), "SELECT count(*) FROM large")
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

func TestServers(t *testing.T) {
	t.Parallel()
	f := newFleet(t, Options{})
	t.Run("ends", func(t *testing.T) { checkEnds(t, f) })
	t.Run("synchronous", func(t *testing.T) { checkSynchronous(t, f) })
	t.Run("failover", func(t *testing.T) { checkFailover(t, f) })
	t.Run("split", func(t *testing.T) { checkSplit(t, f) })
}

// checkEnds ends the primary in every way.
func checkEnds(t *testing.T, f *Fleet) {
	t.Helper()
	s := f.Primary()
	execute(t, f, "CREATE TABLE kept (n int)")
	for i, end := range []func(context.Context) error{s.StopFast, s.StopImmediate, s.Crash} {
		execute(t, f, "INSERT INTO kept VALUES (1)")
		conn := connect(t, f.URL())
		require.NoError(t, end(t.Context()))
		require.True(t, s.Down())
		require.Error(t, conn.Ping(t.Context()))
		begin := time.Now()
		_, err := scalar[int](t.Context(), f.URL(), "SELECT 1")
		require.Error(t, err)
		require.Less(t, time.Since(begin), time.Second, "who connects is refused at once")

		require.NoError(t, s.Start(t.Context()))
		require.False(t, s.Down())
		n, err := scalar[int](t.Context(), f.URL(), "SELECT count(*) FROM kept")
		require.NoError(t, err)
		require.Equal(t, i+1, n)
	}
	text, err := s.Log(t.Context())
	require.NoError(t, err)
	require.Contains(t, text, "received fast shutdown request")
	require.Contains(t, text, "received immediate shutdown request")
	require.Contains(t, text, "database system was not properly shut down")

	require.NoError(t, s.Pause(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = scalar[int](ctx, f.URL(), "SELECT 1")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, s.Unpause(t.Context()))
	waitFor(t, f, 1, "SELECT 1")
}

func execute(t *testing.T, f *Fleet, statement string) {
	t.Helper()
	require.NoError(t, f.Primary().exec(t.Context(), database, statement))
}

// checkSynchronous sees a commit wait for the standby.
func checkSynchronous(t *testing.T, f *Fleet) {
	t.Helper()
	require.NoError(t, f.SetSynchronous(t.Context(), true))
	execute(t, f, "INSERT INTO kept VALUES (2)")
	require.NoError(t, f.Standby().Crash(t.Context()))
	done := make(chan error, 1)
	go func() { done <- f.Primary().exec(t.Context(), database, "INSERT INTO kept VALUES (3)") }()
	waitFor(t, f, 1, "SELECT count(*)::int FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
	require.NoError(t, f.Standby().Start(t.Context()))
	require.NoError(t, <-done)
	require.NoError(t, f.SetSynchronous(t.Context(), false))
	require.NoError(t, f.SetSynchronous(t.Context(), true), "and so it is when the primary crashes")
}

func checkFailover(t *testing.T, f *Fleet) {
	t.Helper()
	startReplicas(t, f, ReplicaOptions{ID: "first"})
	waitFor(t, f, true, "SELECT EXISTS (SELECT FROM hits)")
	before, url := f.Primary(), f.URL()
	standby := f.Standby()
	execute(t, f, "INSERT INTO kept VALUES (4)")
	require.NoError(t, f.Failover(t.Context(), nil))
	require.True(t, before.Down())
	require.Same(t, standby, f.Primary())
	require.Nil(t, f.Standby())
	require.NotEqual(t, url, f.URL())
	n, err := scalar[int](t.Context(), f.URL(), "SELECT count(*) FROM kept WHERE n = 4")
	require.NoError(t, err)
	require.Equal(t, 1, n, "replication was synchronous")
	hits, err := scalar[int](t.Context(), f.URL(), "SELECT count(*) FROM hits")
	require.NoError(t, err)
	waitFor(t, f, true, "SELECT count(*) > $1 FROM hits", hits) // and no commit waits for a standby that is not there

	require.NoError(t, f.Rebuild(t.Context()))
	require.NoError(t, f.Rebuild(t.Context()), "nothing to rebuild any more")
	require.Same(t, before, f.Standby())
	waitFor(t, f, "streaming", "SELECT coalesce(string_agg(state, ' '), '') FROM pg_stat_replication")
}

// checkSplit leaves one replica with the old primary.
func checkSplit(t *testing.T, f *Fleet) {
	t.Helper()
	replicas := startReplicas(t, f,
		ReplicaOptions{ID: "kept"}, ReplicaOptions{ID: "moved"}, ReplicaOptions{ID: "proxied", Proxied: true})
	kept, proxied := replicas[0], replicas[2]
	waitFor(t, f, 3, "SELECT count(*)::int FROM scheduler.replicas")
	former, url := f.Primary(), f.URL()
	require.NoError(t, f.Failover(t.Context(), kept))
	require.False(t, former.Down())
	replicas = append(replicas, startReplicas(t, f, ReplicaOptions{ID: "new"})...)
	waitFor(t, f, "moved new proxied", "SELECT string_agg(replica_id, ' ' ORDER BY replica_id) FROM scheduler.replicas WHERE replica_id <> 'kept'")
	testdb.WaitFor(t, "the others to be gone from the old primary", patience, func(ctx context.Context) (bool, any, error) {
		ids, err := scalar[string](ctx, url, "SELECT coalesce(string_agg(DISTINCT replica_id, ' '), '') FROM scheduler.replicas")
		return ids == "kept", ids, err
	})

	require.NoError(t, f.Rebuild(t.Context()))
	waitFor(t, f, "kept moved new proxied", "SELECT string_agg(replica_id, ' ' ORDER BY replica_id) FROM scheduler.replicas")
	for _, r := range replicas {
		require.NoError(t, psql(t.Context(), r, former, "SELECT 1"), "replica %s reaches it again", r.ID)
	}

	// A fleet is closed in whatever state it is.
	require.NoError(t, proxied.Signal(syscall.SIGSTOP))
	require.NoError(t, f.Standby().Pause(t.Context()))
}

// psql runs statements from a replica's place on a server, with two seconds to
// connect.
func psql(ctx context.Context, r *Replica, s *Server, statements ...string) error {
	_, err := psqlOutput(ctx, r, s, statements...)
	return err
}

func psqlOutput(ctx context.Context, r *Replica, s *Server, statements ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	script := `url="postgres://app:app@$1:$2/app?connect_timeout=2&sslmode=disable"; shift 2; exec psql -XAtq -v ON_ERROR_STOP=1 "$url" "$@"`
	for _, route := range r.routes {
		if route.server != s {
			continue
		}
		args := []string{route.ip.String(), itoa(route.port)}
		for _, statement := range statements {
			args = append(args, "-c", statement)
		}
		return r.box.exec(ctx, script, args...)
	}
	return "", errors.New("no route to server " + s.name)
}
