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
	// decisionsMax is how many rows of the ledger one transaction has before it takes no
	// further job: far below what a transaction of the leader may last.
	decisionsMax = jobs.CatchUpLimitMax / 2
)

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

// lateReason says why a tick was not decided when it was due.
func (l *lead) lateReason(tick time.Time) string {
	return lateReason(l.term.BeganAt(), tick)
}

// decideJob decides the ticks of one job from next_run up to now.
func (l *lead) decideJob(job sql.DueJob, schedule *cron.Schedule) []decision {
	return ticksOf(job, schedule, l.term.BeganAt(), func(tick time.Time) sql.TickDecision { return l.decideTick(job, tick) })
}

// decideTick decides one tick that is due now, by the overlap policy.
func (l *lead) decideTick(job sql.DueJob, tick time.Time) sql.TickDecision {
	d := sql.TickDecision{JobName: job.JobName, Tick: tick, Status: jobs.StatusPending, DryRun: job.DryRun}
	parameters, err := l.resolve(job, nil)
	if err != nil {
		d.Status, d.Reason = jobs.StatusSkipped, fmt.Sprintf("%s: %v", ReasonInvalidParameters, err)
		return d
	}
	if d.Status, d.Reason = statusOf(job); d.Status == jobs.StatusPending {
		d.Parameters = parameters
	}
	return d
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
		if d.Status != jobs.StatusPending { // what becomes of it is not known yet
			l.note(d.TickDecision, string(d.Status))
		}
	}
	for _, d := range rest {
		l.note(d, string(d.Status))
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
		if job := byName[d.JobName]; d.Status == jobs.StatusPending && place(*job) == placeMade {
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
		case d.Status != jobs.StatusPending:
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
