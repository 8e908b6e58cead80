package integration

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// metricsOf reads the series of a registry: by their name, with labels as {k="v"}. A
// histogram has its _count and _sum.
func metricsOf(t testing.TB, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	values := make(map[string]float64)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			labels := ""
			for _, label := range metric.GetLabel() {
				labels += fmt.Sprintf(",%s=%q", label.GetName(), label.GetValue())
			}
			if labels != "" {
				labels = "{" + labels[1:] + "}"
			}
			name := family.GetName()
			switch {
			case metric.GetHistogram() != nil:
				values[name+"_count"+labels] = float64(metric.GetHistogram().GetSampleCount())
				values[name+"_sum"+labels] = metric.GetHistogram().GetSampleSum()
			case metric.GetCounter() != nil:
				values[name+labels] = metric.GetCounter().GetValue()
			default:
				values[name+labels] = metric.GetGauge().GetValue()
			}
		}
	}
	return values
}

// waitMetric waits until a series is as it should be.
func waitMetric(t *testing.T, registry *prometheus.Registry, series string, good func(float64) bool) {
	t.Helper()
	testdb.WaitFor(t, series, waitRun, func(context.Context) (bool, any, error) {
		value, ok := metricsOf(t, registry)[series]
		if !ok {
			return false, "not there", nil
		}
		return good(value), value, nil
	})
}

func is(want float64) func(float64) bool { return func(v float64) bool { return v == want } }

func atLeast(want float64) func(float64) bool { return func(v float64) bool { return v >= want } }

// measured starts a replica with metrics.
func measured(t *testing.T, db *testdb.DB, config scheduler.Config) (registry *prometheus.Registry, stop func()) {
	t.Helper()
	registry = prometheus.NewPedanticRegistry()
	config.DatabaseURL, config.Metrics = db.URL, registry
	return registry, runScheduler(t, config)
}

func TestMetricsOfTicks(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	registry, _ := measured(t, db, scheduler.Config{Version: "v1.2.3", ReplicaID: "one", Jobs: []scheduler.JobConfig{
		{Name: "endless", Schedule: "* * * * * *"},
	}})
	waitMetric(t, registry, `scheduler_ticks_total{job_name="each_second",outcome="enqueued",reason="none"}`, atLeast(2))
	waitMetric(t, registry, `scheduler_ticks_total{job_name="endless",outcome="skipped",reason="overlap"}`, atLeast(2))
	waitMetric(t, registry, `scheduler_runs_total{job_name="each_second",status="success"}`, atLeast(2))
	waitMetric(t, registry, `scheduler_start_lag_seconds_count{trigger="schedule"}`, atLeast(2))
	values := metricsOf(t, registry)
	for series, want := range map[string]float64{
		"scheduler_leader": 1, "scheduler_term": 1, "scheduler_takeovers_total": 1, "scheduler_present": 1, "scheduler_replicas": 1,
		"scheduler_leader_failures_total": 0, "scheduler_workers": 10, `scheduler_build_info{replica="one",version="v1.2.3"}`: 1,
		`scheduler_connection_losses_total{connection="lock"}`: 0, `scheduler_connection_losses_total{connection="workers"}`: 0,
	} {
		require.InDelta(t, want, values[series], 0, series)
	}
	now := float64(time.Now().Unix())
	for _, series := range []string{
		"scheduler_last_evaluation_timestamp_seconds", "scheduler_last_tick_timestamp_seconds", "scheduler_sample_timestamp_seconds",
		`scheduler_last_success_timestamp_seconds{job_name="each_second"}`, `scheduler_oldest_run_start_timestamp_seconds{job_name="endless"}`,
	} {
		require.InDelta(t, now, values[series], 30, series)
	}
	require.Greater(t, values[`scheduler_oldest_run_deadline_timestamp_seconds{job_name="endless"}`], now+3000)
	for _, lag := range []string{"scheduler_enqueue_lag_seconds%s", `scheduler_start_lag_seconds%s{trigger="schedule"}`} {
		mean := values[fmt.Sprintf(lag, "_sum")] / values[fmt.Sprintf(lag, "_count")]
		require.Greater(t, mean, 0.0, lag)
		require.Less(t, mean, 5.0, lag)
	}

	// The metrics and the ledger tell the same story.
	exec1(t, db, "SELECT scheduler.pause_scheduler('enough')")
	waitValue(t, db, waitRun, int64(1), "SELECT count(*) FROM scheduler.job_runs WHERE status IN ('pending', 'running', 'waiting', 'requested')")
	for _, outcome := range []struct{ series, where string }{
		{`scheduler_ticks_total{job_name="each_second",outcome="enqueued",reason="none"}`, "job_name = 'each_second' AND trigger = 'schedule' AND status = 'success'"},
		{`scheduler_ticks_total{job_name="endless",outcome="skipped",reason="overlap"}`, "job_name = 'endless' AND status = 'skipped'"},
		{`scheduler_runs_total{job_name="each_second",status="success"}`, "job_name = 'each_second' AND status = 'success'"},
	} {
		waitMetric(t, registry, outcome.series, is(float64(scalar[int64](t, db, "SELECT count(*) FROM scheduler.job_runs WHERE "+outcome.where))))
	}

	// What a job's pause leaves undecided is missed, and counted as the ledger has it.
	waitValue(t, db, waitRun, true, "SELECT clock_timestamp() > paused_at + interval '2 seconds' FROM scheduler.scheduler_state")
	exec1(t, db, "SELECT scheduler.resume_scheduler()")
	const missed = `scheduler_ticks_total{job_name="each_second",outcome="missed",reason="paused"}`
	waitMetric(t, registry, missed, atLeast(1))
	waitMetric(t, registry, missed, is(float64(
		scalar[int64](t, db, "SELECT coalesce(sum(missed_count), 0)::bigint FROM scheduler.job_runs WHERE job_name = 'each_second' AND reason = 'paused'"))))
}

func TestMetricsOfRuns(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	registry, stop := measured(t, db, scheduler.Config{Jobs: []scheduler.JobConfig{{Name: "each_second", Enabled: new(bool)}}})
	waitMetric(t, registry, "scheduler_leader", is(1))
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs)")
	exec1(t, db, "INSERT INTO sweep_rows SELECT g FROM generate_series(1, 95) g")
	dry := scalar[int64](t, db, "SELECT scheduler.run_now('sweep', '{}', true)")
	waitStatus(t, db, dry, jobs.StatusSuccess)
	waitStatus(t, db, runNow(t, db, "sweep"), jobs.StatusSuccess)
	waitStatus(t, db, runNow(t, db, "fails_once"), jobs.StatusSuccess)
	waitStatus(t, db, runNow(t, db, "hopeless"), jobs.StatusFailed)
	waitStatus(t, db, runNow(t, db, "panics"), jobs.StatusFailed)
	cancelled := runNow(t, db, "endless")
	waitStatus(t, db, cancelled, jobs.StatusRunning)
	waitMetric(t, registry, "scheduler_runs_working", is(1))
	waitStatus(t, db, runNow(t, db, "endless"), jobs.StatusSkipped)
	exec1(t, db, "SELECT scheduler.cancel_run($1)", cancelled)
	waitMetric(t, registry, `scheduler_runs_total{job_name="endless",status="cancelled"}`, is(1))
	for series, want := range map[string]float64{
		`scheduler_requests_total{job_name="endless",outcome="skipped",reason="overlap",trigger="manual"}`: 1,
		`scheduler_requests_total{job_name="sweep",outcome="enqueued",reason="none",trigger="manual"}`:     2,
		`scheduler_runs_total{job_name="sweep",status="success"}`:                                          2,
		`scheduler_runs_total{job_name="fails_once",status="success"}`:                                     1,
		`scheduler_runs_total{job_name="fails_once",status="failed"}`:                                      0,
		`scheduler_runs_total{job_name="hopeless",status="failed"}`:                                        1,
		`scheduler_runs_total{job_name="panics",status="failed"}`:                                          1,
		`scheduler_attempts_total{job_name="fails_once",outcome="retrying"}`:                               1,
		`scheduler_attempts_total{job_name="panics",outcome="retrying"}`:                                   1,
		`scheduler_attempts_total{job_name="hopeless",outcome="failed"}`:                                   1,
		`scheduler_run_duration_seconds_count{job_name="sweep",status="success"}`:                          2,
		`scheduler_batch_lock_seconds_count{job_name="sweep"}`:                                             10,
		"scheduler_runs_working": 0,
	} {
		waitMetric(t, registry, series, is(want))
	}
	values := metricsOf(t, registry)
	require.GreaterOrEqual(t, values[`scheduler_run_duration_seconds_sum{job_name="fails_once",status="success"}`], 0.15, "the wait between attempts counts")
	require.GreaterOrEqual(t, values[`scheduler_batch_lock_seconds_sum{job_name="sweep"}`], 0.1, "each batch sleeps for 10 ms")
	require.NotContains(t, values, `scheduler_batch_lock_seconds_count{job_name="fails_once"}`, "a run in one transaction has no batches")

	// A run that is given back is interrupted, and ends elsewhere.
	left := runNow(t, db, "endless")
	waitStatus(t, db, left, jobs.StatusRunning)
	rows := values[`scheduler_run_rows_total{job_name="sweep"}`]
	require.InDelta(t, scalar[int64](t, db, "SELECT sum(rows_affected)::bigint FROM scheduler.job_runs WHERE job_name = 'sweep' AND NOT dry_run"), rows, 0)
	require.InDelta(t, 95, rows, 0)
	stop()
	families, err := registry.Gather()
	require.NoError(t, err)
	require.Empty(t, families, "a replica that has ended takes its metrics along")
}

// Ticks of an outage are missed, and counted by what they are.
func TestMetricsOfMissedTicks(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	config := scheduler.Config{Jobs: []scheduler.JobConfig{{Name: "each_second", CatchUp: "none"}}}
	_, stop := measured(t, db, config)
	waitValue(t, db, waitRun, true, "SELECT count(*) > 0 FROM hits")
	stop()
	exec1(t, db, "UPDATE scheduler.job_definitions SET next_run = date_trunc('second', now()) - interval '1 minute', last_tick = last_tick - interval '2 minutes' WHERE job_name = 'each_second'")
	exec1(t, db, "DELETE FROM scheduler.job_runs")
	registry, _ := measured(t, db, config)
	waitMetric(t, registry, `scheduler_ticks_total{job_name="each_second",outcome="missed",reason="outage"}`, atLeast(50))
	waitMetric(t, registry, `scheduler_ticks_total{job_name="each_second",outcome="missed",reason="outage"}`, is(float64(
		scalar[int64](t, db, "SELECT sum(missed_count)::bigint FROM scheduler.job_runs WHERE job_name = 'each_second' AND status = 'missed' AND reason = 'outage'"))))
}

// A replica that dies is followed by another one, whose metrics say so; a replica
// whose lock session is ended says that, and is there again.
func TestMetricsOfTakeOverAndLoss(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	victim := startReplica(t, db, "victim")
	waitValue(t, db, 30*time.Second, true, "SELECT EXISTS (SELECT FROM scheduler.jobs WHERE job_name = 'endless')")
	first := runNow(t, db, "endless")
	waitStatus(t, db, first, jobs.StatusRunning)
	registry, _ := measured(t, db, scheduler.Config{ReplicaID: "heir"})
	waitMetric(t, registry, "scheduler_present", is(1))
	waitMetric(t, registry, "scheduler_leader", is(0))
	require.NotContains(t, metricsOf(t, registry), "scheduler_replicas", "only the leader knows")
	victim.kill()
	for series, want := range map[string]float64{
		"scheduler_leader": 1, "scheduler_term": 2, "scheduler_takeovers_total": 1, "scheduler_replicas": 1,
	} {
		waitMetric(t, registry, series, is(want))
	}
	waitMetric(t, registry, "scheduler_handed_back_total", atLeast(1)) // a tick's run may have been under way, too
	exec1(t, db, "SELECT scheduler.cancel_run($1)", first)
	exec1(t, db, "SELECT pg_terminate_backend(backend_pid) FROM scheduler.leader")
	for series, want := range map[string]float64{
		`scheduler_connection_losses_total{connection="lock"}`: 1, "scheduler_takeovers_total": 2, "scheduler_term": 3, "scheduler_present": 1,
	} {
		waitMetric(t, registry, series, is(want))
	}
}

// Scrapes ask the database nothing: while it does not answer, they tell what was known
// before, and how old it is.
func TestMetricsWhileTheDatabaseDoesNotAnswer(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	registry, _ := measured(t, db, scheduler.Config{Jobs: []scheduler.JobConfig{{Name: "each_second", Enabled: new(bool)}}})
	waitMetric(t, registry, `scheduler_jobs{state="active"}`, func(float64) bool { return true })
	waitMetric(t, registry, "scheduler_leader", is(1))
	before := metricsOf(t, registry)
	require.Contains(t, before, `scheduler_queue_jobs{state="available"}`)
	require.InDelta(t, 0, before["scheduler_queue_oldest_seconds"], 0)

	tx, err := db.Conn(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "LOCK TABLE scheduler.river_job IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	testdb.WaitFor(t, "a sample that fails", time.Minute, func(context.Context) (bool, any, error) {
		failures := metricsOf(t, registry)["scheduler_sample_failures_total"]
		return failures >= 1, failures, nil
	})
	began := time.Now()
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := registry.Gather(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Less(t, time.Since(began), 5*time.Second, "a hundred scrapes")
	after := metricsOf(t, registry)
	require.Contains(t, after, `scheduler_jobs{state="active"}`)
	require.Less(t, after["scheduler_sample_timestamp_seconds"], float64(time.Now().Unix())-2, "it says how old it is")
	require.NoError(t, tx.Rollback(t.Context()))
	testdb.WaitFor(t, "a new sample", time.Minute, func(context.Context) (bool, any, error) {
		at := metricsOf(t, registry)["scheduler_sample_timestamp_seconds"]
		return at > after["scheduler_sample_timestamp_seconds"], at, nil
	})
}

// Two replicas in one process have a registry each; one registry for both is refused
// before anything is done.
func TestMetricsRegistryOfAnother(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	registry, _ := measured(t, db, scheduler.Config{ReplicaID: "one"})
	waitMetric(t, registry, "scheduler_leader", is(1))
	err := runOnce(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "two", Metrics: registry, Registry: testRegistry(), Logger: discard()})
	var refused *scheduler.ConfigError
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "metrics", refused.Field)
	require.Equal(t, int64(1), scalar[int64](t, db, "SELECT count(*) FROM scheduler.replicas"))
	other, _ := measured(t, db, scheduler.Config{ReplicaID: "two"})
	waitMetric(t, other, "scheduler_present", is(1))
	require.InDelta(t, 0, metricsOf(t, other)["scheduler_leader"], 0)
}

// What is sampled of a queue counts to 10000, and reads no more than that.
func TestSampleOfALargeQueue(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	exec1(t, db, bigLedger)
	exec1(t, db, "VACUUM ANALYZE scheduler.river_job, scheduler.job_runs")
	// More than the statistics know of.
	exec1(t, db, `INSERT INTO scheduler.river_job (args, kind, max_attempts, state, scheduled_at)
		SELECT '{}', 'j1', 5, 'available', now() - interval '1 hour' FROM generate_series(1, 30000) n`)
	statements := sql.For("scheduler")
	began := time.Now()
	sample, err := statements.Sample(t.Context(), db.Pool(t))
	require.NoError(t, err)
	t.Logf("a sample of 30,000 waiting and 100,000 ended jobs took %v", time.Since(began))
	require.Equal(t, int64(10_000), sample.Available)
	require.InDelta(t, 3600, sample.OldestAvailable.Seconds(), 60)
	require.Equal(t, int64(1010), sample.Waiting+10)
	require.Zero(t, sample.Running)
	require.Equal(t, int64(200), sample.JobsActive)
	var seen []explained
	err = pgx.BeginFunc(t.Context(), db.Conn(t), func(tx pgx.Tx) error {
		_, err := statements.Sample(t.Context(), explainingTx{Tx: tx, seen: &seen})
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, seen)
	for _, e := range seen {
		for _, node := range e.nodes {
			if node.Relation == "river_job" || node.Relation == "job_runs" {
				require.NotEqual(t, "Seq Scan", node.Type, node.Relation)
				require.LessOrEqual(t, (node.Rows+node.Removed)*node.Loops, 10_000.0, node.Index)
			}
		}
	}
}
