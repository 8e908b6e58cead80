package periodic

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/systempromptio/scheduler/internal/metrics"
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

// decideTime bounds a transaction that decides one run after the other: each takes a
// few statements, and the database may be far away.
const decideTime = time.Second

// decideRuns decides a chunk of what a statement reads, oldest first.
func (l *lead) decideRuns(ctx context.Context, read func(ctx context.Context, tx pgx.Tx, limit int) ([]sql.RequestedRun, error)) (decided bool, err error) {
	err = l.decidingTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		runs, err := read(ctx, tx, chunk)
		if err != nil {
			return err
		}
		c := &caller{lead: l, jobs: make(map[string]*sql.DueJob), newest: make(map[string]int64)}
		for _, run := range runs {
			if run.Reason == "" {
				c.newest[run.JobName] = run.ID
			}
		}
		began := l.term.Elapsed()
		for _, run := range runs {
			if err := c.decide(ctx, tx, run); err != nil {
				return err
			}
			if l.term.Elapsed()-began > decideTime {
				break
			}
		}
		decided = c.runs > 0
		return c.insert(ctx, tx, c.inserts)
	})
	if err == nil {
		l.config.Metrics.RequestsDecided(l.decided)
	}
	return decided && err == nil, err
}

// caller decides runs in one transaction.
type caller struct {
	*lead

	// jobs are those that were read; nil is one that is not registered.
	jobs map[string]*sql.DueJob
	// newest is, of each job, the newest run that was asked for.
	newest  map[string]int64
	inserts []river.InsertManyParams
	// runs is the number of those that were decided.
	runs int
}

// job reads a run's job, once.
func (c *caller) job(ctx context.Context, tx pgx.Tx, name string) (*sql.DueJob, error) {
	if job, known := c.jobs[name]; known {
		return job, nil
	}
	job, err := c.config.Statements.JobForRun(ctx, tx, name)
	if err == nil {
		c.jobs[name] = job
	}
	return job, err
}

// decide decides one run: it is handed to River, put in line, refused, or left as
// it is, since its turn has not come.
func (c *caller) decide(ctx context.Context, tx pgx.Tx, run sql.RequestedRun) error {
	refuse := func(status jobs.Status, reason, errorText string) error {
		c.count(run, string(status), reason)
		return c.config.Statements.RefuseRun(ctx, tx, c.term.Number, run.ID, string(status), reason, errorText)
	}
	if c.config.Disabled {
		return refuse(jobs.StatusSkipped, ReasonDisabled, "")
	}
	job, err := c.job(ctx, tx, run.JobName)
	waits := run.Reason != "" // it is in line already
	switch {
	case err != nil:
		return err
	case job == nil:
		return refuse(jobs.StatusSkipped, ReasonUnregistered, "")
	case job.Paused:
		return refuse(jobs.StatusSkipped, ReasonPaused, "")
	case !job.Enabled && run.Trigger == jobs.TriggerSchedule:
		return refuse(jobs.StatusSkipped, ReasonJobDisabled, "")
	case job.Overlap == jobs.OverlapCancel && !waits && run.ID != c.newest[run.JobName]:
		return refuse(jobs.StatusSkipped, ReasonSuperseded, "")
	}
	parameters, err := c.resolve(*job, run.Parameters)
	if err != nil {
		return refuse(jobs.StatusFailed, ReasonInvalidParameters, err.Error())
	}
	at := c.placeOf(*job, run)
	if at == placeMade {
		still, err := c.makeRoom(ctx, tx, []string{run.JobName}, []int64{run.ID})
		if err != nil {
			return err
		}
		if at = placeNow; still[run.JobName] {
			at = placeLine
		}
	}
	switch {
	case at == placeNone:
		return refuse(jobs.StatusSkipped, ReasonOverlap, "")
	case at == placeLine && waits:
		return nil
	case at == placeLine:
		c.count(run, metrics.OutcomeWaiting, ReasonQueued)
		job.Queued = true
		return c.config.Statements.PutInLine(ctx, tx, []int64{run.ID})
	}
	return c.accept(ctx, tx, run, job, parameters)
}

// count counts a decision, and keeps it for the metrics.
func (c *caller) count(run sql.RequestedRun, outcome, reason string) {
	c.runs++
	c.decided = append(c.decided, metrics.Decided{Job: run.JobName, Tick: run.Tick, Trigger: string(run.Trigger), Outcome: outcome, Reason: reason})
}

func (c *caller) accept(ctx context.Context, tx pgx.Tx, run sql.RequestedRun, job *sql.DueJob, parameters []byte) error {
	c.count(run, metrics.OutcomeEnqueued, "")
	job.Unfinished = true
	if run.Reason == ReasonQueued && job.Overlap == jobs.OverlapCancel {
		if err := c.config.Statements.MarkStopped(ctx, tx, run.ID); err != nil {
			return err
		}
	}
	if err := c.config.Statements.AcceptRun(ctx, tx, c.term.Number, run, parameters); err != nil {
		return err
	}
	age := c.term.Now().Sub(run.Tick)
	if run.Reason == ReasonCatchUp || run.Trigger == jobs.TriggerBackfill {
		age = -1 // its tick lies in the past, and nobody waited for it since
	}
	c.inserts = append(c.inserts, c.insertParams(*job, jobs.Args{
		RunID: run.ID, Tick: run.Tick, Trigger: run.Trigger, DryRun: run.DryRun, Parameters: parameters,
	}, age))
	return nil
}

// placeOf is place for a run that may be in line already. One that overlap has put
// there makes room for itself, if that is the policy; one of a backfill or of a
// catch-up waits for its turn, whatever the policy.
func (c *caller) placeOf(job sql.DueJob, run sql.RequestedRun) where {
	if run.Reason == "" {
		return place(job)
	}
	switch {
	case !job.Unfinished || job.Overlap == jobs.OverlapAllow:
		return placeNow
	case run.Reason == ReasonQueued && job.Overlap == jobs.OverlapCancel:
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
		job, err := l.config.Statements.JobForRun(ctx, tx, backfill.JobName)
		if err != nil {
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
	after, upTo := backfill.FromTick.Add(-time.Nanosecond), backfill.ToTick
	if job.NextRun != nil && !job.NextRun.After(upTo) {
		// It is due and will be decided as every tick is.
		upTo = job.NextRun.Add(-time.Nanosecond)
	}
	total, _, _ := schedule.Count(after, upTo)
	if total > backfillTicksMax {
		return refused("the schedule has %d ticks between the two times, a backfill at most %d; choose times that are closer together", total, backfillTicksMax)
	}
	limit := backfillMax
	if backfill.RunLimit != nil {
		limit = *backfill.RunLimit
	}
	for seen := int64(0); seen < total; {
		candidates := make([]time.Time, 0, backfillChunk)
		for ; seen < total && len(candidates) < backfillChunk; seen++ {
			after = schedule.Next(after)
			candidates = append(candidates, after)
		}
		taken, err := l.config.Statements.TakenTicks(ctx, tx, backfill, candidates)
		if err != nil {
			return nil, 0, 0, "", err
		}
		leftOut += int64(len(taken))
		left := make(map[int64]bool, len(taken))
		for _, tick := range taken {
			left[tick.Unix()] = true
		}
		for _, tick := range candidates {
			switch {
			case left[tick.Unix()]:
			case len(ticks) < limit:
				ticks = append(ticks, tick)
			default:
				remaining++
			}
		}
	}
	if remaining > 0 && backfill.RunLimit == nil {
		return refused("there are %d ticks to run, and at most %d at a time; set a limit, or choose times that are closer together", int64(limit)+remaining, backfillMax)
	}
	return ticks, leftOut, remaining, "", nil
}
