package metrics

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Other stands for every value of a label that is not in its list.
const Other = "other"

// None is the reason where there is none.
const None = "none"

// What becomes of a tick or of a run that was asked for.
const (
	OutcomeEnqueued = "enqueued"
	OutcomeWaiting  = "waiting"
	OutcomeSkipped  = "skipped"
	OutcomeMissed   = "missed"
	OutcomeFailed   = "failed"
)

// How an attempt ends, beside the statuses of a run: it is to be tried again, was
// given back through no fault of the job, or was found to be in other hands.
const (
	OutcomeRetrying    = "retrying"
	OutcomeInterrupted = "interrupted"
	OutcomeLost        = "lost"
)

// How a run ends.
const (
	StatusSuccess   = "success"
	StatusFailed    = "failed"
	StatusCancelled = "cancelled"
	StatusBlocked   = "blocked"
)

// What is lost by a loss of a connection.
const (
	ConnectionLock    = "lock"
	ConnectionWorkers = "workers"
)

func outcomes() []string {
	return []string{
		OutcomeEnqueued, OutcomeWaiting, OutcomeSkipped, OutcomeMissed, StatusSuccess, OutcomeFailed, OutcomeRetrying,
		StatusCancelled, StatusBlocked, OutcomeInterrupted, OutcomeLost, Other,
	}
}

// reasons are those of the ledger (river/periodic), without what may follow a colon.
func reasons() []string {
	return []string{
		None, "overlap", "queued", "outage", "late", "catch_up", "catch_up_limit", "catch_up_max_age", "rescheduled", "scheduler_disabled",
		"superseded", "disabled", "paused", "unregistered", "invalid_parameters", "backfill", Other,
	}
}

func statuses() []string {
	return []string{StatusSuccess, StatusFailed, StatusCancelled, StatusBlocked, Other}
}

func triggers() []string { return []string{"schedule", "manual", "bootstrap", "backfill", Other} }

// one is the value if it is in the list.
func one(value string, list []string) string {
	if slices.Contains(list, value) {
		return value
	}
	return Other
}

// Config configures a [Metrics].
type Config struct {
	// JobNames are the registered jobs.
	JobNames []string
	// Version is that of the program.
	Version string
	// ReplicaID identifies the process start.
	ReplicaID string
	// MaxWorkers is the number of runs worked at once.
	MaxWorkers int
}

// Metrics is what a replica tells Prometheus. It is safe for concurrent use, and all
// of its methods may be called on nil.
type Metrics struct {
	families
	registerer prometheus.Registerer
	jobs       map[string]bool

	mu sync.Mutex
	// working are the attempts under way; sample is what was last read.
	working map[*Working]bool
	sample  *Sample
	sampled time.Time
	// replicas is what the leader sees; negative if this replica does not lead.
	replicas int
}

// ErrRegistered: the registerer has the metrics of another replica already.
var ErrRegistered = errors.New("the registerer has the metrics of another scheduler already; give each one its own, or wrap it with a label of its own")

// New makes the metrics and registers them. Without a registerer there are none, and
// the result is nil. The error may wrap [ErrRegistered].
func New(registerer prometheus.Registerer, config Config) (*Metrics, error) {
	if registerer == nil {
		return nil, nil //nolint:nilnil // no metrics are a result, and a nil one works
	}
	m := &Metrics{registerer: registerer, jobs: make(map[string]bool, len(config.JobNames)), working: make(map[*Working]bool), replicas: -1}
	m.families = newFamilies(&described{})
	for _, name := range config.JobNames {
		m.jobs[name] = true
		m.zero(name)
	}
	m.buildInfo.WithLabelValues(config.Version, config.ReplicaID).Set(1)
	m.workersMax.WithLabelValues().Set(float64(config.MaxWorkers))
	for _, gauge := range []*prometheus.GaugeVec{m.leader, m.term, m.present} {
		gauge.WithLabelValues().Set(0)
	}
	for _, counter := range []*prometheus.CounterVec{m.takeovers, m.leaderFailures, m.handedBack, m.sampleFailures} {
		counter.WithLabelValues().Add(0)
	}
	m.losses.WithLabelValues(ConnectionLock).Add(0)
	m.losses.WithLabelValues(ConnectionWorkers).Add(0)
	m.enqueueLag.WithLabelValues()
	if err := registerer.Register(m); err != nil {
		if _, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
			return nil, ErrRegistered
		}
		return nil, fmt.Errorf("register the metrics: %w", err)
	}
	return m, nil
}

// NewRegistry makes a registry for a program, with what Go and the process tell of
// themselves. Nothing is registered in the global one.
func NewRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// zero makes the series of a job that alerts look at: what appears with its first
// event has no rate before the second one.
func (m *Metrics) zero(job string) {
	for _, status := range []string{StatusSuccess, StatusFailed, StatusCancelled, StatusBlocked} {
		m.runs.WithLabelValues(job, status).Add(0)
	}
	for _, tick := range [][2]string{
		{OutcomeEnqueued, None},
		{OutcomeSkipped, "overlap"},
		{OutcomeMissed, "outage"},
		{OutcomeMissed, "late"},
		{OutcomeMissed, "catch_up_limit"},
		{OutcomeMissed, "catch_up_max_age"},
	} {
		m.ticks.WithLabelValues(job, tick[0], tick[1]).Add(0)
	}
	m.rows.WithLabelValues(job).Add(0)
}

// Close takes the metrics out of the registerer.
func (m *Metrics) Close() {
	if m != nil {
		m.registerer.Unregister(m)
	}
}

func (m *Metrics) job(name string) string {
	if m.jobs[name] {
		return name
	}
	return Other
}

// Decided is what the leader has decided about a run.
type Decided struct {
	// Job is the job's name.
	Job string
	// Tick is the time that the run is for.
	Tick time.Time
	// Trigger is the run's trigger.
	Trigger string
	// Outcome is one of the constants.
	Outcome string
	// Reason is the ledger's; what follows a colon does not count. Empty means [None].
	Reason string
	// Count is the number of ticks that the row of the ledger stands for. Zero means 1.
	Count int64
}

func (d Decided) reason() string {
	reason, _, _ := strings.Cut(d.Reason, ":")
	if reason == "" {
		return None
	}
	return one(reason, reasons())
}

// TicksDecided counts the decisions of a transaction that has committed, at a time of
// the database's clock.
func (m *Metrics) TicksDecided(now time.Time, decided []Decided) {
	if m == nil {
		return
	}
	var newest time.Time
	for _, d := range decided {
		m.ticks.WithLabelValues(m.job(d.Job), one(d.Outcome, outcomes()), d.reason()).Add(float64(max(d.Count, 1)))
		if d.Outcome == OutcomeEnqueued {
			m.enqueueLag.WithLabelValues().Observe(max(now.Sub(d.Tick).Seconds(), 0))
		}
		if d.Tick.After(newest) {
			newest = d.Tick
		}
	}
	if !newest.IsZero() {
		m.lastTick.WithLabelValues().Set(seconds(newest))
	}
}

// RequestsDecided counts the same of runs that were asked for or had waited.
func (m *Metrics) RequestsDecided(decided []Decided) {
	if m == nil {
		return
	}
	for _, d := range decided {
		m.requests.WithLabelValues(m.job(d.Job), one(d.Trigger, triggers()), one(d.Outcome, outcomes()), d.reason()).Inc()
	}
}

// TermBegan tells that this replica leads.
func (m *Metrics) TermBegan(number int64) {
	if m == nil {
		return
	}
	m.leader.WithLabelValues().Set(1)
	m.term.WithLabelValues().Set(float64(number))
	m.takeovers.WithLabelValues().Inc()
}

// TermEnded tells that it does not any more.
func (m *Metrics) TermEnded() {
	if m == nil {
		return
	}
	m.leader.WithLabelValues().Set(0)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.replicas = -1
}

// Evaluated tells that the leader has looked for what is due and done it, and how
// many replicas it sees.
func (m *Metrics) Evaluated(replicas int) {
	if m == nil {
		return
	}
	m.lastEvaluation.WithLabelValues().SetToCurrentTime()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.replicas = replicas
}

// LeaderFailed counts a look of the leader that has failed.
func (m *Metrics) LeaderFailed() {
	if m != nil {
		m.leaderFailures.WithLabelValues().Inc()
	}
}

// HandedBack counts a run that the leader took from a replica that is gone. A status
// that is not empty is how the run has ended by that.
func (m *Metrics) HandedBack(job, status string) {
	if m == nil {
		return
	}
	m.handedBack.WithLabelValues().Inc()
	if status != "" {
		m.runs.WithLabelValues(m.job(job), one(status, statuses())).Inc()
	}
}

// Present tells whether the replica holds its presence lock.
func (m *Metrics) Present(held bool) {
	if m == nil {
		return
	}
	value := 0.0
	if held {
		value = 1
	}
	m.present.WithLabelValues().Set(value)
}

// Lost counts the loss of a connection that was there.
func (m *Metrics) Lost(connection string) {
	if m != nil {
		m.losses.WithLabelValues(one(connection, []string{ConnectionLock, ConnectionWorkers})).Inc()
	}
}

// Sample is what only a query can know.
type Sample struct {
	// Queue is the number of River's unfinished jobs by state.
	Queue map[string]int64
	// OldestAvailable is for how long the first job in the queue could have been worked.
	OldestAvailable time.Duration
	// Jobs is the number of jobs by state.
	Jobs map[string]int64
	// Waiting is the number of runs in their job's line.
	Waiting int64
}

// Sampled tells what was read just now.
func (m *Metrics) Sampled(sample Sample) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sample, m.sampled = &sample, time.Now()
}

// SampleFailed counts a sample that could not be read. What was read before stays,
// with its age.
func (m *Metrics) SampleFailed() {
	if m != nil {
		m.sampleFailures.WithLabelValues().Inc()
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
