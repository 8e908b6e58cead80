package jobs

// Status is the state of a run in the ledger.
type Status string

// The statuses of a run.
const (
	// StatusRequested: asked for, the leader has not decided yet.
	StatusRequested Status = "requested"
	// StatusScheduled: asked for at a time to come.
	StatusScheduled Status = "scheduled"
	// StatusWaiting: in line until the runs before it have ended.
	StatusWaiting Status = "waiting"
	// StatusPending: enqueued, waiting for a worker.
	StatusPending Status = "pending"
	// StatusRunning: being worked.
	StatusRunning Status = "running"
	// StatusRetrying: an attempt failed, another will follow.
	StatusRetrying Status = "retrying"
	// StatusSuccess: done.
	StatusSuccess Status = "success"
	// StatusFailed: given up after the last attempt.
	StatusFailed Status = "failed"
	// StatusCancelled: ended before it was done, on request.
	StatusCancelled Status = "cancelled"
	// StatusSkipped: not enqueued, by policy; see the run's reason.
	StatusSkipped Status = "skipped"
	// StatusMissed: not enqueued, because it could not be decided when it was due; see
	// the run's reason.
	StatusMissed Status = "missed"
	// StatusBlocked: ended before it changed anything, because a bound would have been
	// passed; see the run's error and
	// [Blocked].
	StatusBlocked Status = "blocked"
)

// Statuses lists every status, in the order of a run's life.
func Statuses() []Status {
	return []Status{
		StatusRequested, StatusScheduled, StatusWaiting, StatusPending, StatusRunning, StatusRetrying,
		StatusSuccess, StatusFailed, StatusCancelled, StatusSkipped, StatusMissed, StatusBlocked,
	}
}

// Ended says that a run in this status will not change any more.
func (s Status) Ended() bool {
	switch s {
	case StatusSuccess, StatusFailed, StatusCancelled, StatusSkipped, StatusMissed, StatusBlocked:
		return true
	case StatusRequested, StatusScheduled, StatusWaiting, StatusPending, StatusRunning, StatusRetrying:
		return false
	}
	return false
}

// Trigger says why a run exists.
type Trigger string

// The triggers of a run.
const (
	// TriggerSchedule: a tick of the job's schedule.
	TriggerSchedule Trigger = "schedule"
	// TriggerManual: somebody asked for it.
	TriggerManual Trigger = "manual"
	// TriggerBootstrap: a fleet started.
	TriggerBootstrap Trigger = "bootstrap"
	// TriggerBackfill: somebody asked for a past tick.
	TriggerBackfill Trigger = "backfill"
)
