package fleet

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

func itoa(n int) string { return strconv.Itoa(n) }

func TestCut_names(t *testing.T) {
	t.Parallel()
	var names []string
	for c := Blackhole; c <= Latency+1; c++ {
		names = append(names, c.String())
	}
	require.Equal(t, "blackhole cut-out cut-in loss reset latency Cut(6)", strings.Join(names, " "))
}

// TestCut breaks networks and looks from where the replica is. The replicas find out
// on their own.
func TestCut(t *testing.T) {
	t.Parallel()
	f := newFleet(t, Options{NoStandby: true})
	replicas := startReplicas(t, f,
		ReplicaOptions{ID: "hole"}, ReplicaOptions{ID: "out"}, ReplicaOptions{ID: "in"},
		ReplicaOptions{ID: "hole-proxied", Proxied: true}, ReplicaOptions{ID: "slow", Proxied: true})
	waitFor(t, f, len(replicas), "SELECT count(*)::int FROM scheduler.replicas")
	t.Run("latency", func(t *testing.T) { checkLatency(t, f, replicas[4]) })
	t.Run("drops", func(t *testing.T) { checkDrops(t, f, replicas[:4]) })
	t.Run("loss", func(t *testing.T) { checkLoss(t, f, replicas[0]) })
	t.Run("reset", func(t *testing.T) { checkReset(t, f, replicas[1]) })
	t.Run("address", func(t *testing.T) { checkAddress(t, f) })
}

const (
	// waitUntilTold is a statement that ends when hold's function is called.
	waitUntilTold = "SELECT pg_advisory_lock_shared(4711)"
	// waiters counts the sessions that wait.
	waiters = "SELECT count(*)::int FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"
)

// hold lets waitUntilTold wait.
func hold(t *testing.T, f *Fleet) (release func()) {
	t.Helper()
	conn := connect(t, f.URL())
	_, err := conn.Exec(t.Context(), "SELECT pg_advisory_lock(4711)")
	require.NoError(t, err)
	return func() { require.NoError(t, conn.Close(t.Context())) }
}

// milliseconds reads what psql says that a statement took.
func milliseconds(t *testing.T, output string) float64 {
	t.Helper()
	match := regexp.MustCompile(`Time: ([0-9.]+) ms`).FindStringSubmatch(output)
	require.NotNil(t, match, output)
	took, err := strconv.ParseFloat(match[1], 64)
	require.NoError(t, err)
	return took
}

func checkLatency(t *testing.T, f *Fleet, r *Replica) {
	t.Helper()
	took := func() float64 {
		output, err := psqlOutput(t.Context(), r, f.Primary(), `\timing on`, "SELECT 1")
		require.NoError(t, err)
		return milliseconds(t, output)
	}
	require.Less(t, took(), 200.0)
	release := hold(t, f)
	var open errgroup.Group
	var output string
	open.Go(func() (err error) {
		output, err = psqlOutput(t.Context(), r, f.Primary(), waitUntilTold, `\timing on`, "SELECT 1")
		return err
	})
	waitFor(t, f, 1, waiters)
	require.NoError(t, r.Cut(t.Context(), Latency))
	require.GreaterOrEqual(t, took(), 400.0)
	release()
	require.NoError(t, open.Wait())
	require.GreaterOrEqual(t, milliseconds(t, output), 400.0, "an open connection is slow, too")
	require.NoError(t, r.Heal(t.Context()))
	require.Less(t, took(), 200.0)
}

// checkDrops cuts four replicas off: nothing gets through, until they are healed.
func checkDrops(t *testing.T, f *Fleet, replicas []*Replica) {
	t.Helper()
	execute(t, f, "CREATE TABLE reached (id text); GRANT ALL ON reached TO app")
	release := hold(t, f)
	var open errgroup.Group
	for _, r := range replicas {
		open.Go(func() error {
			return psql(t.Context(), r, f.Primary(), waitUntilTold, "INSERT INTO reached VALUES ('"+r.ID+"')")
		})
	}
	waitFor(t, f, len(replicas), waiters)

	var cut errgroup.Group
	for i, c := range []Cut{Blackhole, CutOut, CutIn, Blackhole} {
		cut.Go(func() error { return replicas[i].Cut(t.Context(), c) })
	}
	require.NoError(t, cut.Wait())
	release()

	var fresh errgroup.Group
	for _, r := range replicas {
		fresh.Go(func() error {
			err := psql(t.Context(), r, f.Primary(), "SELECT 1")
			if err == nil || !strings.Contains(err.Error(), "timeout expired") {
				return fmt.Errorf("replica %s can connect, or knows at once that it cannot: %w", r.ID, err)
			}
			return nil
		})
	}
	require.NoError(t, fresh.Wait())
	waitFor(t, f, "slow", "SELECT coalesce(string_agg(replica_id, ' '), '') FROM scheduler.replicas")
	n, err := scalar[int](t.Context(), f.URL(), "SELECT count(*) FROM reached")
	require.NoError(t, err)
	require.Zero(t, n)

	begin := time.Now()
	for _, r := range replicas {
		require.NoError(t, r.Heal(t.Context()))
	}
	waitFor(t, f, len(replicas), "SELECT count(*)::int FROM reached")
	require.NoError(t, open.Wait(), "the open connections go on")
	waitFor(t, f, len(replicas)+1, "SELECT count(*)::int FROM scheduler.replicas")
	t.Logf("healed %v ago", time.Since(begin))
}

// checkLoss sees an open connection get through all the same, by sending again.
func checkLoss(t *testing.T, f *Fleet, r *Replica) {
	t.Helper()
	const statements = 100
	sentAgain := func() int {
		output, err := r.box.exec(t.Context(), `awk '/^Tcp:/ { for (i = 1; i <= NF; i++) if ($i == "RetransSegs") c = i; v = $c } END { print v }' /proc/net/snmp`)
		require.NoError(t, err)
		n, err := strconv.Atoi(output)
		require.NoError(t, err, output)
		return n
	}
	before := sentAgain()
	release := hold(t, f)
	var open errgroup.Group
	var output string
	open.Go(func() (err error) {
		output, err = psqlOutput(t.Context(), r, f.Primary(), append([]string{waitUntilTold}, slices.Repeat([]string{"SELECT 'through'"}, statements)...)...)
		return err
	})
	waitFor(t, f, 1, waiters)
	require.NoError(t, r.Cut(t.Context(), Loss))
	release()
	require.NoError(t, open.Wait())
	require.Equal(t, statements, strings.Count(output, "through"))
	after := sentAgain()
	require.Greater(t, after, before+1)
	t.Logf("%d packets were sent again", after-before)
	require.NoError(t, r.Heal(t.Context()))
	require.NoError(t, psql(t.Context(), r, f.Primary(), "SELECT 1"))
}

func checkReset(t *testing.T, f *Fleet, r *Replica) {
	t.Helper()
	// Whoever only waits learns nothing: this one sends when it is told.
	open := make(chan error, 1)
	go func() {
		open <- psql(t.Context(), r, f.Primary(), "SELECT 'open'", `\! while [ ! -e /tmp/go ]; do sleep 0.05; done`, "SELECT 1")
	}()
	waitFor(t, f, 1, "SELECT count(*)::int FROM pg_stat_activity WHERE query = $1 AND state = 'idle'", "SELECT 'open'")
	require.NoError(t, r.Cut(t.Context(), Reset))
	begin := time.Now()
	_, err := r.box.exec(t.Context(), "touch /tmp/go")
	require.NoError(t, err)
	require.ErrorContains(t, <-open, "server closed the connection unexpectedly")
	require.ErrorContains(t, psql(t.Context(), r, f.Primary(), "SELECT 1"), "Connection refused")
	require.Less(t, time.Since(begin), 2*time.Second, "both know at once")
	waitFor(t, f, false, "SELECT EXISTS (SELECT FROM scheduler.replicas WHERE replica_id = $1)", r.ID)
	require.NoError(t, r.Heal(t.Context()))
	require.NoError(t, psql(t.Context(), r, f.Primary(), "SELECT 1"))
	waitFor(t, f, true, "SELECT EXISTS (SELECT FROM scheduler.replicas WHERE replica_id = $1)", r.ID)
}

// checkAddress sees nothing left of a replica that was cut, for whoever gets its
// address next.
func checkAddress(t *testing.T, f *Fleet) {
	t.Helper()
	r := startReplicas(t, f, ReplicaOptions{ID: "cut"})[0]
	rules := func() string {
		output, err := f.Primary().host.exec(t.Context(), `for table in $(nft list tables ip | grep -o 'fleet_[0-9]*'); do nft list table ip "$table"; done`)
		require.NoError(t, err)
		return output
	}
	require.Empty(t, rules(), "what was cut before is healed")
	require.NoError(t, r.Cut(t.Context(), Blackhole))
	require.Contains(t, rules(), r.ip.String())
	require.NoError(t, r.Kill())
	waitExited(t, r)
	require.Contains(t, rules(), r.ip.String(), "nobody has healed it")
	require.NoError(t, f.forget(t.Context(), r.ip))
	require.Empty(t, rules())
	require.NoError(t, r.Heal(t.Context()))
	require.NoError(t, r.Remove(t.Context()))
	require.NoError(t, r.Remove(t.Context()), "a second time")
}
