package metrics_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/systempromptio/scheduler/internal/metrics"
	"github.com/systempromptio/scheduler/river/periodic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func made(t *testing.T, jobs ...string) (*metrics.Metrics, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	m, err := metrics.New(registry, metrics.Config{JobNames: jobs, Version: "v1", ReplicaID: "r", MaxWorkers: 10})
	require.NoError(t, err)
	return m, registry
}

// everything tells of everything that can happen, once.
func everything(m *metrics.Metrics, job string) {
	tick := time.Unix(1000, 0)
	m.TermBegan(7)
	m.TicksDecided(tick.Add(2*time.Second), []metrics.Decided{
		{Job: job, Tick: tick, Outcome: metrics.OutcomeEnqueued},
		{Job: job, Tick: tick.Add(-time.Hour), Outcome: metrics.OutcomeMissed, Reason: "outage", Count: 60},
		{Job: job, Tick: tick, Outcome: metrics.OutcomeSkipped, Reason: `invalid_parameters: "secret" is no number`},
	})
	m.RequestsDecided([]metrics.Decided{{Job: job, Tick: tick, Trigger: "manual", Outcome: metrics.OutcomeEnqueued}})
	m.Evaluated(3)
	m.LeaderFailed()
	m.HandedBack(job, metrics.StatusFailed)
	m.HandedBack(job, "")
	m.Present(true)
	m.Lost(metrics.ConnectionLock)
	m.Sampled(metrics.Sample{Queue: map[string]int64{"available": 3}, Jobs: map[string]int64{"active": 1}, OldestAvailable: time.Minute, Waiting: 2})
	m.SampleFailed()
	lag := 3 * time.Second
	for _, outcome := range []string{metrics.StatusSuccess, metrics.OutcomeRetrying, metrics.OutcomeInterrupted, metrics.OutcomeLost, metrics.StatusBlocked} {
		working := m.Work(job, time.Hour)
		working.Started("schedule", time.Minute, &lag)
		working.Rows(5)
		working.Batch(10 * time.Millisecond)
		working.Stuck(true)
		working.End(outcome)
	}
	m.Work(job, time.Hour).Started("manual", 0, nil)
}

func TestEveryMetricIsThereAndWellNamed(t *testing.T) {
	t.Parallel()
	m, registry := made(t, "a")
	everything(m, "a")
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)

	families, err := registry.Gather()
	require.NoError(t, err)
	var names []string
	for _, family := range families {
		names = append(names, family.GetName())
	}
	var described []string
	reference := metrics.Reference()
	for _, d := range metrics.Descriptions() {
		described = append(described, d.Name)
		require.Regexp(t, `[A-Z].*\.$`, d.Help, d.Name)
		require.Contains(t, reference, "\n## "+d.Name+"\n", "the reference")
	}
	require.ElementsMatch(t, described, names, "what is described is what a scrape finds once all has happened")
}

func TestWhatIsTold(t *testing.T) {
	t.Parallel()
	m, registry := made(t, "a")
	everything(m, "a")
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP scheduler_attempts_total Attempts that this replica has worked, by how they ended.
# TYPE scheduler_attempts_total counter
scheduler_attempts_total{job_name="a",outcome="blocked"} 1
scheduler_attempts_total{job_name="a",outcome="interrupted"} 1
scheduler_attempts_total{job_name="a",outcome="lost"} 1
scheduler_attempts_total{job_name="a",outcome="retrying"} 1
scheduler_attempts_total{job_name="a",outcome="success"} 1
# HELP scheduler_runs_total Runs that have ended, by how; counted by the replica that ended them.
# TYPE scheduler_runs_total counter
scheduler_runs_total{job_name="a",status="blocked"} 1
scheduler_runs_total{job_name="a",status="cancelled"} 0
scheduler_runs_total{job_name="a",status="failed"} 1
scheduler_runs_total{job_name="a",status="success"} 1
# HELP scheduler_ticks_total Ticks that this replica, as the leader, has decided, each once. Missed ones count by what they are, however few rows of the ledger stand for them.
# TYPE scheduler_ticks_total counter
scheduler_ticks_total{job_name="a",outcome="enqueued",reason="none"} 1
scheduler_ticks_total{job_name="a",outcome="missed",reason="catch_up_limit"} 0
scheduler_ticks_total{job_name="a",outcome="missed",reason="catch_up_max_age"} 0
scheduler_ticks_total{job_name="a",outcome="missed",reason="late"} 0
scheduler_ticks_total{job_name="a",outcome="missed",reason="outage"} 60
scheduler_ticks_total{job_name="a",outcome="skipped",reason="invalid_parameters"} 1
scheduler_ticks_total{job_name="a",outcome="skipped",reason="overlap"} 0
# HELP scheduler_last_tick_timestamp_seconds Tick that this replica, as the leader, has decided last; Unix time.
# TYPE scheduler_last_tick_timestamp_seconds gauge
scheduler_last_tick_timestamp_seconds 1000
# HELP scheduler_replicas Replicas that hold a presence lock, as the leader sees them; only from the leader.
# TYPE scheduler_replicas gauge
scheduler_replicas 3
# HELP scheduler_runs_working Runs that this replica is working.
# TYPE scheduler_runs_working gauge
scheduler_runs_working 1
# HELP scheduler_run_rows_total Rows that runs have changed, as the ledger counts them; dry runs change none.
# TYPE scheduler_run_rows_total counter
scheduler_run_rows_total{job_name="a"} 25
`), "scheduler_attempts_total", "scheduler_runs_total", "scheduler_ticks_total", "scheduler_last_tick_timestamp_seconds",
		"scheduler_replicas", "scheduler_runs_working", "scheduler_run_rows_total"))
	m.TermEnded()
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP scheduler_leader Whether this replica leads (1) or not (0).
# TYPE scheduler_leader gauge
scheduler_leader 0
`), "scheduler_leader", "scheduler_replicas"), "who does not lead does not know the replicas")
}

func TestNilTakesEverything(t *testing.T) {
	t.Parallel()
	m, err := metrics.New(nil, metrics.Config{})
	require.NoError(t, err)
	require.Nil(t, m)
	everything(m, "a")
	m.TermEnded()
	m.Close()
}

func TestTwoReplicasInOneProcess(t *testing.T) {
	t.Parallel()
	m, registry := made(t, "a")
	_, err := metrics.New(registry, metrics.Config{})
	require.ErrorIs(t, err, metrics.ErrRegistered)
	m.Close()
	again, err := metrics.New(registry, metrics.Config{})
	require.NoError(t, err, "what has ended may start again")
	again.Close()

	registry = prometheus.NewPedanticRegistry()
	of := func(schema string) *metrics.Metrics {
		m, err := metrics.New(prometheus.WrapRegistererWith(prometheus.Labels{"schema": schema}, registry), metrics.Config{JobNames: []string{"a"}})
		require.NoError(t, err)
		return m
	}
	m, second := of("one"), of("other")
	everything(m, "a")
	everything(second, "a")
	_, err = registry.Gather()
	require.NoError(t, err)
	m.Close()
	second.Close()
	families, err := registry.Gather()
	require.NoError(t, err)
	require.Empty(t, families)
}

func TestARegistryForAProgram(t *testing.T) {
	t.Parallel()
	registry := metrics.NewRegistry()
	m, err := metrics.New(registry, metrics.Config{})
	require.NoError(t, err)
	t.Cleanup(m.Close)
	families, err := registry.Gather()
	require.NoError(t, err)
	var names []string
	for _, family := range families {
		names = append(names, family.GetName())
	}
	require.Subset(t, names, []string{"go_goroutines", "process_resident_memory_bytes", "scheduler_leader"})
}

type refusing struct{ prometheus.Registerer }

func (refusing) Register(prometheus.Collector) error { return errors.New("not today") }

func TestARegistererThatRefuses(t *testing.T) {
	t.Parallel()
	_, err := metrics.New(refusing{}, metrics.Config{})
	require.ErrorContains(t, err, "register the metrics: not today")
	require.NotErrorIs(t, err, metrics.ErrRegistered)
}

// Whatever names, reasons and texts arrive, the series are those of the registered jobs.
func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	const jobs = 500
	names := make([]string, jobs)
	for i := range names {
		names[i] = fmt.Sprintf("job_%d", i)
	}
	m, registry := made(t, names...)
	for _, name := range names {
		everything(m, name)
	}
	before, _ := labels(t, registry)
	for i := range 5000 {
		text := fmt.Sprintf("unheard_of_%d", i)
		everything(m, text)
		m.TicksDecided(time.Now(), []metrics.Decided{{Job: text, Outcome: text, Reason: text}})
		m.RequestsDecided([]metrics.Decided{{Job: text, Trigger: text, Outcome: text, Reason: text}})
		m.HandedBack(text, text)
		m.Lost(text)
		working := m.Work(text, time.Hour)
		working.Started(text, 0, new(time.Duration))
		working.End(text)
	}
	after, values := labels(t, registry)
	require.Len(t, values["job_name"], jobs+1)
	require.Contains(t, values["job_name"], metrics.Other)
	for label, of := range values {
		for value := range of {
			require.NotContains(t, value, "unheard_of", label)
		}
	}
	require.Less(t, after-before, 100, "series of the other jobs")
	require.Less(t, before/jobs, 60, "series a job")
	t.Logf("%d jobs that have seen everything have %d series", jobs, before)
}

// labels counts the series, a histogram's buckets among them, and lists the values of
// every label.
func labels(t *testing.T, registry *prometheus.Registry) (series int, values map[string]map[string]bool) {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	values = make(map[string]map[string]bool)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			series += 1 + len(metric.GetHistogram().GetBucket())
			for _, label := range metric.GetLabel() {
				if values[label.GetName()] == nil {
					values[label.GetName()] = make(map[string]bool)
				}
				values[label.GetName()][label.GetValue()] = true
			}
		}
	}
	return series, values
}

// The oldest run of each job is shown while it is worked.
func TestTheOldestRun(t *testing.T) {
	t.Parallel()
	m, registry := made(t, "a", "b")
	young, old := m.Work("a", time.Hour), m.Work("a", 2*time.Hour)
	old.Started("schedule", 10*time.Minute, nil)
	young.Started("schedule", time.Minute, nil)
	oldest := func() map[string]float64 {
		families, err := registry.Gather()
		require.NoError(t, err)
		ages := make(map[string]float64)
		for _, family := range families {
			if family.GetName() == "scheduler_oldest_run_start_timestamp_seconds" {
				for _, metric := range family.GetMetric() {
					ages[metric.GetLabel()[0].GetValue()] = time.Since(time.Unix(int64(metric.GetGauge().GetValue()), 0)).Seconds()
				}
			}
		}
		return ages
	}
	require.Equal(t, []string{"a"}, slices.Collect(maps.Keys(oldest())))
	require.InDelta(t, 600, oldest()["a"], 30)
	old.End(metrics.StatusSuccess)
	require.InDelta(t, 60, oldest()["a"], 30)
	young.End(metrics.StatusSuccess)
	require.Empty(t, oldest())
}

func TestConcurrently(t *testing.T) {
	t.Parallel()
	m, registry := made(t, "a", "b")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				everything(m, []string{"a", "b"}[i%2])
			}
		})
		wg.Go(func() {
			for range 20 {
				_, err := registry.Gather()
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// What the ledger gives as a reason is one here, too.
func TestReasonsAreTheLedgers(t *testing.T) {
	t.Parallel()
	m, registry := made(t, "a")
	known := []string{
		periodic.ReasonOverlap, periodic.ReasonQueued, periodic.ReasonOutage, periodic.ReasonLate, periodic.ReasonCatchUp, periodic.ReasonCatchUpLimit,
		periodic.ReasonCatchUpMaxAge, periodic.ReasonRescheduled, periodic.ReasonDisabled, periodic.ReasonSuperseded, periodic.ReasonJobDisabled,
		periodic.ReasonPaused, periodic.ReasonUnregistered, periodic.ReasonInvalidParameters,
	}
	for _, reason := range known {
		m.TicksDecided(time.Now(), []metrics.Decided{{Job: "a", Outcome: metrics.OutcomeSkipped, Reason: reason}})
	}
	_, values := labels(t, registry)
	for _, reason := range known {
		require.Contains(t, values["reason"], reason)
	}
	require.NotContains(t, values["reason"], metrics.Other)
}
