package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// unreported ends an attempt without a report by River's executor, whose
// statement asks for neither attempt nor replica and so could fail or complete a
// successor's attempt. The executor takes an error of this shape for the result
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
		return a.lost(ctx)
	case errors.Is(ctxCause, rivertype.ErrJobCancelledRemotely):
		return a.fail(ctx, sql.Failure{Error: "cancelled: " + cause.Error(), Trace: trace, Cancelled: true})
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		cause = fmt.Errorf("timed out after %v: %w", a.Timeout(a.riverJob), cause)
	case ctx.Err() != nil, presence.Err() != nil:
		return a.giveBack(ctx)
	}
	return a.fail(ctx, sql.Failure{
		Error: cause.Error(), Trace: trace, Permanent: jobs.IsPermanent(cause), Backoff: a.backoff(),
	})
}

// backoff is the wait before the next attempt.
func (a *attempt) backoff() time.Duration {
	if backoff := a.job.Definition().BackoffFunc; backoff != nil {
		return max(backoff(a.riverJob.Attempt), 0)
	}
	policy := &river.DefaultClientRetryPolicy{}
	return max(time.Until(policy.NextRetry(a.riverJob.JobRow)), 0)
}

func (a *attempt) fail(ctx context.Context, failure sql.Failure) error {
	var state string
	ended, settled := a.settle(ctx, func(ctx context.Context, tx pgx.Tx) (ended bool, err error) {
		state, ended, err = a.config.Statements.FailAttempt(ctx, tx, a.id, failure)
		return ended, err
	})
	if settled && !ended {
		return a.lost(ctx)
	}
	a.logger.ErrorContext(ctx, "the attempt failed", slog.String("error", failure.Error), slog.String("river_state", state),
		slog.Duration("backoff", failure.Backoff), slog.String("trace", failure.Trace))
	return unreported{failure.Error}
}

func (a *attempt) giveBack(ctx context.Context) error {
	ended, settled := a.settle(ctx, func(ctx context.Context, tx pgx.Tx) (bool, error) {
		return a.config.Statements.GiveBack(ctx, tx, a.id)
	})
	if settled && !ended {
		return a.lost(ctx)
	}
	a.logger.WarnContext(ctx, "the run was interrupted and given back; another attempt goes on from the last committed batch")
	return unreported{"given back"}
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
			a.logger.WarnContext(ctx, "the end of the attempt cannot be stored yet; trying again", slog.Any("error", err))
		}
		timer := time.NewTimer(settleBackoff)
		select {
		case <-a.ending:
			timer.Stop()
			return false, false
		case <-timer.C:
		}
	}
}

// settleTimeout bounds one try to store the end of an attempt.
const settleTimeout = 5 * time.Second

func (a *attempt) inTxWithin(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	return a.inTx(ctx, "begin_batch", func(tx pgx.Tx) error { return fn(ctx, tx) })
}
