package main

import (
	"context"
	"fmt"
	"time"

	"github.com/systempromptio/scheduler"
)

// pausedWithAll says whether a job is paused with the whole scheduler, rather than by
// itself.
func pausedWithAll(job scheduler.Job, state scheduler.State) bool {
	return state.PausedAt != nil && job.PausedAt != nil && job.PausedAt.Equal(*state.PausedAt) &&
		orDash(job.PausedBy) == orDash(state.PausedBy) && orDash(job.PausedReason) == orDash(state.PausedReason)
}

// sinceText says since when something is paused, by whom and why.
func sinceText(at *time.Time, by, reason *string, now time.Time) string {
	text := "since " + timeText(at, now)
	if by != nil {
		text += " by " + *by
	}
	if reason != nil {
		text += ": " + *reason
	}
	return text
}

// schedulerPauseText says how the whole scheduler is paused, and how to end that.
func schedulerPauseText(state scheduler.State, now time.Time) string {
	return sinceText(state.PausedAt, state.PausedBy, state.PausedReason, now) + "; let it run again with: scheduler resume --all"
}

// pauseText says that a job is paused, or the whole scheduler, and how to end that;
// nothing if it is not paused.
func pauseText(ctx context.Context, client *scheduler.Client, job scheduler.Job, now time.Time) (string, error) {
	if job.PausedAt == nil {
		return "", nil
	}
	state, err := client.State(ctx)
	if err != nil {
		return "", err
	}
	if pausedWithAll(job, state) {
		return "the scheduler is paused " + schedulerPauseText(state, now), nil
	}
	return fmt.Sprintf("job %q is paused %s; let it run again with: scheduler resume %s",
		job.JobName, sinceText(job.PausedAt, job.PausedBy, job.PausedReason, now), job.JobName), nil
}
