package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// fleetView is who leads, who lives, and how the jobs are.
type fleetView struct {
	Leader   *leaderView
	Replicas []replicaView
	// ReplicaCount and Counts say in words how many there are.
	ReplicaCount, Counts string
	Paused               string
	// Attention are jobs that somebody has to look at, the first few; More is how many
	// there are beyond.
	Attention []attentionView
	More      int
}

// attentionView is a job that somebody has to look at.
type attentionView struct{ Name, Why string }

// attentionMax is how many of those are named.
const attentionMax = 8

type leaderView struct {
	ReplicaID string
	Epoch     int64
	Since     *time.Time
}

type replicaView struct {
	Name    string
	Running int64
}

func newFleetView(s *snapshot) fleetView {
	var v fleetView
	if s.leader != nil {
		v.Leader = &leaderView{ReplicaID: s.leader.ReplicaID, Epoch: s.leader.Epoch, Since: &s.leader.AcquiredAt}
	}
	for _, replica := range s.replicas {
		name := fmt.Sprintf("a session with backend pid %d", replica.BackendPID)
		if replica.ReplicaID != nil {
			name = *replica.ReplicaID
		}
		v.Replicas = append(v.Replicas, replicaView{Name: name, Running: replica.Running})
	}
	v.ReplicaCount = counted(int64(len(v.Replicas)), "replica")
	counts := make(map[string]int64)
	for _, job := range s.jobs {
		counts[job.State]++
		why := attention(job)
		switch {
		case why == "":
		case len(v.Attention) < attentionMax:
			v.Attention = append(v.Attention, attentionView{job.JobName, why})
		default:
			v.More++
		}
	}
	parts := []string{counted(int64(len(s.jobs)), "job")}
	for _, state := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, grouped(counts[state])+" "+state)
	}
	v.Counts = strings.Join(parts, ", ")
	v.Paused = stateWords(s.state)
	return v
}

// attention says why somebody has to look at a job; nothing if nobody has to.
func attention(job scheduler.Job) string {
	switch {
	case deref(job.LastStatus) == jobs.StatusFailed, deref(job.LastStatus) == jobs.StatusBlocked:
		return string(*job.LastStatus)
	case deref(job.Problem) != "":
		return "problem"
	}
	return ""
}

// stateWords says that the whole scheduler rests, and why.
func stateWords(state scheduler.State) string {
	switch {
	case state.PausedAt != nil:
		return "The whole scheduler is paused " + pauseWords(state.PausedAt, state.PausedBy, state.PausedReason)
	case state.DisabledAt != nil:
		return "The scheduler is disabled by the leader's configuration (enabled: false) since " + stamp(*state.DisabledAt) + "."
	}
	return ""
}

func pauseWords(at *time.Time, by, reason *string) string {
	words := "since " + stamp(*at)
	if by != nil {
		words += " by " + *by
	}
	if reason != nil && *reason != "" {
		words += ": " + *reason
	}
	return words
}

// jobView is a job as the pages show it.
type jobView struct {
	Name, Description, State, StateClass, DryRun string
	// Find is what the job is found by.
	Find                                string
	Schedule, Declared, Timezone, Words string
	Override                            bool
	LastRun, NextRun, Rollout           *time.Time
	LastStatus                          jobs.Status
	LastFacts, LastError                string
	Problem, Paused, Policy             string
	// JobPaused: the job is, whatever holds for the whole scheduler.
	JobPaused   bool
	Strip, Days template.HTML
}

func jobViews(s *snapshot) []jobView {
	views := make([]jobView, 0, len(s.jobs))
	for _, job := range s.jobs {
		v := newJobView(job, s.state)
		v.Strip, v.Days = stripChart(s.history[job.JobName]), dayChart(s.days[job.JobName], s.now)
		views = append(views, v)
	}
	return views
}

func newJobView(job scheduler.Job, state scheduler.State) jobView {
	v := jobView{
		Name: job.JobName, Description: job.Description, State: job.State, StateClass: "idle",
		Schedule: job.Schedule, Declared: job.DeclaredSchedule, Timezone: job.Timezone, Override: job.ScheduleOverride != nil,
		LastRun: job.LastRun, NextRun: job.NextRun, LastStatus: deref(job.LastStatus), LastError: deref(job.LastError), Problem: deref(job.Problem),
	}
	switch job.State {
	case "active":
		v.StateClass = "ok"
	case "paused":
		v.StateClass = "warn"
	}
	switch {
	case job.DryRun:
		v.DryRun = "dry run"
	case job.DryRunUntil != nil:
		v.DryRun, v.Rollout = "in rollout", job.DryRunUntil
	}
	if schedule, err := jobs.ParseSchedule(job.JobName, job.Schedule, job.Timezone); err == nil {
		v.Words = schedule.Words()
	}
	var facts []string
	if job.LastDuration != nil {
		facts = append(facts, secondsText(*job.LastDuration))
	}
	if job.LastRows != nil {
		facts = append(facts, counted(*job.LastRows, "row"))
	}
	v.LastFacts = strings.Join(facts, ", ")
	if job.PausedAt != nil {
		v.JobPaused, v.Paused = true, "Paused "+pauseWords(job.PausedAt, job.PausedBy, job.PausedReason)
	}
	if words := stateWords(state); words != "" {
		v.Paused = words
	}
	v.Policy = fmt.Sprintf("overlap: %s; missed ticks: %s; timeout %s; at most %s", job.Overlap, job.CatchUp, secondsText(job.Timeout), counted(int64(job.MaxAttempts), "attempt"))
	v.Find = strings.Join([]string{job.JobName, job.State, string(v.LastStatus), v.DryRun, attention(job)}, " ")
	return v
}

func deref[T any](value *T) (zero T) {
	if value == nil {
		return zero
	}
	return *value
}

// incidentView is what did not go as it should.
type incidentView struct {
	JobName, Count, Why string
	Status              jobs.Status
	LastAt              *time.Time
	LastID              int64
}

func incidentViews(list []scheduler.Incident) []incidentView {
	views := make([]incidentView, 0, len(list))
	for _, incident := range list {
		v := incidentView{JobName: incident.JobName, Status: incident.Status, Count: "once", LastAt: &incident.LastAt, LastID: incident.LastID}
		if n := max(incident.Runs, incident.Missed); n > 1 {
			v.Count = grouped(n) + " times"
		}
		v.Why = cmp.Or(incident.Reason, firstLine(deref(incident.LastError)), "no reason was given")
		views = append(views, v)
	}
	return views
}

// barView is a run in a job's strip.
type barView struct {
	ID          int64
	Class, Text string
	// Height is 1 to 10.
	Height int
}

func barViews(h scheduler.History) []barView {
	views := make([]barView, 0, len(h.IDs))
	longest := slices.Max(h.Durations)
	for i, id := range h.IDs {
		v := barView{ID: id, Class: class(h.Statuses[i]), Height: 1 + int(9*logShare(h.Durations[i], longest))}
		v.Text = fmt.Sprintf("run %d: %s, %s, %s", id, h.Statuses[i], secondsText(h.Durations[i]), counted(h.RowCounts[i], "row"))
		views = append(views, v)
	}
	return views
}

// parameterView is a parameter that a run can be told.
type parameterView struct {
	Name, Description, Type, Value, Range string
	Choices                               []string
}

func parameterViews(job scheduler.Job) ([]parameterView, error) {
	specs, err := scheduler.ParameterSpecs(job)
	if err != nil {
		return nil, err
	}
	var declared map[string]any
	if err := json.Unmarshal(job.Parameters, &declared); err != nil {
		return nil, fmt.Errorf("job %q: read its parameters: %w", job.JobName, err)
	}
	views := make([]parameterView, 0, len(specs))
	for _, spec := range specs {
		v := parameterView{Name: spec.Name, Description: spec.Description, Type: "A " + string(spec.Type), Choices: spec.Enum, Value: valueText(spec.Default)}
		switch spec.Type { //nolint:exhaustive // the rest is a word of its own
		case jobs.TypeInteger:
			v.Type = "A whole number"
		case jobs.TypeStrings:
			v.Type = "A list with commas between its items"
		case jobs.TypeDuration:
			v.Type = "A duration such as 90s or 1h30m"
		case jobs.TypeBoolean:
			v.Choices = []string{"true", "false"}
		}
		if value, ok := declared[spec.Name]; ok {
			v.Value = valueText(value)
		}
		switch {
		case spec.Minimum != nil && spec.Maximum != nil:
			v.Range = floatText(*spec.Minimum) + " to " + floatText(*spec.Maximum)
		case spec.Minimum != nil:
			v.Range = "at least " + floatText(*spec.Minimum)
		case spec.Maximum != nil:
			v.Range = "at most " + floatText(*spec.Maximum)
		}
		if v.Range != "" && spec.Type == jobs.TypeDuration {
			v.Range += " seconds"
		}
		views = append(views, v)
	}
	return views, nil
}

// floatText is a number as people write it.
func floatText(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func valueText(value any) string {
	list, ok := value.([]any)
	if !ok {
		if number, ok := value.(float64); ok {
			return floatText(number)
		}
		return fmt.Sprint(value)
	}
	parts := make([]string, 0, len(list))
	for _, item := range list {
		parts = append(parts, fmt.Sprint(item))
	}
	return strings.Join(parts, ",")
}

// nextView is when a schedule would be due.
type nextView struct {
	Words string
	Ticks []string
	Error string
}

func newNextView(job scheduler.Job, text string, now time.Time) *nextView {
	next, err := nextOf(job, text, now, nextDefault)
	if err != nil {
		return &nextView{Error: err.Error()}
	}
	v := &nextView{Words: next.Words}
	for _, tick := range next.Ticks {
		v.Ticks = append(v.Ticks, tickText(tick))
	}
	return v
}
