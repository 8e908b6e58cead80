package periodic

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cron"
	"github.com/systempromptio/scheduler/sql"
)

// Reasons in the ledger.
const (
	// ReasonOverlap: the run before had not ended.
	ReasonOverlap = "overlap"
	// ReasonOutage: nobody led when the tick was due.
	ReasonOutage = "outage"
	// ReasonDisabled: the configuration disables the scheduler.
	ReasonDisabled = "scheduler_disabled"
	// ReasonPaused: the job was paused after the run was asked for.
	ReasonPaused = "paused"
	// ReasonUnregistered: the leader does not know the job.
	ReasonUnregistered = "unregistered"
	// ReasonInvalidParameters: the run's error says which.
	ReasonInvalidParameters = "invalid_parameters"
)

// decideDue decides every tick that is due, a chunk in a transaction.
func (l *lead) decideDue(ctx context.Context) (decided bool, err error) {
	for {
		var n int
		err := l.term.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			due, err := l.config.Statements.DueJobs(ctx, tx, chunk)
			if err != nil {
				return err
			}
			n = len(due)
			return l.decideTicks(ctx, tx, due)
		})
		if err != nil {
			return decided, err
		}
		decided = decided || n > 0
		if n < chunk {
			return decided, nil
		}
	}
}

// decideTicks writes the ledger, inserts River's jobs and moves next_run on.
func (l *lead) decideTicks(ctx context.Context, tx pgx.Tx, due []sql.DueJob) error {
	decisions := make([]sql.TickDecision, 0, len(due))
	advances := make([]sql.Advance, 0, len(due))
	byName := make(map[string]sql.DueJob, len(due))
	for _, job := range due {
		byName[job.JobName] = job
		schedule, problem := l.schedule(ctx, job.JobName, job.Schedule, job.ScheduleOverride, job.Timezone)
		if schedule == nil {
			advances = append(advances, sql.Advance{JobName: job.JobName, Problem: problem})
			continue
		}
		ticks := l.latest(job, schedule)
		decisions = append(decisions, ticks...)
		advance := sql.Advance{JobName: job.JobName, NextRun: timeOrNil(schedule.Next(job.Now))}
		if len(ticks) > 0 {
			advance.LastTick = &ticks[len(ticks)-1].Tick
		}
		advances = append(advances, advance)
	}

	decided, err := l.config.Statements.InsertTicks(ctx, tx, l.term.Number, decisions)
	if err != nil {
		return err
	}
	inserts := make([]river.InsertManyParams, 0, len(decided))
	enqueued := make(map[string]int64, len(decided))
	resolved := make(map[tickKey][]byte, len(decisions))
	for _, d := range decisions {
		resolved[tickKey{d.JobName, d.Tick.UnixMicro()}] = d.Parameters
	}
	for _, d := range decided {
		if jobs.Status(d.Status) != jobs.StatusPending {
			continue
		}
		job := byName[d.JobName]
		inserts = append(inserts, insertParams(job, jobs.Args{
			RunID: d.ID, Tick: d.Tick, Trigger: jobs.TriggerSchedule, DryRun: job.DryRun,
			Parameters: resolved[tickKey{d.JobName, d.Tick.UnixMicro()}],
		}))
		enqueued[d.JobName]++
	}
	for i := range advances {
		advances[i].Enqueued = enqueued[advances[i].JobName]
	}
	if err := l.insert(ctx, tx, inserts); err != nil {
		return err
	}
	return l.config.Statements.AdvanceJobs(ctx, tx, advances)
}

type tickKey struct {
	job   string
	micro int64
}

// latest decides the ticks of one job from next_run up to now, by the policy
// "latest": the newest is run, the others are one row of missed ones.
func (l *lead) latest(job sql.DueJob, schedule *cron.Schedule) []sql.TickDecision {
	before := job.NextRun.Add(-time.Nanosecond)
	count, first, last := schedule.Count(before, job.Now)
	if count == 0 {
		// The zone's rules changed since the run was planned.
		return nil
	}
	var decisions []sql.TickDecision
	if count > 1 {
		missed, _, lastMissed := schedule.Count(before, last.Add(-time.Nanosecond))
		decisions = append(decisions, sql.TickDecision{
			JobName: job.JobName, Tick: first, Status: string(jobs.StatusMissed), Reason: ReasonOutage,
			MissedCount: missed, LastMissedTick: &lastMissed, DryRun: job.DryRun,
		})
	}
	return append(decisions, l.decideTick(job, last))
}

// decideTick decides one tick by the overlap policy.
func (l *lead) decideTick(job sql.DueJob, tick time.Time) sql.TickDecision {
	decision := sql.TickDecision{JobName: job.JobName, Tick: tick, Status: string(jobs.StatusPending), DryRun: job.DryRun}
	parameters, err := l.resolve(job, nil)
	switch {
	case err != nil:
		decision.Status, decision.Reason = string(jobs.StatusSkipped), fmt.Sprintf("%s: %v", ReasonInvalidParameters, err)
	case job.Unfinished:
		decision.Status, decision.Reason = string(jobs.StatusSkipped), ReasonOverlap
	default:
		decision.Parameters = parameters
	}
	return decision
}

// decideRequested decides the runs that were asked for, oldest first.
func (l *lead) decideRequested(ctx context.Context) (decided bool, err error) {
	for {
		var n int
		err := l.term.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			requested, err := l.config.Statements.RequestedRuns(ctx, tx, chunk)
			if err != nil {
				return err
			}
			n = 0
			var inserts []river.InsertManyParams
			for _, run := range requested {
				insert, decided, err := l.decideRun(ctx, tx, run)
				if err != nil {
					return err
				}
				if decided {
					n++
				}
				if insert != nil {
					inserts = append(inserts, *insert)
				}
			}
			return l.insert(ctx, tx, inserts)
		})
		if err != nil {
			return decided, err
		}
		decided = decided || n > 0
		if n < chunk {
			return decided, nil
		}
	}
}

// decideRun decides one run that was asked for. Without an insert it was refused,
// or, if it is not decided, waits for somebody who has locked the job's row.
func (l *lead) decideRun(ctx context.Context, tx pgx.Tx, run sql.RequestedRun) (insert *river.InsertManyParams, decided bool, err error) {
	refuse := func(status jobs.Status, reason, errorText string) (*river.InsertManyParams, bool, error) {
		return nil, true, l.config.Statements.RefuseRun(ctx, tx, l.term.Number, run.ID, string(status), reason, errorText)
	}
	if l.config.Disabled {
		return refuse(jobs.StatusSkipped, ReasonDisabled, "")
	}
	job, registered, err := l.config.Statements.JobForRun(ctx, tx, run.JobName)
	switch {
	case err != nil:
		return nil, false, err
	case !registered:
		return refuse(jobs.StatusSkipped, ReasonUnregistered, "")
	case job == nil:
		return nil, false, nil
	case job.Paused:
		return refuse(jobs.StatusSkipped, ReasonPaused, "")
	}
	parameters, err := l.resolve(*job, run.Parameters)
	if err != nil {
		return refuse(jobs.StatusFailed, ReasonInvalidParameters, err.Error())
	}
	if job.Unfinished {
		return refuse(jobs.StatusSkipped, ReasonOverlap, "")
	}
	if err := l.config.Statements.AcceptRun(ctx, tx, l.term.Number, run, parameters); err != nil {
		return nil, false, err
	}
	params := insertParams(*job, jobs.Args{
		RunID: run.ID, Tick: run.Tick, Trigger: jobs.Trigger(run.Trigger), DryRun: run.DryRun, Parameters: parameters,
	})
	return &params, true, nil
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
	return json.Marshal(parameters)
}

func insertParams(job sql.DueJob, args jobs.Args) river.InsertManyParams {
	args.JobName, args.Timeout = job.JobName, job.Timeout
	return river.InsertManyParams{Args: args, InsertOpts: &river.InsertOpts{MaxAttempts: job.MaxAttempts}}
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
