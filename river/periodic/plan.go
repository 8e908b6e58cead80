package periodic

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cron"
	"github.com/systempromptio/scheduler/sql"
)

// plan computes the next run of jobs that have none, and accounts for the ticks
// that a change of a job has left undecided, a chunk of jobs at a time.
func (l *lead) plan(ctx context.Context) (planned bool, err error) {
	err = l.ticksTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		toPlan, err := l.config.Statements.JobsToPlan(ctx, tx, l.config.Disabled, chunk)
		if err != nil || len(toPlan) == 0 {
			return err
		}
		planned = true
		names := make([]string, 0, len(toPlan))
		for _, job := range toPlan {
			names = append(names, job.JobName)
		}
		// After the jobs were locked: so those of every change of theirs are here.
		undecided, err := l.config.Statements.UndecidedSpans(ctx, tx, names)
		if err != nil {
			return err
		}
		return l.planJobs(ctx, tx, toPlan, undecided)
	})
	return planned && err == nil, err
}

// span is an undecided span with the schedule that was in force in it; nil if there
// was none that could be read.
type span struct {
	sql.UndecidedSpan

	text     scheduleText
	schedule *cron.Schedule
	// resumed: its ticks are decided after all.
	resumed bool
}

type scheduleText struct{ text, timeZone string }

func (l *lead) planJobs(ctx context.Context, tx pgx.Tx, toPlan []sql.JobToPlan, undecided []sql.UndecidedSpan) error {
	ids := make([]int64, 0, len(undecided))
	ofJob := make(map[string][]sql.UndecidedSpan)
	for _, u := range undecided {
		ids = append(ids, u.ID)
		ofJob[u.JobName] = append(ofJob[u.JobName], u)
	}
	plans := make([]sql.Plan, 0, len(toPlan))
	var missed []decision
	for _, job := range toPlan {
		spans, good := l.readSpans(ctx, job, ofJob[job.JobName])
		plans = append(plans, l.planJob(ctx, job, spans, good))
		for _, s := range spans {
			if s.resumed || s.schedule == nil {
				continue
			}
			if count, first, last := s.schedule.Count(s.After, s.UpTo); count > 0 {
				reason := s.Reason
				if s.WasActive && s.UpTo.Sub(first) > onTime {
					// They were missed before the change.
					reason = l.lateReason(first)
				}
				missed = append(missed, missedRow(s.JobName, s.schedule, reason, s.DryRun, count, first, last))
			}
		}
	}
	if len(missed) > 0 {
		if _, err := l.writeDecisions(ctx, tx, missed); err != nil {
			return err
		}
	}
	if len(ids) > 0 {
		if err := l.config.Statements.DeleteSpans(ctx, tx, ids); err != nil {
			return err
		}
	}
	return l.config.Statements.PlanJobs(ctx, tx, plans)
}

// readSpans finds the schedule that was in force in each span: its own or, if that
// cannot be read, the one before it. The last of them is the former one; empty if
// there is none.
func (l *lead) readSpans(ctx context.Context, job sql.JobToPlan, undecided []sql.UndecidedSpan) (spans []*span, former scheduleText) {
	var schedule *cron.Schedule
	read := func(text, timeZone string) {
		if readable, err := l.parse(ctx, job.JobName, text, timeZone); err == nil {
			schedule, former = readable, scheduleText{text, timeZone}
		}
	}
	if job.GoodSchedule != nil && job.GoodTimezone != nil {
		read(*job.GoodSchedule, *job.GoodTimezone)
	}
	for _, u := range undecided {
		read(u.Schedule, u.Timezone)
		spans = append(spans, &span{UndecidedSpan: u, text: former, schedule: schedule})
	}
	return spans, former
}

// planJob plans a job by what was set last or, if that cannot be read, by the
// former schedule, which so stays in force: the spans that the changes have closed
// go on, as if nothing had been changed. Where the job may not run, only what is to
// be said of its schedule is planned.
func (l *lead) planJob(ctx context.Context, job sql.JobToPlan, spans []*span, former scheduleText) sql.Plan {
	text := scheduleText{job.Schedule, job.Timezone}
	if job.ScheduleOverride != nil {
		text.text = *job.ScheduleOverride
	}
	plan := sql.Plan{JobName: job.JobName, NextRun: job.NextRun}
	from := job.PlanFrom
	schedule, refusal := l.parse(ctx, job.JobName, text.text, text.timeZone)
	if refusal != nil {
		plan.Problem = refusal.Error()
		if former.text == "" {
			// Nothing else was ever read.
			former = scheduleText{job.Schedule, job.Timezone}
		}
		var err error
		if schedule, err = l.parse(ctx, job.JobName, former.text, former.timeZone); err == nil {
			text = former
			plan.Problem = fmt.Sprintf("the schedule set last is not in force, the former one is, %q in %s: %v", text.text, text.timeZone, refusal)
		}
	}
	if schedule == nil {
		return plan
	}
	plan.Schedule, plan.TimeZone = text.text, text.timeZone
	switch {
	case !job.Active || l.config.Disabled, job.NextRun != nil && (refusal != nil || !job.HasProblem):
		return plan
	case job.NextRun != nil:
		// What could not be read, this leader can read.
		from = job.NextRun.Add(-time.Microsecond)
	}
	for i := len(spans) - 1; refusal != nil && i >= 0 && spans[i].Reason == ReasonRescheduled && spans[i].text == text; i-- {
		from, spans[i].resumed = spans[i].After, true
	}
	plan.NextRun = timeOrNil(schedule.Next(from))
	if plan.NextRun == nil && plan.Problem == "" {
		plan.Problem = "the schedule has no tick any more"
	}
	return plan
}

// verifyPlans looks once a term whether every planned run is still the first tick to
// come. It is not if this program's time zone data differ from those of the one that
// planned it, or if somebody has written into next_run.
func (l *lead) verifyPlans(ctx context.Context) error {
	return l.term.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		planned, err := l.config.Statements.PlannedJobs(ctx, tx)
		if err != nil {
			return err
		}
		var wrong []sql.PlannedJob
		var nextRuns []*time.Time
		for _, job := range planned {
			schedule, err := l.parse(ctx, job.JobName, job.Schedule, job.Timezone)
			if err != nil {
				continue // told, and decided when it is due
			}
			if next := schedule.Next(job.After); !next.Equal(job.NextRun) {
				wrong = append(wrong, job)
				nextRuns = append(nextRuns, timeOrNil(next))
				l.config.Logger.WarnContext(ctx, "a job was planned by other time zone data, or by hand; its next run is corrected",
					slog.String("job", job.JobName), slog.Time("was", job.NextRun), slog.Time("next_run", next))
			}
		}
		if len(wrong) == 0 {
			return nil
		}
		return l.config.Statements.CorrectPlans(ctx, tx, wrong, nextRuns)
	})
}

// parse remembers what it has parsed, and what it could not: the schedules of a
// fleet are few and do not change often. A text that cannot be read is told once.
func (s *Service) parse(ctx context.Context, job, text, timeZone string) (*cron.Schedule, error) {
	key := scheduleKey{job, text, timeZone}
	if known, ok := s.schedules[key]; ok {
		return known.schedule, known.err
	}
	if len(s.schedules) > 10*len(s.definitions)+1000 {
		clear(s.schedules)
	}
	schedule, err := jobs.ParseSchedule(job, text, timeZone)
	if err != nil {
		s.config.Logger.WarnContext(ctx, "a job's schedule cannot be read; the former one, if there is any, stays in force",
			slog.String("job", job), slog.Any("error", err))
	}
	s.schedules[key] = parsedSchedule{schedule, err}
	return schedule, err
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
