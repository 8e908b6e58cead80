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

// plan computes the next run of every job that has none, and accounts for the
// ticks that a change of a job has left undecided, a chunk in a transaction.
func (l *lead) plan(ctx context.Context) (planned bool, err error) {
	for {
		var jobCount, spanCount int
		err := l.term.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			var unplanned []sql.UnplannedJob
			if !l.config.Disabled {
				var err error
				if unplanned, err = l.config.Statements.UnplannedJobs(ctx, tx, chunk); err != nil {
					return err
				}
			}
			// After the jobs were locked: so those of every change of theirs are here.
			spans, err := l.config.Statements.UndecidedSpans(ctx, tx, chunk)
			if err != nil {
				return err
			}
			jobCount, spanCount = len(unplanned), len(spans)
			if spanCount == chunk {
				// A job's newest may be among the others.
				unplanned = nil
			}
			return l.planJobs(ctx, tx, unplanned, spans)
		})
		if err != nil {
			return planned, err
		}
		planned = planned || jobCount > 0 || spanCount > 0
		if jobCount < chunk && spanCount < chunk {
			return planned, nil
		}
	}
}

func (l *lead) planJobs(ctx context.Context, tx pgx.Tx, unplanned []sql.UnplannedJob, spans []sql.UndecidedSpan) error {
	newest := make(map[string]sql.UndecidedSpan, len(spans))
	ids := make([]int64, 0, len(spans))
	for _, span := range spans {
		newest[span.JobName] = span
		ids = append(ids, span.ID)
	}
	resumed := make(map[int64]bool)
	plans := make([]sql.Plan, 0, len(unplanned))
	for _, job := range unplanned {
		var last *sql.UndecidedSpan
		if span, ok := newest[job.JobName]; ok && span.Reason == ReasonRescheduled {
			last = &span
		}
		plan, goesOn := l.planJob(ctx, job, last)
		if goesOn {
			resumed[last.ID] = true
		}
		plans = append(plans, plan)
	}
	var missed []decision
	for _, span := range spans {
		if resumed[span.ID] {
			continue
		}
		schedule, err := l.parse(ctx, span.JobName, span.Schedule, span.Timezone)
		if err != nil {
			continue // it never had a tick
		}
		if count, first, last := schedule.Count(span.After, span.UpTo); count > 0 {
			missed = append(missed, missedRow(span.JobName, schedule, span.Reason, span.DryRun, count, first, last))
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
	if len(plans) == 0 {
		return nil
	}
	return l.config.Statements.PlanJobs(ctx, tx, plans)
}

// planJob plans a job by what was set last or, if that cannot be read, by the
// former schedule, which so stays in force. If that is the one of the span that
// the change has closed, it goes on where it was, as if nothing had been changed.
func (l *lead) planJob(ctx context.Context, job sql.UnplannedJob, closed *sql.UndecidedSpan) (plan sql.Plan, goesOn bool) {
	text := job.Schedule
	if job.ScheduleOverride != nil {
		text = *job.ScheduleOverride
	}
	plan = sql.Plan{JobName: job.JobName, Schedule: text, TimeZone: job.Timezone}
	from := job.PlanFrom
	schedule, refusal := l.parse(ctx, job.JobName, text, job.Timezone)
	if refusal != nil {
		formers := make([]scheduleText, 0, 3)
		if closed != nil {
			formers = append(formers, scheduleText{closed.Schedule, closed.Timezone})
		}
		if job.GoodSchedule != nil && job.GoodTimezone != nil {
			formers = append(formers, scheduleText{*job.GoodSchedule, *job.GoodTimezone})
		}
		formers = append(formers, scheduleText{job.Schedule, job.Timezone})
		plan.Problem, plan.Schedule, plan.TimeZone = refusal.Error(), "", ""
		for i, former := range formers {
			var err error
			if schedule, err = l.parse(ctx, job.JobName, former.text, former.timeZone); err == nil {
				plan.Schedule, plan.TimeZone = former.text, former.timeZone
				plan.Problem = fmt.Sprintf("the schedule set last is not in force, the former one is, %q in %s: %v", former.text, former.timeZone, refusal)
				if goesOn = i == 0 && closed != nil; goesOn {
					from = closed.After
				}
				break
			}
		}
	}
	if schedule == nil {
		return plan, false
	}
	plan.NextRun = timeOrNil(schedule.Next(from))
	if plan.NextRun == nil && plan.Problem == "" {
		plan.Problem = "the schedule has no tick any more"
	}
	return plan, goesOn
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

type scheduleText struct{ text, timeZone string }

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
