package scheduler

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/systempromptio/scheduler/jobs"
)

// AgendaEntry is something that is going to run.
type AgendaEntry struct {
	// RunAt is when, by the database's clock; nil for what waits in line.
	RunAt   *time.Time   `json:"run_at"`
	JobName string       `json:"job_name"`
	Trigger jobs.Trigger `json:"trigger"`
	// Status is StatusPlanned for a tick, and otherwise the run's in the ledger: scheduled,
	// requested, waiting, pending or retrying.
	Status jobs.Status `json:"status"`
	// Count is the number of ticks that the entry stands for, from RunAt to Last; 1
	// for all but the jobs that have many.
	Count int64     `json:"count"`
	Last  time.Time `json:"last"`
	// Tick is the time that the run is for.
	Tick time.Time `json:"tick"`
	// Paused: the job is. A run whose time comes is then skipped, a line waits.
	Paused bool `json:"paused"`
	// RunID and RequestedBy are those of a run that is in the ledger already.
	RunID       *int64  `json:"run_id"`
	RequestedBy *string `json:"requested_by"`
}

// StatusPlanned is the status of an [AgendaEntry] that is a tick to come. No run of the
// ledger has it.
const StatusPlanned jobs.Status = "planned"

// agendaTicksMax is how many ticks of a job are listed one by one: those of an
// hourly job in a day.
const agendaTicksMax = 24

// Agenda lists what is going to run within a time from now, by the database's
// clock, what waits in line first, then by time: the ticks of all jobs that are planned, and the runs that
// were asked for. A job that has more than 24 ticks in that time is one entry with
// their count.
func (c *Client) Agenda(ctx context.Context, within time.Duration) ([]AgendaEntry, error) {
	planned, err := c.statements.AgendaJobs(ctx, c.pool)
	if err != nil {
		return nil, err
	}
	runs, err := c.statements.AgendaRuns(ctx, c.pool, within)
	if err != nil {
		return nil, err
	}
	entries := make([]AgendaEntry, 0, len(runs)+len(planned))
	for _, run := range runs {
		entries = append(entries, AgendaEntry{
			RunAt: run.RunAt, JobName: run.JobName, Trigger: run.Trigger, Status: run.Status, Count: 1, Last: run.Tick,
			Tick: run.Tick, Paused: run.Paused, RunID: &run.RunID, RequestedBy: run.RequestedBy,
		})
	}
	for _, job := range planned {
		tick := func(at, last time.Time, count int64) AgendaEntry {
			return AgendaEntry{
				RunAt: &at, JobName: job.JobName, Trigger: jobs.TriggerSchedule, Status: StatusPlanned, Count: count, Last: last, Tick: at,
			}
		}
		schedule, err := jobs.ParseSchedule(job.JobName, job.Schedule, job.Timezone)
		if err != nil {
			// The leader is of another version, and can.
			entries = append(entries, tick(job.NextRun, job.NextRun, 1))
			continue
		}
		after, end := job.NextRun.Add(-time.Microsecond), job.Now.Add(within)
		count, first, last := schedule.Count(after, end)
		if count > agendaTicksMax {
			entries = append(entries, tick(first, last, count))
			continue
		}
		for _, at := range schedule.Newest(int(count), after, end) {
			entries = append(entries, tick(at, at, 1))
		}
	}
	slices.SortStableFunc(entries, func(a, b AgendaEntry) int {
		return cmp.Or(orZero(a.RunAt).Compare(orZero(b.RunAt)), cmp.Compare(a.JobName, b.JobName))
	})
	return entries, nil
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// Now reads the database's clock, which decides everything.
func (c *Client) Now(ctx context.Context) (time.Time, error) {
	return c.statements.Clock(ctx, c.pool)
}
