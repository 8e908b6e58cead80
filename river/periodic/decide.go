package periodic

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/systempromptio/scheduler/internal/metrics"
	"github.com/systempromptio/scheduler/internal/tracing"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cron"
	"github.com/systempromptio/scheduler/sql"
)

// Reasons in the ledger. The view runs says them in words.
const (
	// ReasonOverlap: the run before had not ended.
	ReasonOverlap = "overlap"
	// ReasonQueued: it waits, or waited, for the run before to end.
	ReasonQueued = "queued"
	// ReasonOutage: nobody led when the tick was due.
	ReasonOutage = "outage"
	// ReasonLate: somebody led, but could not decide the tick in time.
	ReasonLate = "late"
	// ReasonCatchUp: made up for.
	ReasonCatchUp = "catch_up"
	// ReasonCatchUpLimit and ReasonCatchUpMaxAge: not made up for.
	ReasonCatchUpLimit  = "catch_up_limit"
	ReasonCatchUpMaxAge = "catch_up_max_age"
	// ReasonRescheduled: the schedule was changed before the tick was decided.
	ReasonRescheduled = "rescheduled"
	// ReasonDisabled: the configuration disables the scheduler.
	ReasonDisabled = "scheduler_disabled"
	// ReasonSuperseded: a newer run took its place.
	ReasonSuperseded = "superseded"
	// ReasonJobDisabled: the job is disabled.
	ReasonJobDisabled = "disabled"
	// ReasonPaused: the job was paused after the run was asked for.
	ReasonPaused = "paused"
	// ReasonUnregistered: the leader does not know the job.
	ReasonUnregistered = "unregistered"
	// ReasonInvalidParameters: the run's error says which.
	ReasonInvalidParameters = "invalid_parameters"
)

const (
	// onTime is the delay up to which a tick does not count as missed: twice the
	// five seconds that a take-over may take from a leader that is cut off.
	onTime = 10 * time.Second

	// decisionsMax is how many rows of the ledger one transaction has before it takes no
	// further job: far below what a transaction of the leader may last.
	decisionsMax = jobs.CatchUpLimitMax / 2
)

// decision is a row of the ledger, and what its ticks come from.
type decision struct {
	sql.TickDecision

	schedule *cron.Schedule
}

// decideDue decides the ticks of the jobs that have been due for longest, a chunk of
// them: between two chunks the leader beats, and looks after everything else.
func (l *lead) decideDue(ctx context.Context) (decided bool, err error) {
	err = l.ticksTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		due, err := l.config.Statements.DueJobs(ctx, tx, chunk)
		if err != nil || len(due) == 0 {
			return err
		}
		decided = true
		return l.decideJobs(ctx, tx, due)
	})
	return decided && err == nil, err
}

// ticksTx runs a transaction that decides ticks, and tells the metrics when it has
// committed.
func (l *lead) ticksTx(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx) error) error {
	err := l.decidingTx(ctx, fn)
	if err == nil {
		l.config.Metrics.TicksDecided(l.term.Now(), l.decided)
	}
	return err
}

// decidingTx runs a transaction that decides, with nothing decided yet. When it has
// committed, what it has enqueued is traced.
func (l *lead) decidingTx(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx) error) error {
	l.decided, l.enqueued = nil, l.config.Tracer.Begin()
	err := l.term.Tx(ctx, fn)
	if err == nil {
		l.enqueued.End()
	}
	return err
}

// note keeps a decision about a tick for the metrics.
func (l *lead) note(d sql.TickDecision, outcome string) {
	tick := d.Tick
	if d.LastMissedTick != nil {
		tick = *d.LastMissedTick
	}
	l.decided = append(l.decided, metrics.Decided{Job: d.JobName, Tick: tick, Outcome: outcome, Reason: d.Reason, Count: d.MissedCount})
}

// decideJobs writes the ledger, inserts River's jobs and moves next_run on. What is
// too much to write at once, it leaves.
func (l *lead) decideJobs(ctx context.Context, tx pgx.Tx, due []sql.DueJob) error {
	var decisions []decision
	advances := make([]sql.Advance, 0, len(due))
	byName := make(map[string]*sql.DueJob, len(due))
	for i := range due {
		job := &due[i]
		if len(decisions) >= decisionsMax {
			break
		}
		byName[job.JobName] = job
		schedule, err := l.parse(ctx, job.JobName, job.Schedule, job.Timezone)
		if err != nil {
			advances = append(advances, sql.Advance{JobName: job.JobName, Problem: err.Error()})
			continue
		}
		ticks := l.decideJob(*job, schedule)
		decisions = append(decisions, ticks...)
		advance := sql.Advance{JobName: job.JobName, NextRun: timeOrNil(schedule.Next(job.Now))}
		if n := len(ticks); n > 0 {
			advance.LastTick = &ticks[n-1].Tick
			if ticks[n-1].LastMissedTick != nil {
				advance.LastTick = ticks[n-1].LastMissedTick
			}
		}
		advances = append(advances, advance)
	}
	decided, err := l.writeDecisions(ctx, tx, decisions)
	if err != nil {
		return err
	}
	enqueued, err := l.enqueueTicks(ctx, tx, byName, decided)
	if err != nil {
		return err
	}
	for i := range advances {
		advances[i].Enqueued = enqueued[advances[i].JobName]
	}
	return l.config.Statements.AdvanceJobs(ctx, tx, advances)
}

// decideJob decides the ticks of one job from next_run up to now: which are run,
// by the catch-up policy; the others are one row of missed ones.
func (l *lead) decideJob(job sql.DueJob, schedule *cron.Schedule) []decision {
	before := job.NextRun.Add(-time.Microsecond)
	count, first, last := schedule.Count(before, job.Now)
	if count == 0 {
		// The zone's rules changed since the run was planned.
		return nil
	}
	run, reason := l.ticksToRun(job, schedule, before, last, count)
	var decisions []decision
	missedUntil := job.Now
	if len(run) > 0 {
		missedUntil = run[0].Add(-time.Nanosecond)
	}
	if missed, _, lastMissed := schedule.Count(before, missedUntil); missed > 0 {
		decisions = append(decisions, missedRow(job.JobName, schedule, reason, job.DryRun, missed, first, lastMissed))
	}
	if len(run) == 1 && run[0].Equal(last) && (jobs.CatchUp(job.CatchUp) != jobs.CatchUpAll || count == 1) {
		return append(decisions, decision{l.decideTick(job, last), schedule})
	}
	for _, tick := range run {
		decisions = append(decisions, decision{sql.TickDecision{
			JobName: job.JobName, Tick: tick, Status: string(jobs.StatusWaiting), Reason: ReasonCatchUp, DryRun: job.DryRun,
		}, schedule})
	}
	return decisions
}

// ticksToRun applies the catch-up policy to the ticks after before and up to last.
// The reason is that of those that are not run.
func (l *lead) ticksToRun(job sql.DueJob, schedule *cron.Schedule, before, last time.Time, count int64) (run []time.Time, reason string) {
	policy, onTimeStill := jobs.CatchUp(job.CatchUp), job.Now.Sub(last) <= onTime
	reason = l.lateReason(before)
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
func (l *lead) lateReason(tick time.Time) string {
	if tick.Before(l.term.BeganAt()) {
		return ReasonOutage
	}
	return ReasonLate
}

func missedRow(job string, schedule *cron.Schedule, reason string, dryRun bool, count int64, first, last time.Time) decision {
	return decision{sql.TickDecision{
		JobName: job, Tick: first, Status: string(jobs.StatusMissed), Reason: reason,
		MissedCount: count, LastMissedTick: &last, DryRun: dryRun,
	}, schedule}
}

// decideTick decides one tick that is due now, by the overlap policy.
func (l *lead) decideTick(job sql.DueJob, tick time.Time) sql.TickDecision {
	d := sql.TickDecision{JobName: job.JobName, Tick: tick, Status: string(jobs.StatusPending), DryRun: job.DryRun}
	parameters, err := l.resolve(job, nil)
	if err != nil {
		d.Status, d.Reason = string(jobs.StatusSkipped), fmt.Sprintf("%s: %v", ReasonInvalidParameters, err)
		return d
	}
	switch place(job) {
	case placeNone:
		d.Status, d.Reason = string(jobs.StatusSkipped), ReasonOverlap
	case placeLine:
		d.Status, d.Reason = string(jobs.StatusWaiting), ReasonQueued
	case placeNow, placeMade:
		d.Parameters = parameters
	}
	return d
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
	switch jobs.Overlap(job.Overlap) {
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

// writeDecisions writes rows of the ledger. A tick that is in it already is not
// decided again; of a row of missed ticks, those that are in it are left out.
func (l *lead) writeDecisions(ctx context.Context, tx pgx.Tx, decisions []decision) ([]decidedTick, error) {
	rows := make([]sql.TickDecision, 0, len(decisions))
	for _, d := range decisions {
		rows = append(rows, d.TickDecision)
	}
	written, err := l.config.Statements.InsertTicks(ctx, tx, l.term.Number, rows)
	if err != nil {
		return nil, err
	}
	ids := make(map[tickKey]int64, len(written))
	for _, tick := range written {
		ids[keyOf(tick.JobName, tick.Tick)] = tick.ID
	}
	var decided []decidedTick
	var rest []sql.TickDecision
	for _, d := range decisions {
		if id, ok := ids[keyOf(d.JobName, d.Tick)]; ok {
			decided = append(decided, decidedTick{d.TickDecision, id})
			continue
		}
		if d.LastMissedTick == nil {
			continue
		}
		known, err := l.config.Statements.LastDecided(ctx, tx, d.JobName, d.Tick, *d.LastMissedTick)
		if err != nil {
			return nil, err
		}
		if known == nil {
			continue
		}
		if count, first, last := d.schedule.Count(*known, *d.LastMissedTick); count > 0 {
			rest = append(rest, missedRow(d.JobName, nil, d.Reason, d.DryRun, count, first, last).TickDecision)
		}
	}
	for _, d := range decided {
		if d.Status != string(jobs.StatusPending) { // what becomes of it is not known yet
			l.note(d.TickDecision, d.Status)
		}
	}
	for _, d := range rest {
		l.note(d, d.Status)
	}
	if len(rest) > 0 {
		_, err = l.config.Statements.InsertTicks(ctx, tx, l.term.Number, rest)
	}
	return decided, err
}

// decidedTick is a row that was written.
type decidedTick struct {
	sql.TickDecision

	id int64
}

type tickKey struct {
	job   string
	micro int64
}

func keyOf(job string, tick time.Time) tickKey { return tickKey{job, tick.UnixMicro()} }

// enqueueTicks hands what was decided to run to River, and counts it by job.
func (l *lead) enqueueTicks(ctx context.Context, tx pgx.Tx, byName map[string]*sql.DueJob, decided []decidedTick) (map[string]int64, error) {
	var crowded []string
	var newer []int64
	for _, d := range decided {
		if job := byName[d.JobName]; d.Status == string(jobs.StatusPending) && place(*job) == placeMade {
			crowded = append(crowded, d.JobName)
			newer = append(newer, d.id)
		}
	}
	still, err := l.makeRoom(ctx, tx, crowded, newer)
	if err != nil {
		return nil, err
	}
	enqueued := make(map[string]int64, len(decided))
	var inserts []river.InsertManyParams
	var inLine []int64
	for _, d := range decided {
		switch {
		case d.Status != string(jobs.StatusPending):
		case still[d.JobName]:
			inLine = append(inLine, d.id)
			d.Reason = ReasonQueued
			l.note(d.TickDecision, metrics.OutcomeWaiting)
		default:
			job := byName[d.JobName]
			inserts = append(inserts, l.insertParams(*job, jobs.Args{
				RunID: d.id, Tick: d.Tick, Trigger: jobs.TriggerSchedule, DryRun: job.DryRun, Parameters: d.Parameters,
			}, l.term.Now().Sub(d.Tick)))
			enqueued[d.JobName]++
			l.note(d.TickDecision, metrics.OutcomeEnqueued)
		}
	}
	if len(inLine) > 0 {
		if err := l.config.Statements.PutInLine(ctx, tx, inLine); err != nil {
			return nil, err
		}
	}
	return enqueued, l.insert(ctx, tx, inserts)
}

// makeRoom cancels what is unfinished of some jobs, and ends what overlap has put
// in line there, for the sake of newer runs. It returns the jobs of which
// something is still unfinished: it was told to stop.
func (l *lead) makeRoom(ctx context.Context, tx pgx.Tx, jobNames []string, newer []int64) (map[string]bool, error) {
	if len(jobNames) == 0 {
		return nil, nil //nolint:nilnil // a nil map holds nothing
	}
	names, err := l.config.Statements.CancelUnfinished(ctx, tx, jobNames)
	if err != nil {
		return nil, err
	}
	still := make(map[string]bool, len(names))
	for _, name := range names {
		still[name] = true
	}
	return still, l.config.Statements.SupersedeQueued(ctx, tx, jobNames, newer)
}

// resolve checks a run's parameters over the job's own over the defaults.
func (l *lead) resolve(job sql.DueJob, given []byte) ([]byte, error) {
	definition, ok := l.definitions[job.JobName]
	if !ok {
		return nil, fmt.Errorf("job %q: %w", job.JobName, jobs.ErrUnknownJob)
	}
	parameters, err := jobs.ResolveJSON(definition, job.Parameters, given)
	if err != nil {
		return nil, err
	}
	return json.Marshal(parameters.WithoutDefaults(definition))
}

// insertParams makes what River inserts. Age is how long ago the run was due or asked
// for, negative if that is no beginning.
func (l *lead) insertParams(job sql.DueJob, args jobs.Args, age time.Duration) river.InsertManyParams {
	args.JobName, args.Timeout = job.JobName, job.Timeout
	metadata := l.config.Tracer.Enqueue(&l.enqueued, tracing.Run{
		Job: args.JobName, ID: args.RunID, Tick: args.Tick, Trigger: string(args.Trigger), DryRun: args.DryRun,
	}, l.term.Number, age)
	return river.InsertManyParams{Args: args, InsertOpts: &river.InsertOpts{MaxAttempts: job.MaxAttempts, Metadata: metadata}}
}

// insert is the one path on which River jobs come into being.
func (l *lead) insert(ctx context.Context, tx pgx.Tx, inserts []river.InsertManyParams) error {
	if len(inserts) == 0 {
		return nil
	}
	if _, err := l.inserter.InsertManyFastTx(ctx, tx, inserts); err != nil {
		return fmt.Errorf("insert River's jobs: %w", err)
	}
	return l.config.Statements.NotifyInsert(ctx, tx, []string{river.QueueDefault})
}
