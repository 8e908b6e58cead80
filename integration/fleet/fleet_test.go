package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
)

// patience bounds every wait; none should come near it.
const patience = time.Minute

// fleets bounds how many there are at once.
var fleets = make(chan struct{}, 2)

// newFleet makes a fleet with the schema and the tables in place.
func newFleet(t *testing.T, o Options) *Fleet {
	t.Helper()
	fleets <- struct{}{}
	t.Cleanup(func() { <-fleets })
	f, err := New(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, f.Close(t.Context())) // that context has ended by now
		require.NoError(t, f.Close(t.Context()), "a second time")
		require.Zero(t, left(context.WithoutCancel(t.Context()), t, f))
	})
	_, err = scheduler.MigrateUp(t.Context(), scheduler.MigrateConfig{DatabaseURL: f.AppURL(), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, f.MakeRoles(t.Context()))
	conn := connect(t, f.AppURL())
	_, err = conn.Exec(t.Context(), Tables)
	require.NoError(t, err)
	return f
}

// startReplicas starts some at once.
func startReplicas(t *testing.T, f *Fleet, options ...ReplicaOptions) []*Replica {
	t.Helper()
	replicas := make([]*Replica, len(options))
	group, ctx := errgroup.WithContext(t.Context())
	for i, o := range options {
		group.Go(func() (err error) {
			replicas[i], err = f.StartReplica(ctx, o)
			return err
		})
	}
	require.NoError(t, group.Wait())
	for _, r := range replicas {
		t.Cleanup(func() {
			if t.Failed() {
				text, _ := r.Log(context.WithoutCancel(t.Context()))
				t.Logf("log of replica %s:\n%s", r.ID, text)
			}
			require.NoError(t, r.Remove(context.WithoutCancel(t.Context())))
		})
	}
	return replicas
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) }) // its server may be gone
	return conn
}

// scalar reads one value, on a connection of its own.
func scalar[T any](ctx context.Context, url, query string, args ...any) (value T, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return value, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, query, args...).Scan(&value)
	return value, err
}

// waitFor waits until a query gives a value.
func waitFor[T comparable](t *testing.T, f *Fleet, want T, query string, args ...any) {
	t.Helper()
	testdb.WaitFor(t, query, patience, func(ctx context.Context) (bool, any, error) {
		got, err := scalar[T](ctx, f.URL(), query, args...)
		return got == want, got, err
	})
}

func waitExited(t *testing.T, r *Replica) {
	t.Helper()
	select {
	case <-r.Exited():
	case <-t.Context().Done():
		t.Fatalf("replica %s has not ended", r.ID)
	}
}

func TestReplicas(t *testing.T) {
	t.Parallel()
	f := newFleet(t, Options{NoStandby: true})
	extra := []string{"SCHEDULER_REPLICA_EXTRA=1"}
	begin := time.Now()
	replicas := startReplicas(t, f,
		ReplicaOptions{ID: "a", Env: extra}, ReplicaOptions{ID: "b", Env: extra}, ReplicaOptions{ID: "c", Env: extra})
	t.Logf("three replicas started in %v", time.Since(begin))
	require.Len(t, f.Replicas(), 3)
	waitFor(t, f, 3, "SELECT count(*)::int FROM scheduler.replicas")

	t.Run("jobs", func(t *testing.T) { checkJobs(t, f) })
	t.Run("signals", func(t *testing.T) { checkSignals(t, f, replicas) })

	_, err := f.StartReplica(t.Context(), ReplicaOptions{ID: "c"})
	require.ErrorContains(t, err, "Remove it first")
	_, err = f.StartReplica(t.Context(), ReplicaOptions{ID: "old", Old: true})
	require.ErrorContains(t, err, "Options.Build.Old")
	require.ErrorContains(t, replicas[2].Cut(t.Context(), Latency), "Proxied")
	require.ErrorContains(t, f.SetClock(t.Context(), time.Hour), "Options.Clock")
	require.ErrorContains(t, f.SetSynchronous(t.Context(), true), "there is none")
	require.ErrorContains(t, f.Failover(t.Context(), nil), "there is no standby")
}

// checkJobs sees every job do what it is for.
func checkJobs(t *testing.T, f *Fleet) {
	t.Helper()
	conn := connect(t, f.AppURL())
	_, err := conn.Exec(t.Context(), `
		INSERT INTO items (customer_id, expires_at) SELECT n, clock_timestamp() - n % 2 * interval '1 hour' + interval '30 minutes' FROM generate_series(1, 110) n`)
	require.NoError(t, err)
	waitFor(t, f, true, "SELECT count(*) >= 2 FROM hits h JOIN scheduler.job_runs r ON r.id = h.run_id WHERE r.job_name = 'each_second' AND r.status = 'success'")
	waitFor(t, f, 55, "SELECT coalesce(sum(rows_affected), 0)::int FROM scheduler.job_runs WHERE job_name = 'purge'")
	waitFor(t, f, 55, "SELECT count(*)::int FROM items_audit WHERE op = 'DELETE'")

	for _, job := range []string{"noop", "mark", "extra"} {
		_, err = conn.Exec(t.Context(), "SELECT scheduler.run_now($1)", job)
		require.NoError(t, err)
	}
	_, err = conn.Exec(t.Context(), `SELECT scheduler.run_now('long', '{"seconds": 1}')`)
	require.NoError(t, err)
	waitFor(t, f, "extra long mark noop", "SELECT string_agg(job_name, ' ' ORDER BY job_name) FROM scheduler.job_runs WHERE trigger = 'manual' AND status = 'success'")
	waitFor(t, f, "extra long", "SELECT string_agg(r.job_name, ' ' ORDER BY r.job_name) FROM scheduler.job_runs r JOIN hits h ON h.run_id = r.id WHERE r.trigger = 'manual'")
	waitFor(t, f, true, `SELECT r.rows_affected = 55 AND 55 = (SELECT count(*) FROM items_audit a WHERE a.op = 'UPDATE' AND a.marked_by = r.id)
		FROM scheduler.job_runs r WHERE job_name = 'mark'`)

	_, err = conn.Exec(t.Context(), "UPDATE items SET amount = 1; DELETE FROM items")
	require.NoError(t, err)
	waitFor(t, f, 110, "SELECT count(*)::int FROM items_audit")
}

func checkSignals(t *testing.T, f *Fleet, replicas []*Replica) {
	t.Helper()
	a, b, c := replicas[0], replicas[1], replicas[2]
	begin := time.Now()
	require.NoError(t, a.Signal(syscall.SIGSTOP))
	t.Logf("a signal takes %v (from this machine: %v)", time.Since(begin), a.process != nil)
	waitFor(t, f, false, "SELECT EXISTS (SELECT FROM scheduler.replicas WHERE replica_id = 'a')")
	require.NoError(t, a.Signal(syscall.SIGCONT))
	waitFor(t, f, true, "SELECT EXISTS (SELECT FROM scheduler.replicas WHERE replica_id = 'a')")

	require.NoError(t, a.Signal(syscall.SIGTERM))
	waitExited(t, a)
	require.Equal(t, 0, a.ExitCode())
	text, err := a.Log(t.Context())
	require.NoError(t, err)
	require.Contains(t, text, "msg=ready replica=a")

	require.NoError(t, b.Kill())
	waitExited(t, b)
	require.Equal(t, 137, b.ExitCode())
	require.NoError(t, b.Kill(), "it has ended already")
	require.Error(t, b.Signal(syscall.SIGTERM))
	require.Equal(t, []*Replica{c}, f.Replicas())

	// Where this machine sees no process, docker delivers the signal.
	process := c.process
	c.process = nil
	require.NoError(t, c.Signal(syscall.SIGSTOP))
	waitFor(t, f, false, "SELECT EXISTS (SELECT FROM scheduler.replicas WHERE replica_id = 'c')")
	require.NoError(t, c.Signal(syscall.SIGCONT))
	c.process = process
	waitFor(t, f, true, "SELECT EXISTS (SELECT FROM scheduler.replicas WHERE replica_id = 'c')")
}

// oldRevision is a revision whose replicas can run beside ours; for a checkout
// without history, HEAD is old enough.
func oldRevision(t *testing.T) string {
	t.Helper()
	for _, revision := range []string{"75ca41a", "HEAD"} {
		if exec.CommandContext(t.Context(), "git", "cat-file", "-e", revision+"^{commit}").Run() == nil {
			return revision
		}
	}
	return ""
}

func TestClocksDiskAndOldProgram(t *testing.T) {
	t.Parallel()
	revision := oldRevision(t)
	if revision == "" {
		t.Log("the source is no git checkout: there is no old program to try")
	}
	f := newFleet(t, Options{NoStandby: true, Clock: true, DiskSize: 256 << 20, Build: BuildOptions{Old: revision}})
	t.Run("disk", func(t *testing.T) { checkDisk(t, f) })

	options := []ReplicaOptions{{ID: "late", ClockOffset: -24 * time.Hour}}
	if revision != "" {
		options = append(options, ReplicaOptions{ID: "old", Old: true})
	}
	replicas := startReplicas(t, f, options...)
	waitFor(t, f, len(options), "SELECT count(*)::int FROM scheduler.replicas")
	waitFor(t, f, true, "SELECT EXISTS (SELECT FROM hits)")
	yesterday := fmt.Sprintf("time=%s", time.Now().UTC().Add(-24*time.Hour).Format(time.DateOnly))
	text, err := replicas[0].Log(t.Context())
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(text, yesterday), text)

	t.Run("clock", func(t *testing.T) { checkClock(t, f) })
}

func checkClock(t *testing.T, f *Fleet) {
	t.Helper()
	open := connect(t, f.URL())
	ahead := func() float64 {
		var clock time.Time
		require.NoError(t, open.QueryRow(t.Context(), "SELECT clock_timestamp()").Scan(&clock))
		return time.Until(clock).Seconds()
	}
	for _, offset := range []time.Duration{time.Hour, time.Hour - 3*time.Second, -24 * time.Hour} {
		require.NoError(t, f.SetClock(t.Context(), offset))
		require.InDelta(t, offset.Seconds(), ahead(), 1)
	}
	require.NoError(t, f.Primary().Crash(t.Context()))
	require.NoError(t, f.Primary().Start(t.Context()))
	open = connect(t, f.URL())
	require.InDelta(t, (-24 * time.Hour).Seconds(), ahead(), 1, "the clock survives a restart")
	require.NoError(t, f.SetClock(t.Context(), 0))
	require.InDelta(t, 0, ahead(), 1)
}
