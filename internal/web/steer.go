package web

import (
	"context"
	"errors"
	"time"

	"github.com/systempromptio/scheduler"
)

// runRequest asks for a run.
type runRequest struct {
	// Parameters are set over the job's own.
	Parameters map[string]any `json:"parameters"`
	// DryRun leaves it to the job where it is not given.
	DryRun *bool `json:"dry_run"`
	// At is when; now where it is not given.
	At *time.Time `json:"at"`
}

// pauseRequest pauses a job, or the whole scheduler.
type pauseRequest struct {
	// Reason is required.
	Reason string `json:"reason"`
	// CancelRunning cancels, too, what has begun.
	CancelRunning bool `json:"cancel_running"`
}

// rescheduleRequest sets a schedule.
type rescheduleRequest struct {
	// Schedule is cron text; empty for the declared one.
	Schedule string `json:"schedule"`
}

// reasonRequest says why something is cancelled.
type reasonRequest struct {
	Reason string `json:"reason"`
}

// backfillRequest asks for past ticks.
type backfillRequest struct {
	// From and To bound the ticks, both included.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Limit is the number of runs at most, the oldest; all where it is not given.
	Limit int `json:"limit"`
	// Again runs ticks, too, that have succeeded.
	Again bool `json:"again"`
	// Parameters and DryRun are those of a run.
	Parameters map[string]any `json:"parameters"`
	DryRun     *bool          `json:"dry_run"`
}

func postRun(ctx context.Context, c *call) (any, error) {
	var request runRequest
	if err := c.body(&request); err != nil {
		return nil, err
	}
	var id int64
	var err error
	if request.At == nil {
		id, err = c.client.RunNow(ctx, c.name(), request.Parameters, request.DryRun)
	} else {
		id, err = c.client.RunAt(ctx, c.name(), *request.At, request.Parameters, request.DryRun)
	}
	if err != nil {
		return nil, err
	}
	run, err := c.client.Run(ctx, id)
	return accepted{run}, err
}

func postPause(ctx context.Context, c *call) (any, error) {
	var request pauseRequest
	if err := c.body(&request); err != nil {
		return nil, err
	}
	if err := c.client.Pause(ctx, c.name(), request.Reason, request.CancelRunning); err != nil {
		return nil, err
	}
	return c.client.Job(ctx, c.name())
}

func postResume(ctx context.Context, c *call) (any, error) {
	if err := c.body(&struct{}{}); err != nil {
		return nil, err
	}
	if err := c.client.Resume(ctx, c.name()); err != nil {
		return nil, err
	}
	return c.client.Job(ctx, c.name())
}

func postReschedule(ctx context.Context, c *call) (any, error) {
	var request rescheduleRequest
	if err := c.body(&request); err != nil {
		return nil, err
	}
	if err := c.client.Reschedule(ctx, c.name(), request.Schedule); err != nil {
		return nil, err
	}
	return c.client.Job(ctx, c.name())
}

func postEndRollout(ctx context.Context, c *call) (any, error) {
	if err := c.body(&struct{}{}); err != nil {
		return nil, err
	}
	if err := c.client.EndRollout(ctx, c.name()); err != nil {
		return nil, err
	}
	return c.client.Job(ctx, c.name())
}

func postBackfill(ctx context.Context, c *call) (any, error) {
	var request backfillRequest
	if err := c.body(&request); err != nil {
		return nil, err
	}
	if request.From.IsZero() || request.To.IsZero() {
		return nil, &badRequestError{errors.New("from and to are required")}
	}
	id, err := c.client.RequestBackfill(ctx, scheduler.BackfillRequest{
		JobName: c.name(), From: request.From, To: request.To, Limit: request.Limit, Again: request.Again,
		Parameters: request.Parameters, DryRun: request.DryRun,
	})
	if err != nil {
		return nil, err
	}
	backfill, err := c.client.Backfill(ctx, id)
	return accepted{backfill}, err
}

func postCancel(ctx context.Context, c *call) (any, error) {
	var request reasonRequest
	if err := c.body(&request); err != nil {
		return nil, err
	}
	return byID(ctx, c, func(ctx context.Context, id int64) (scheduler.Run, error) {
		if err := c.client.Cancel(ctx, id, request.Reason); err != nil {
			return scheduler.Run{}, err
		}
		return c.client.Run(ctx, id)
	})
}

func postCancelBackfill(ctx context.Context, c *call) (any, error) {
	var request reasonRequest
	if err := c.body(&request); err != nil {
		return nil, err
	}
	return byID(ctx, c, func(ctx context.Context, id int64) (map[string]int64, error) {
		n, err := c.client.CancelBackfill(ctx, id, request.Reason)
		return map[string]int64{"cancelled": n}, err
	})
}

func postPauseAll(ctx context.Context, c *call) (any, error) {
	var request pauseRequest
	if err := c.body(&request); err != nil {
		return nil, err
	}
	if err := c.client.PauseScheduler(ctx, request.Reason, request.CancelRunning); err != nil {
		return nil, err
	}
	return c.client.State(ctx)
}

func postResumeAll(ctx context.Context, c *call) (any, error) {
	if err := c.body(&struct{}{}); err != nil {
		return nil, err
	}
	if err := c.client.ResumeScheduler(ctx); err != nil {
		return nil, err
	}
	return c.client.State(ctx)
}
