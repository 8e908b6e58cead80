package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/systempromptio/scheduler/internal/connection"
	"github.com/systempromptio/scheduler/internal/metrics"
	"github.com/systempromptio/scheduler/internal/runlog"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// unreported ends an attempt without a report by River's executor, whose
// statement asks for neither attempt nor replica and so could fail or complete a
// successor's attempt: one that has begun since, or, after a failover that lost this
// attempt's end, the same run. The executor takes an error of this shape for the result
// of several jobs and reports each one; here there are none.
// (internal/jobexecutor, withJobsAndErrorsByID, River 0.51; a test holds it.)
type unreported struct{ reason string }

func (e unreported) Error() string { return e.reason }

// Jobs lists the jobs that River's executor reports: none.
func (unreported) Jobs() []*rivertype.JobRow { return nil }

// ErrorsByID gives their errors: none.
func (unreported) ErrorsByID() map[int64]error { return nil }

// end records how an attempt ended that did not complete.
func (a *attempt) end(ctx, presence context.Context, cause error, trace string) error {
	ctxCause := context.Cause(ctx)
	switch {
	case errors.Is(cause, errAttemptLost):
		// If it is in charge all the same, nobody else would end the run: the job has changed
		// or deleted rows of the run in its transaction, which is rolled back.
		return a.fail(ctx, sql.Failure{
			Error:   errAttemptLost.Error() + ", though nobody else is: has the job changed river_job or job_runs in its transaction?",
			Backoff: a.backoff(cause),
		})
	case errors.Is(ctxCause, rivertype.ErrJobCancelledRemotely):
		return a.fail(ctx, sql.Failure{Error: "cancelled: " + textOf(cause), Trace: trace, Cancelled: true})
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		cause = fmt.Errorf("timed out after %v: %w", a.Timeout(a.riverJob), cause)
	case ctx.Err() != nil, presence.Err() != nil:
		return a.giveBack(ctx, sql.Interruption{})
	case a.broke(cause) && a.interruptions() < interruptionsMax:
		return a.giveBack(ctx, sql.Interruption{Error: "interrupted: " + textOf(cause), Wait: a.interruptionWait()})
	}
	return a.fail(ctx, sql.Failure{
		Error: textOf(cause), Trace: runlog.Clean(trace, errorMax), Permanent: jobs.IsPermanent(cause), Blocked: jobs.IsBlocked(cause), Backoff: a.backoff(cause),
	})
}

// errorMax cuts the text of an error, and a stack, in bytes.
const errorMax = 64 << 10

// textOf is an error's text, whatever its methods do, so that Postgres can store it.
func textOf(err error) string { return runlog.Clean(fmt.Sprintf("%v", err), errorMax) }

// backoff is the wait before the next attempt.
func (a *attempt) backoff(cause error) time.Duration {
	if wait, ok := jobs.RetryWait(cause); ok {
		return wait
	}
	if a.definition.BackoffFunc != nil {
		if wait, ok := backoffOf(a.definition.BackoffFunc, a.riverJob.Attempt); ok {
			return max(wait, 0)
		}
		a.logger.Warn("the job's BackoffFunc panicked; River's default is used")
	}
	// River counts the errors, of which interruptions leave some, too.
	row := *a.riverJob.JobRow
	row.Errors = row.Errors[:min(len(row.Errors), max(row.Attempt-1, 0))]
	policy := &river.DefaultClientRetryPolicy{}
	return max(time.Until(policy.NextRetry(&row)), 0)
}

// backoffOf asks a job; false if it panics.
func backoffOf(fn func(attempt int) time.Duration, attempt int) (wait time.Duration, ok bool) {
	defer func() {
		if recover() != nil {
			wait, ok = 0, false
		}
	}()
	return fn(attempt), true
}

func (a *attempt) fail(ctx context.Context, failure sql.Failure) error {
	var state string
	ended, settled := a.settle(ctx, func(ctx context.Context, tx pgx.Tx) (ended bool, err error) {
		state, ended, err = a.config.Statements.FailAttempt(ctx, tx, a.id, failure)
		if ended && err == nil {
			a.storeLog(ctx, tx)
		}
		return ended, err
	})
	if settled && !ended {
		lost := a.lost(ctx)
		if failure.Cancelled {
			// Whoever did it has ended River's row already.
			a.outcome = metrics.StatusCancelled
		}
		return lost
	}
	if settled {
		a.outcome = outcomeOf(state, failure)
	}
	if failure.Blocked {
		a.logger.WarnContext(ctx, "the run is blocked: a bound would be passed; it has ended before it changed anything",
			slog.String("error", failure.Error), slog.String("river_state", state))
		return unreported{failure.Error}
	}
	a.logger.ErrorContext(ctx, "the attempt failed", slog.String("error", failure.Error), slog.String("river_state", state),
		slog.Duration("backoff", failure.Backoff), slog.String("trace", failure.Trace))
	return unreported{failure.Error}
}

// outcomeOf is what the metrics call the end of an attempt that has failed.
func outcomeOf(state string, failure sql.Failure) string {
	switch rivertype.JobState(state) {
	case rivertype.JobStateCancelled:
		return metrics.StatusCancelled
	case rivertype.JobStateDiscarded:
		if failure.Blocked {
			return metrics.StatusBlocked
		}
		return metrics.StatusFailed
	case rivertype.JobStateAvailable, rivertype.JobStateCompleted, rivertype.JobStatePending, rivertype.JobStateRetryable,
		rivertype.JobStateRunning, rivertype.JobStateScheduled:
	}
	return metrics.OutcomeRetrying
}

const (
	// interruptionsMax is how often a run may break off because the database goes
	// away without that counting as an attempt. A job that is itself what breaks the
	// server must end some time.
	interruptionsMax = 20

	interruptionWaitMin = 250 * time.Millisecond
	interruptionWaitMax = 4 * time.Second
)

// broke says whether an attempt broke off because the database went away. What the
// job has to do with others does not count, whatever error that gives.
func (a *attempt) broke(cause error) bool {
	if _, ok := errors.AsType[*interruptedError](cause); ok {
		return true
	}
	return a.beside.isBroken() && !errors.Is(cause, context.DeadlineExceeded)
}

// interruptions is how often the run has broken off so.
func (a *attempt) interruptions() int {
	var metadata struct {
		Interruptions int `json:"scheduler:interruptions"`
	}
	// What is no number, somebody else has written: it counts as none.
	_ = json.Unmarshal(a.riverJob.Metadata, &metadata)
	return metadata.Interruptions
}

// interruptionWait doubles with each interruption, and is never twice the same.
func (a *attempt) interruptionWait() time.Duration {
	wait := interruptionWaitMin
	for range a.interruptions() {
		wait = min(2*wait, interruptionWaitMax)
	}
	return wait/2 + rand.N(wait/2)
}

func (a *attempt) giveBack(ctx context.Context, why sql.Interruption) error {
	ended, settled := a.settle(ctx, func(ctx context.Context, tx pgx.Tx) (bool, error) {
		ended, err := a.config.Statements.GiveBack(ctx, tx, a.id, why)
		if ended && err == nil {
			a.storeLog(ctx, tx)
		}
		return ended, err
	})
	if settled && !ended {
		return a.lost(ctx)
	}
	if settled {
		a.outcome = metrics.OutcomeInterrupted
	}
	if a.leaving.Load() {
		a.left.Add(1)
	}
	level := a.outageLevel()
	if why.Error == "" && why.Wait > 0 {
		level = slog.LevelDebug // it had not begun
	}
	a.logger.Log(ctx, level, "the run was interrupted and given back; another attempt goes on from the last committed batch",
		slog.String("error", why.Error), slog.Duration("wait", why.Wait))
	return unreported{"given back"}
}

// outageLevel keeps what follows from an outage out of a log that has it already.
func (a *attempt) outageLevel() slog.Level {
	if a.config.Watch.outage.Ongoing() {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

func (a *attempt) lost(ctx context.Context) error {
	a.logger.WarnContext(ctx, "the run is in other hands, or was ended; this attempt changes nothing any more")
	return unreported{errAttemptLost.Error()}
}

// settle stores the end of an attempt, for as long as it takes: until then, the
// row says that this replica works on it. If the process ends first, the leader
// finds the row.
func (a *attempt) settle(ctx context.Context, store func(ctx context.Context, tx pgx.Tx) (bool, error)) (ended, settled bool) {
	ctx = context.WithoutCancel(ctx)
	var backoff connection.Backoff
	for said := false; ; said = true {
		err := a.inTxWithin(ctx, func(ctx context.Context, tx pgx.Tx) error {
			var err error
			ended, err = store(ctx, tx)
			return err
		})
		if err == nil {
			return ended, true
		}
		if !said {
			a.logger.Log(ctx, a.outageLevel(), "the end of the attempt cannot be stored yet; trying again", slog.Any("error", err))
		}
		if backoff.Wait(a.ending); a.ending.Err() != nil {
			return false, false
		}
	}
}

// settleTimeout bounds one try to store the end of an attempt.
const settleTimeout = 5 * time.Second

func (a *attempt) inTxWithin(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	defer context.AfterFunc(a.ending, cancel)()
	// Not one of the job's, which are over by now.
	tx, err := a.begin(ctx, "begin_batch", nil)
	if err != nil {
		return err
	}
	return a.endTx(ctx, tx, func(tx pgx.Tx) error { return fn(ctx, tx) })
}
