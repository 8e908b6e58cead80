package schedulertest

import (
	"cmp"
	"testing"
	"time"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cron"
	"github.com/systempromptio/scheduler/river/periodic"
	"github.com/systempromptio/scheduler/sql"
)

// Ticks lists when a job is due: its ticks t with from < t <= to, in the time zone of its
// definition, with the changes of that zone's clock. No clock is asked. The test fails at
// once if the schedule or the zone cannot be read.
func Ticks(t testing.TB, definition jobs.Definition, from, to time.Time) []time.Time {
	t.Helper()
	schedule := mustParse(t, definition)
	var ticks []time.Time
	for at := schedule.Next(from); !at.IsZero() && !at.After(to); at = schedule.Next(at) {
		ticks = append(ticks, at)
	}
	return ticks
}

func mustParse(t testing.TB, definition jobs.Definition) *cron.Schedule {
	t.Helper()
	schedule, err := jobs.ParseSchedule(definition.Name, definition.Schedule, definition.TimeZone)
	if err != nil {
		t.Fatal(err)
	}
	return schedule
}

// Clock is a time that goes on only when the test says so, with a fleet whose leader
// decides the ticks of one job as in production: by the same code, with the overlap and
// the catch-up policy of the job's definition. Nothing is run. It is for one goroutine.
type Clock struct {
	t          testing.TB
	definition jobs.Definition
	schedule   *cron.Schedule
	now        time.Time
	// next is the first tick that is not decided; beganAt, when the leader began to lead.
	next, beganAt time.Time
	runTime       time.Duration
	// busyUntil is when the run under way ends; line are those that wait for it, and
	// isQueued says that overlap has put them there.
	busyUntil time.Time
	line      int
	isQueued  bool
}

// Decision is what the ledger has of a tick, or of several in a row that were missed.
type Decision struct {
	// Tick is the tick, or the first one that was missed.
	Tick time.Time
	// At is when it was decided.
	At time.Time
	// Status is pending: it runs at once; waiting: it runs after those before it; skipped
	// or missed: it does not run.
	Status jobs.Status
	// Reason says why, as in the ledger; empty for a run that needs none.
	Reason string
	// Missed is how many ticks were missed, up to LastMissed. Zero for others.
	Missed     int64
	LastMissed time.Time
}

// NewClock makes a clock that shows a time, at which a leader begins to lead. The test fails
// at once if the schedule, the zone or a policy cannot be read.
func NewClock(t testing.TB, definition jobs.Definition, now time.Time) *Clock {
	t.Helper()
	for _, err := range []error{definition.Overlap.Check(), definition.CatchUp.Check(), jobs.CheckCatchUpLimit(definition.CatchUpLimit)} {
		if err != nil {
			t.Fatalf("job %q: a policy %v", definition.Name, err)
		}
	}
	schedule := mustParse(t, definition)
	return &Clock{t: t, definition: definition, schedule: schedule, now: now, beganAt: now, next: schedule.Next(now)}
}

// Now is the time that the clock shows.
func (c *Clock) Now() time.Time { return c.now }

// RunsTake sets how long each run takes that begins from now on. The zero value is no
// time.
func (c *Clock) RunsTake(d time.Duration) { c.runTime = d }

// Advance lets time go on, with a leader that decides each tick when it is due, and
// returns what was decided.
func (c *Clock) Advance(d time.Duration) []Decision {
	c.t.Helper()
	end := c.now.Add(max(d, 0))
	var decided []Decision
	for !c.next.IsZero() && !c.next.After(end) {
		if c.next.After(c.now) {
			c.now = c.next
		}
		decided = append(decided, c.decide()...)
	}
	c.now = end
	return decided
}

// Outage lets time go on while nobody leads. The leader who comes then decides what is due
// by the catch-up policy; that is returned.
func (c *Clock) Outage(d time.Duration) []Decision {
	c.t.Helper()
	c.now = c.now.Add(max(d, 0))
	c.beganAt = c.now
	if c.next.IsZero() || c.next.After(c.now) {
		return nil
	}
	return c.decide()
}

// decide decides what is due now.
func (c *Clock) decide() []Decision {
	for c.line > 0 && !c.busyUntil.After(c.now) {
		c.busyUntil = c.busyUntil.Add(c.runTime)
		c.line--
	}
	d := c.definition
	job := sql.DueJob{
		JobName: d.Name, Overlap: cmp.Or(d.Overlap, jobs.OverlapSkip), CatchUp: cmp.Or(d.CatchUp, jobs.CatchUpLatest),
		CatchUpLimit: cmp.Or(d.CatchUpLimit, jobs.CatchUpLimitDefault), NextRun: &c.next, Now: c.now,
		Unfinished: c.busyUntil.After(c.now), Queued: c.line > 0 && c.isQueued,
	}
	if d.CatchUpMaxAge > 0 {
		job.CatchUpMaxAge = &d.CatchUpMaxAge
	}
	rows := periodic.Decide(job, c.schedule, c.beganAt)
	decided := make([]Decision, 0, len(rows))
	for _, row := range rows {
		decision := Decision{Tick: row.Tick, At: c.now, Status: row.Status, Reason: row.Reason, Missed: row.MissedCount}
		if row.LastMissedTick != nil {
			decision.LastMissed = *row.LastMissedTick
		}
		switch decision.Status {
		case jobs.StatusPending:
			c.busyUntil = c.now.Add(c.runTime)
		case jobs.StatusWaiting:
			c.wait(row.Reason)
		default: // it does not run
		}
		decided = append(decided, decision)
	}
	c.next = c.schedule.Next(c.now)
	return decided
}

// wait puts a run in line, which is begun at once if nothing is under way.
func (c *Clock) wait(reason string) {
	if c.line == 0 && !c.busyUntil.After(c.now) {
		c.busyUntil = c.now.Add(c.runTime)
		return
	}
	c.line++
	c.isQueued = reason == periodic.ReasonQueued
}
