package cli

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

// pausedText says that something was paused, or that it was before.
func pausedText(before, at *time.Time, by, reason *string, now time.Time) string {
	if before != nil && at != nil && before.Equal(*at) {
		return "was paused already, " + sinceText(at, by, reason, now)
	}
	return "is paused: " + orDash(reason)
}

// schedulerPauseText says how the whole scheduler is paused, and how to end that.
func schedulerPauseText(state scheduler.State, now time.Time) string {
	return sinceText(state.PausedAt, state.PausedBy, state.PausedReason, now) + "; let it run again with: scheduler resume --all"
}

// disabledText says since when the whole scheduler is disabled, and how to end that.
func disabledText(state scheduler.State, now time.Time) string {
	return "The scheduler is disabled by the leader's configuration since " + timeText(state.DisabledAt, now) +
		": no job has ticks until a leader has enabled: true (SCHEDULER_ENABLED)"
}

// stateNotes says what keeps the whole scheduler from running.
func stateNotes(state scheduler.State, now time.Time) []string {
	var notes []string
	if state.DisabledAt != nil {
		notes = append(notes, disabledText(state, now))
	}
	if state.PausedAt != nil {
		notes = append(notes, "The scheduler is paused "+schedulerPauseText(state, now))
	}
	return notes
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
