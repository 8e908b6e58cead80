package periodic

import (
	"time"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cron"
	"github.com/systempromptio/scheduler/sql"
)

// onTime is the delay up to which a tick does not count as missed: twice the
// five seconds that a take-over may take from a leader that is cut off.
const onTime = 10 * time.Second

// decision is a row of the ledger, and what its ticks come from.
type decision struct {
	sql.TickDecision

	schedule *cron.Schedule
}

// Decide says what a leader decides about the ticks of one job, from job.NextRun up to
// job.Now, by its policies: it asks no database. The leader's term began at beganAt. The
// job's parameters are not looked at.
func Decide(job sql.DueJob, schedule *cron.Schedule, beganAt time.Time) []sql.TickDecision {
	decisions := ticksOf(job, schedule, beganAt, func(tick time.Time) sql.TickDecision {
		d := sql.TickDecision{JobName: job.JobName, Tick: tick, DryRun: job.DryRun}
		d.Status, d.Reason = statusOf(job)
		return d
	})
	rows := make([]sql.TickDecision, 0, len(decisions))
	for _, d := range decisions {
		rows = append(rows, d.TickDecision)
	}
	return rows
}

// ticksOf decides the ticks of one job from next_run up to now: which are run,
// by the catch-up policy; the others are one row of missed ones. What is due now, and not
// made up for, decideTick decides.
func ticksOf(job sql.DueJob, schedule *cron.Schedule, beganAt time.Time, decideTick func(tick time.Time) sql.TickDecision) []decision {
	before := job.NextRun.Add(-time.Microsecond)
	count, first, last := schedule.Count(before, job.Now)
	if count == 0 {
		// The zone's rules changed since the run was planned.
		return nil
	}
	run, reason := ticksToRun(job, schedule, beganAt, before, last, count)
	var decisions []decision
	missedUntil := job.Now
	if len(run) > 0 {
		missedUntil = run[0].Add(-time.Nanosecond)
	}
	if missed, _, lastMissed := schedule.Count(before, missedUntil); missed > 0 {
		decisions = append(decisions, missedRow(job.JobName, schedule, reason, job.DryRun, missed, first, lastMissed))
	}
	if len(run) == 1 && run[0].Equal(last) && (job.CatchUp != jobs.CatchUpAll || count == 1) {
		return append(decisions, decision{decideTick(last), schedule})
	}
	for _, tick := range run {
		decisions = append(decisions, decision{sql.TickDecision{
			JobName: job.JobName, Tick: tick, Status: jobs.StatusWaiting, Reason: ReasonCatchUp, DryRun: job.DryRun,
		}, schedule})
	}
	return decisions
}

// ticksToRun applies the catch-up policy to the ticks after before and up to last.
// The reason is that of those that are not run.
func ticksToRun(job sql.DueJob, schedule *cron.Schedule, beganAt, before, last time.Time, count int64) (run []time.Time, reason string) {
	policy, onTimeStill := job.CatchUp, job.Now.Sub(last) <= onTime
	reason = lateReason(beganAt, before)
	switch {
	case onTimeStill && (count == 1 || policy != jobs.CatchUpAll):
		return []time.Time{last}, reason
	case policy == jobs.CatchUpNone:
		return nil, reason
	}
	from := before
	if job.CatchUpMaxAge != nil {
		if oldest := job.Now.Add(-*job.CatchUpMaxAge - time.Nanosecond); oldest.After(from) {
			from = oldest
		}
	}
	if onTimeStill && !from.Before(last) {
		from = last.Add(-time.Nanosecond)
	}
	limit := 1
	if policy == jobs.CatchUpAll {
		limit = job.CatchUpLimit
	}
	within, _, _ := schedule.Count(from, job.Now)
	switch {
	case policy == jobs.CatchUpAll && within > int64(limit):
		reason = ReasonCatchUpLimit
	case within == 0, policy == jobs.CatchUpAll && within < count:
		reason = ReasonCatchUpMaxAge
	}
	return schedule.Newest(limit, from, job.Now), reason
}

// lateReason says why a tick was not decided when it was due.
func lateReason(beganAt, tick time.Time) string {
	if tick.Before(beganAt) {
		return ReasonOutage
	}
	return ReasonLate
}

func missedRow(job string, schedule *cron.Schedule, reason string, dryRun bool, count int64, first, last time.Time) decision {
	return decision{sql.TickDecision{
		JobName: job, Tick: first, Status: jobs.StatusMissed, Reason: reason,
		MissedCount: count, LastMissedTick: &last, DryRun: dryRun,
	}, schedule}
}

// where is what the overlap policy says about a new run.
type where int

const (
	// placeNow: it may run.
	placeNow where = iota
	// placeMade: it may run once what is unfinished or waits has made room.
	placeMade
	// placeLine: it waits.
	placeLine
	// placeNone: it is left out.
	placeNone
)

func place(job sql.DueJob) where {
	switch job.Overlap {
	case jobs.OverlapAllow:
		return placeNow
	case jobs.OverlapCancel:
		if job.Unfinished || job.Queued {
			return placeMade
		}
		return placeNow
	case jobs.OverlapQueue:
		switch {
		case job.Queued:
			return placeNone
		case job.Unfinished:
			return placeLine
		}
		return placeNow
	case jobs.OverlapSkip:
	}
	if job.Unfinished {
		return placeNone
	}
	return placeNow
}

// statusOf is what becomes of a tick that is due now, by the overlap policy, and why.
func statusOf(job sql.DueJob) (status jobs.Status, reason string) {
	switch place(job) {
	case placeNone:
		return jobs.StatusSkipped, ReasonOverlap
	case placeLine:
		return jobs.StatusWaiting, ReasonQueued
	case placeNow, placeMade:
	}
	return jobs.StatusPending, ""
}
