package periodic

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// decideRequested decides the runs that were asked for and whose time has come.
func (l *lead) decideRequested(ctx context.Context) (decided bool, err error) {
	return l.decideRuns(ctx, l.config.Statements.RequestedRuns)
}

// decideWaiting lets the runs go on whose turn in their job's line has come.
func (l *lead) decideWaiting(ctx context.Context) (decided bool, err error) {
	return l.decideRuns(ctx, l.config.Statements.WaitingRuns)
}

// decideRuns decides what a statement reads, oldest first, a chunk in a
// transaction.
func (l *lead) decideRuns(ctx context.Context, read func(ctx context.Context, tx pgx.Tx, limit int) ([]sql.RequestedRun, error)) (decided bool, err error) {
	for {
		var n int
		err := l.term.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			runs, err := read(ctx, tx, chunk)
			if err != nil {
				return err
			}
			c := &caller{lead: l, jobs: make(map[string]*sql.DueJob)}
			for _, run := range runs {
				if err := c.decide(ctx, tx, run); err != nil {
					return err
				}
			}
			n = c.decided
			return c.flush(ctx, tx)
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

// caller decides runs in one transaction. It holds each job that was read and
// locked; nil is one that somebody else has locked.
type caller struct {
	*lead
	jobs    map[string]*sql.DueJob
	inserts []river.InsertManyParams
	decided int
}

// decide decides one run: it is handed to River, put in line, refused, or left as
// it is, since its job is locked or its turn has not come.
func (c *caller) decide(ctx context.Context, tx pgx.Tx, run sql.RequestedRun) error {
	refuse := func(status jobs.Status, reason, errorText string) error {
		c.decided++
		return c.config.Statements.RefuseRun(ctx, tx, c.term.Number, run.ID, string(status), reason, errorText)
	}
	if c.config.Disabled {
		return refuse(jobs.StatusSkipped, ReasonDisabled, "")
	}
	job, known := c.jobs[run.JobName]
	if !known {
		var registered bool
		var err error
		if job, registered, err = c.config.Statements.JobForRun(ctx, tx, run.JobName); err != nil {
			return err
		}
		if !registered {
			return refuse(jobs.StatusSkipped, ReasonUnregistered, "")
		}
		c.jobs[run.JobName] = job
	}
	switch {
	case job == nil:
		return nil
	case job.Paused:
		return refuse(jobs.StatusSkipped, ReasonPaused, "")
	}
	parameters, err := c.resolve(*job, run.Parameters)
	if err != nil {
		return refuse(jobs.StatusFailed, ReasonInvalidParameters, err.Error())
	}
	waits := run.Reason != "" // it is in line already
	switch c.placeOf(*job, run) {
	case placeNone:
		return refuse(jobs.StatusSkipped, ReasonOverlap, "")
	case placeLine:
		if waits {
			return nil
		}
		c.decided++
		job.Queued = true
		return c.config.Statements.PutInLine(ctx, tx, []int64{run.ID})
	case placeMade:
		// What was accepted a moment ago may have to make room, too.
		if err := c.flush(ctx, tx); err != nil {
			return err
		}
		still, err := c.makeRoom(ctx, tx, []string{run.JobName}, []int64{run.ID})
		if err != nil {
			return err
		}
		if still[run.JobName] {
			if waits {
				return nil
			}
			c.decided++
			job.Queued = true
			return c.config.Statements.PutInLine(ctx, tx, []int64{run.ID})
		}
	case placeNow:
	}
	c.decided++
	job.Unfinished = true
	if err := c.config.Statements.AcceptRun(ctx, tx, c.term.Number, run, parameters); err != nil {
		return err
	}
	c.inserts = append(c.inserts, insertParams(*job, jobs.Args{
		RunID: run.ID, Tick: run.Tick, Trigger: jobs.Trigger(run.Trigger), DryRun: run.DryRun, Parameters: parameters,
	}))
	return nil
}

// flush hands to River what was accepted.
func (c *caller) flush(ctx context.Context, tx pgx.Tx) error {
	inserts := c.inserts
	c.inserts = nil
	return c.insert(ctx, tx, inserts)
}

// placeOf is place for a run that may be in line already. One that overlap has put
// there makes room for itself, if that is the policy; one of a backfill or of a
// catch-up waits for its turn, whatever the policy.
func (c *caller) placeOf(job sql.DueJob, run sql.RequestedRun) where {
	if run.Reason == "" {
		return place(job)
	}
	switch {
	case !job.Unfinished || jobs.Overlap(job.Overlap) == jobs.OverlapAllow:
		return placeNow
	case run.Reason == ReasonQueued && jobs.Overlap(job.Overlap) == jobs.OverlapCancel:
		return placeMade
	}
	return placeLine
}

const (
	// backfillMax is how many runs a backfill has at most, as run_limit's CHECK has
	// it, and backfillTicksMax how many ticks it looks at.
	backfillMax      = 10_000
	backfillTicksMax = 100_000
	// backfillChunk is how many ticks it looks up at once.
	backfillChunk = 1000
)

// decideBackfill turns one backfill that was asked for into runs in line.
func (l *lead) decideBackfill(ctx context.Context) (decided bool, err error) {
	err = l.term.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		backfill, err := l.config.Statements.PendingBackfill(ctx, tx)
		if err != nil || backfill == nil {
			return err
		}
		job, registered, err := l.config.Statements.JobForRun(ctx, tx, backfill.JobName)
		if err != nil || registered && job == nil {
			return err
		}
		decided = true
		ticks, leftOut, remaining, refusal, err := l.backfillTicks(ctx, tx, *backfill, job)
		if err != nil {
			return err
		}
		if err := l.config.Statements.InsertBackfill(ctx, tx, l.term.Number, backfill.ID, ticks); err != nil {
			return err
		}
		return l.config.Statements.DecideBackfill(ctx, tx, backfill.ID, leftOut, remaining, refusal)
	})
	return decided && err == nil, err
}

// backfillTicks finds the ticks of a backfill, oldest first. A refusal says why
// there are none.
func (l *lead) backfillTicks(ctx context.Context, tx pgx.Tx, backfill sql.Backfill, job *sql.DueJob) (ticks []time.Time, leftOut, remaining int64, refusal string, err error) {
	refused := func(format string, args ...any) ([]time.Time, int64, int64, string, error) {
		return nil, 0, 0, fmt.Sprintf("job %q: ", backfill.JobName) + fmt.Sprintf(format, args...), nil
	}
	switch {
	case job == nil:
		return refused("the leader does not know it")
	case job.Paused:
		return refused("it is paused")
	case l.config.Disabled:
		return refused("the scheduler is disabled by its configuration")
	}
	schedule, err := l.parse(ctx, job.JobName, job.Schedule, job.Timezone)
	if err != nil {
		return refused("%v", err)
	}
	after := backfill.FromTick.Add(-time.Nanosecond)
	total, _, _ := schedule.Count(after, backfill.ToTick)
	if total > backfillTicksMax {
		return refused("the schedule has %d ticks between the two times, a backfill at most %d; choose times that are closer together", total, backfillTicksMax)
	}
	limit := backfillMax
	if backfill.RunLimit != nil {
		limit = *backfill.RunLimit
	}
	seen := int64(0)
	for seen < total && len(ticks) < limit {
		var candidates []time.Time
		for len(candidates) < backfillChunk && seen+int64(len(candidates)) < total {
			after = schedule.Next(after)
			candidates = append(candidates, after)
		}
		taken, err := l.config.Statements.TakenTicks(ctx, tx, backfill, candidates)
		if err != nil {
			return nil, 0, 0, "", err
		}
		for _, tick := range candidates {
			if len(ticks) == limit {
				break
			}
			seen++
			if slices.ContainsFunc(taken, tick.Equal) {
				leftOut++
				continue
			}
			ticks = append(ticks, tick)
		}
	}
	if remaining = total - seen; remaining > 0 && backfill.RunLimit == nil {
		return refused("there are more than %d ticks to run; set a limit, or choose times that are closer together", backfillMax)
	}
	return ticks, leftOut, remaining, "", nil
}
