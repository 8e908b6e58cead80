package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// actorKey is the key of [WithActor].
type actorKey struct{}

// WithActor says on whose behalf a [Client] changes something with this context: the
// view operations shows it as the application, and so does the server's log. It is for
// programs that act for several people with one role of the database. What is not
// printable ASCII is left out, and so is what goes beyond 63 characters.
func WithActor(ctx context.Context, actor string) context.Context {
	actor = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, actor)
	return context.WithValue(ctx, actorKey{}, actor[:min(len(actor), 63)]) // NAMEDATALEN - 1
}

// change calls a function of the schema that changes something.
func (c *Client) change(ctx context.Context, do func(db sql.Querier) error) error {
	actor, _ := ctx.Value(actorKey{}).(string)
	if actor == "" {
		return c.translate(do(c.pool))
	}
	return c.translate(pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		if err := c.statements.ActAs(ctx, tx, actor); err != nil {
			return err
		}
		return do(tx)
	}))
}

// EndRollout ends a job's rollout before its time: its scheduled runs are real from
// now on. The error wraps jobs.ErrUnknownJob, or
// [ErrJobNotRunnable] if the job is not in rollout.
func (c *Client) EndRollout(ctx context.Context, jobName string) error {
	return c.change(ctx, func(db sql.Querier) error { return c.statements.EndDryRun(ctx, db, jobName) })
}

// RunNow asks for a run and returns its id. Parameters are set over the job's
// own; a nil dryRun leaves that to the job. The leader decides about it within
// milliseconds. The error wraps jobs.ErrUnknownJob, jobs.ErrInvalidParameter or
// [ErrJobNotRunnable]; then nothing was recorded.
func (c *Client) RunNow(ctx context.Context, name string, parameters map[string]any, dryRun *bool) (id int64, err error) {
	encoded, err := encodeParameters(name, parameters)
	if err != nil {
		return 0, err
	}
	err = c.change(ctx, func(db sql.Querier) (err error) {
		id, err = c.statements.RunNow(ctx, db, name, encoded, dryRun)
		return err
	})
	return id, err
}

// RunAt asks for one run at a time to come, by the database's clock, and returns
// its id. If nobody leads at that time, it is run as soon as somebody does. The
// errors are those of [Client.RunNow], and [ErrBadArgument] for a time that has
// passed.
func (c *Client) RunAt(ctx context.Context, name string, at time.Time, parameters map[string]any, dryRun *bool) (id int64, err error) {
	encoded, err := encodeParameters(name, parameters)
	if err != nil {
		return 0, err
	}
	err = c.change(ctx, func(db sql.Querier) (err error) {
		id, err = c.statements.RunAt(ctx, db, name, at, encoded, dryRun)
		return err
	})
	return id, err
}

func encodeParameters(name string, parameters map[string]any) ([]byte, error) {
	if parameters == nil {
		parameters = map[string]any{}
	}
	encoded, err := json.Marshal(parameters)
	if err != nil {
		return nil, fmt.Errorf("job %q: %w: %w", name, jobs.ErrInvalidParameter, err)
	}
	return encoded, nil
}

// Cancel cancels a run that has not ended; a reason is optional. One that runs is
// stopped at once, and what its committed batches did stays. The error wraps
// [ErrRunNotFound], or [ErrJobNotRunnable] if the run has ended.
func (c *Client) Cancel(ctx context.Context, id int64, reason string) error {
	return c.change(ctx, func(db sql.Querier) error { return c.statements.CancelRun(ctx, db, id, reason) })
}

// Pause stops a job from being enqueued until [Client.Resume]. A reason is
// required. A run that has begun goes on unless cancelRunning is set.
func (c *Client) Pause(ctx context.Context, name, reason string, cancelRunning bool) error {
	return c.change(ctx, func(db sql.Querier) error { return c.statements.PauseJob(ctx, db, name, reason, cancelRunning) })
}

// Resume lets a paused job run again, from now on. It is refused with
// [ErrJobNotRunnable] while the whole scheduler is paused.
func (c *Client) Resume(ctx context.Context, name string) error {
	return c.change(ctx, func(db sql.Querier) error { return c.statements.ResumeJob(ctx, db, name) })
}

// PauseScheduler pauses every job, also those that are declared later, until
// [Client.ResumeScheduler]. A reason is required.
func (c *Client) PauseScheduler(ctx context.Context, reason string, cancelRunning bool) error {
	return c.change(ctx, func(db sql.Querier) error { return c.statements.PauseScheduler(ctx, db, reason, cancelRunning) })
}

// ResumeScheduler ends [Client.PauseScheduler]. Jobs that were paused by
// themselves stay paused.
func (c *Client) ResumeScheduler(ctx context.Context) error {
	return c.change(ctx, func(db sql.Querier) error { return c.statements.ResumeScheduler(ctx, db) })
}

// Reschedule sets a job's schedule over the declared one; an empty one goes back
// to that. The leader plans the job's next run within milliseconds; until then Job.NextRun is
// nil. The error wraps jobs.ErrInvalidSchedule or jobs.ErrUnknownJob; then nothing was changed.
func (c *Client) Reschedule(ctx context.Context, name, schedule string) error {
	job, err := c.Job(ctx, name)
	if err != nil {
		return err
	}
	if schedule != "" {
		if err := jobs.CheckSchedule(name, schedule, job.Timezone); err != nil {
			return err
		}
	}
	return c.change(ctx, func(db sql.Querier) error { return c.statements.RescheduleJob(ctx, db, name, schedule) })
}

// BackfillRequest says which past ticks of a job are to be run.
type BackfillRequest struct {
	// JobName is the job's name. Required.
	JobName string
	// From and To bound the ticks, both included. To must not lie in the future.
	// Required.
	From, To time.Time
	// Limit is the number of runs at most, the oldest; 1 to 10000. Zero means all,
	// and is refused by the leader where there are more than 10000.
	Limit int
	// Again runs ticks, too, that have succeeded.
	Again bool
	// Parameters are set over the job's own.
	Parameters map[string]any
	// DryRun makes the runs report and change nothing. Nil leaves that to the job.
	DryRun *bool
}

// RequestBackfill asks for the runs of past ticks, oldest first and one after the
// other, and returns the backfill's id; see [Client.Backfill] for what became of
// it. The error wraps jobs.ErrUnknownJob, jobs.ErrInvalidParameter,
// [ErrJobNotRunnable] or [ErrBadArgument]; then nothing was recorded.
func (c *Client) RequestBackfill(ctx context.Context, request BackfillRequest) (id int64, err error) {
	encoded, err := encodeParameters(request.JobName, request.Parameters)
	if err != nil {
		return 0, err
	}
	backfill := sql.Backfill{
		JobName: request.JobName, FromTick: request.From, ToTick: request.To, Again: request.Again, Parameters: encoded,
	}
	if request.Limit != 0 {
		backfill.RunLimit = &request.Limit
	}
	err = c.change(ctx, func(db sql.Querier) (err error) {
		id, err = c.statements.RequestBackfill(ctx, db, backfill, request.DryRun)
		return err
	})
	return id, err
}

// CancelBackfill takes back the runs of a backfill that have not begun, and says
// how many. The one that runs goes on. The error wraps [ErrBackfillNotFound].
func (c *Client) CancelBackfill(ctx context.Context, id int64, reason string) (n int64, err error) {
	err = c.change(ctx, func(db sql.Querier) (err error) {
		n, err = c.statements.CancelBackfill(ctx, db, id, reason)
		return err
	})
	return n, err
}
