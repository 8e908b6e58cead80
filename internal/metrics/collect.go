package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// families are the metrics. Those that are a *prometheus.Desc are made at the scrape.
type families struct {
	ticks, requests                     *prometheus.CounterVec
	enqueueLag, startLag                *prometheus.HistogramVec
	runs, attempts, rows                *prometheus.CounterVec
	duration, batchLock                 *prometheus.HistogramVec
	lastSuccess                         *prometheus.GaugeVec
	workersMax, stuck                   *prometheus.GaugeVec
	leader, term, present               *prometheus.GaugeVec
	takeovers, leaderFailures           *prometheus.CounterVec
	handedBack, losses, sampleFailures  *prometheus.CounterVec
	lastTick, lastEvaluation            *prometheus.GaugeVec
	buildInfo                           *prometheus.GaugeVec
	runsWorking                         *prometheus.Desc
	oldestStart, oldestDeadline         *prometheus.Desc
	replicasSeen                        *prometheus.Desc
	queue, oldestAvailable, jobsByState *prometheus.Desc
	runsWaiting, sampledAt              *prometheus.Desc
}

// newFamilies is the list of all metrics.
func newFamilies(d *described) families {
	return families{
		buildInfo: d.gauge("scheduler_build_info", "Always 1; says which version this replica is, and which start of a process.", "version", "replica"),
		leader:    d.gauge("scheduler_leader", "Whether this replica leads (1) or not (0)."),
		term:      d.gauge("scheduler_term", "Number of the term that this replica leads or has led last; 0 if it never did."),
		takeovers: d.counter("scheduler_takeovers_total", "Terms that this replica has begun."),
		lastEvaluation: d.gauge("scheduler_last_evaluation_timestamp_seconds",
			"When this replica, as the leader, last looked for what is due and did it, also where nothing was due; Unix time by its own clock."),
		lastTick: d.gauge("scheduler_last_tick_timestamp_seconds", "Tick that this replica, as the leader, has decided last; Unix time."),
		leaderFailures: d.counter("scheduler_leader_failures_total",
			"Looks of the leader that have failed and were tried again, such as for a lock that somebody holds on a table."),
		replicasSeen: d.desc("scheduler_replicas", "Replicas that hold a presence lock, as the leader sees them; only from the leader."),
		present:      d.gauge("scheduler_present", "Whether this replica holds its presence lock (1): it is connected, and its runs are not handed to others."),
		losses: d.counter("scheduler_connection_losses_total",
			"Losses of a connection that was there: of the lock session, or of the workers' connections, where many at once count as one.", labelConnection),
		ticks: d.counter("scheduler_ticks_total",
			"Ticks that this replica, as the leader, has decided, each once. Missed ones count by what they are, however few rows of the ledger stand for them.",
			labelJob, labelOutcome, labelReason),
		requests: d.counter("scheduler_requests_total",
			"Decisions of the leader about runs that were asked for, and about ticks that had waited in line.", labelJob, labelTrigger, labelOutcome, labelReason),
		enqueueLag: d.histogram("scheduler_enqueue_lag_seconds", "Time from a tick to the commit that enqueued it, by the database's clock.", lagBuckets()),
		startLag: d.histogram("scheduler_start_lag_seconds",
			"Time from the tick of a run, or from when it was asked for, to the start of its first attempt, by the database's clock. Backfills do not count.",
			lagBuckets(), labelTrigger),
		runs: d.counter("scheduler_runs_total", "Runs that have ended, by how; counted by the replica that ended them.", labelJob, labelStatus),
		duration: d.histogram("scheduler_run_duration_seconds",
			"Time from the start of a run's first attempt to its end, with what lay between attempts.", durationBuckets(), labelJob, labelStatus),
		attempts: d.counter("scheduler_attempts_total", "Attempts that this replica has worked, by how they ended.", labelJob, labelOutcome),
		rows:     d.counter("scheduler_run_rows_total", "Rows that runs have changed, as the ledger counts them; dry runs change none.", labelJob),
		batchLock: d.histogram("scheduler_batch_lock_seconds",
			"Time for which the transaction of a batch has held its locks. Its count is the number of batches.", lockBuckets(), labelJob),
		lastSuccess: d.gauge("scheduler_last_success_timestamp_seconds", "When a run of the job last succeeded on this replica; Unix time by its own clock.", labelJob),
		runsWorking: d.desc("scheduler_runs_working", "Runs that this replica is working."),
		workersMax:  d.gauge("scheduler_workers", "Runs that this replica works at most at once."),
		stuck: d.gauge("scheduler_runs_stuck",
			"Attempts that are over though their job has not returned, which ignores the end of its context: each takes a worker's place until the process ends. Absent for a job that never did so.", labelJob),
		oldestStart: d.desc("scheduler_oldest_run_start_timestamp_seconds",
			"When the oldest run of the job that this replica is working began; Unix time. Absent if there is none.", labelJob),
		oldestDeadline: d.desc("scheduler_oldest_run_deadline_timestamp_seconds",
			"When that run's attempt will be timed out; Unix time. Absent if there is none.", labelJob),
		handedBack: d.counter("scheduler_handed_back_total", "Runs that this replica, as the leader, took from replicas that were gone."),
		queue: d.desc("scheduler_queue_jobs",
			"River's jobs that have not ended, by state. Counting stops at 10000. Every replica samples the same number: take the maximum.", labelState),
		oldestAvailable: d.desc("scheduler_queue_oldest_seconds", "For how long the first of the queue has been waiting for a worker; 0 if none waits. Sampled."),
		runsWaiting:     d.desc("scheduler_runs_waiting", "Runs that wait in line for those before them. Counting stops at 10000. Sampled."),
		jobsByState:     d.desc("scheduler_jobs", "Jobs by state: active, paused, disabled, unregistered; problem counts those, of any state, that have one. Sampled.", labelState),
		sampledAt:       d.desc("scheduler_sample_timestamp_seconds", "When what is sampled was last read from the database; Unix time."),
		sampleFailures:  d.counter("scheduler_sample_failures_total", "Samples that could not be read within their time."),
	}
}

func (f *families) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		f.buildInfo, f.leader, f.term, f.takeovers, f.lastEvaluation, f.lastTick, f.leaderFailures, f.present, f.losses, f.ticks, f.requests,
		f.enqueueLag, f.startLag, f.runs, f.duration, f.attempts, f.rows, f.batchLock, f.lastSuccess, f.workersMax, f.stuck, f.handedBack, f.sampleFailures,
	}
}

// Describe tells of every metric.
func (m *Metrics) Describe(descs chan<- *prometheus.Desc) {
	for _, collector := range m.collectors() {
		collector.Describe(descs)
	}
	for _, desc := range []*prometheus.Desc{
		m.runsWorking, m.oldestStart, m.oldestDeadline, m.replicasSeen, m.queue, m.oldestAvailable, m.jobsByState, m.runsWaiting, m.sampledAt,
	} {
		descs <- desc
	}
}

// Collect gives what is known, and asks nobody.
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	for _, collector := range m.collectors() {
		collector.Collect(metrics)
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	working, replicas, sample, sampled := m.snapshot()
	gauge(m.runsWorking, float64(len(working)))
	for job, oldest := range oldestOf(working) {
		gauge(m.oldestStart, seconds(oldest.startedAt()), job)
		gauge(m.oldestDeadline, seconds(oldest.deadline), job)
	}
	if replicas >= 0 {
		gauge(m.replicasSeen, float64(replicas))
	}
	if sample == nil {
		return
	}
	for state, n := range sample.Queue {
		gauge(m.queue, float64(n), state)
	}
	for state, n := range sample.Jobs {
		gauge(m.jobsByState, float64(n), state)
	}
	gauge(m.oldestAvailable, sample.OldestAvailable.Seconds())
	gauge(m.runsWaiting, float64(sample.Waiting))
	gauge(m.sampledAt, seconds(sampled))
}

func (m *Metrics) snapshot() (working []*Working, replicas int, sample *Sample, sampled time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	working = make([]*Working, 0, len(m.working))
	for w := range m.working {
		working = append(working, w)
	}
	return working, m.replicas, m.sample, m.sampled
}

// oldestOf finds the oldest of each job.
func oldestOf(working []*Working) map[string]*Working {
	oldest := make(map[string]*Working)
	for _, w := range working {
		if known := oldest[w.job]; known == nil || w.startedAt().Before(known.startedAt()) {
			oldest[w.job] = w
		}
	}
	return oldest
}
