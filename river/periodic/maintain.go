package periodic

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/rivertype"

	"github.com/systempromptio/scheduler/internal/metrics"
	"github.com/systempromptio/scheduler/river/leader"
	"github.com/systempromptio/scheduler/sql"
)

const (
	// deadAfter is how long a replica's presence lock must be gone before its runs
	// are handed to others: enough for one that lives to notice and to give them back
	// itself, or to come back. A frozen one's lock goes after 2 s more
	// (idle_session_timeout), one that was waiting for the leader's after 3: together
	// that must stay below five.
	deadAfter = 1500 * time.Millisecond

	// deadRetry is the pause before what a dead replica's transactions still hold is
	// asked for again.
	deadRetry = 50 * time.Millisecond

	// promoteMax and pruneMax bound a transaction of River's maintenance.
	promoteMax = 1000
	pruneMax   = 1000

	pruneInterval = time.Minute

	// River's own retention periods (river.Config).
	completedRetention = 24 * time.Hour
	cancelledRetention = 24 * time.Hour
	discardedRetention = 7 * 24 * time.Hour
)

// maintain does River's maintenance. The calls of River's driver are in this
// file alone: its interface may change with any version.
func (l *lead) maintain(ctx context.Context, pulse sql.Pulse) error {
	if l.setBack > 0 {
		err := l.term.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error { return l.config.Statements.ShiftWaits(ctx, tx, l.setBack) })
		if err != nil {
			return err
		}
		l.setBack = 0
	}
	overdue := l.term.Elapsed() >= l.nextPrune
	if dead := l.dead(pulse); len(dead) > 0 || overdue {
		if err := l.terminate(ctx, dead); err != nil {
			return err
		}
		if err := l.handBack(ctx, dead, overdue); err != nil {
			return err
		}
	}
	if pulse.Promotable {
		if err := l.promote(ctx); err != nil {
			return err
		}
	}
	if !overdue {
		return nil
	}
	more, err := l.prune(ctx)
	if !more || err != nil {
		l.nextPrune = l.term.Elapsed() + pruneInterval
	}
	return err
}

// dead lists the replicas that have runs and no presence lock for long enough.
func (l *lead) dead(pulse sql.Pulse) []string {
	var dead []string
	missing := make(map[string]time.Duration, len(l.missing))
	for _, replica := range pulse.Working {
		if slices.Contains(pulse.Alive, replica) {
			continue
		}
		since, ok := l.missing[replica]
		if !ok {
			since = l.term.Elapsed()
		}
		missing[replica] = since
		if l.term.Elapsed()-since >= deadAfter {
			dead = append(dead, replica)
		}
	}
	l.missing = missing
	return dead
}

// terminate ends the transactions that dead replicas still have open. A frozen
// replica's statement goes on in Postgres, and would hold its locks in the way of
// whoever takes up the run.
func (l *lead) terminate(ctx context.Context, dead []string) error {
	if len(dead) == 0 {
		return nil
	}
	return l.term.Do(ctx, func(ctx context.Context, session leader.Session) error {
		ended, err := l.config.Statements.TerminateWorkers(ctx, session, dead)
		if err != nil && !l.term.Lost() {
			// The role may not: the locks then last for as long as the statements do.
			l.config.Logger.DebugContext(ctx, "transactions of dead replicas could not be ended", slog.Any("error", err))
			return nil
		}
		if ended > 0 {
			l.config.Logger.WarnContext(ctx, "transactions that dead replicas had open were ended", slog.Any("replicas", dead), slog.Int64("transactions", ended))
		}
		return err
	})
}

func (l *lead) handBack(ctx context.Context, dead []string, overdue bool) error {
	if dead == nil {
		dead = []string{}
	}
	var handed []sql.HandedBack
	err := l.term.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var err error
		handed, err = l.config.Statements.HandBack(ctx, tx, dead, overdue)
		if err != nil || len(handed) == 0 {
			return err
		}
		queues := make([]string, 0, len(handed))
		for _, job := range handed {
			queues = append(queues, job.Queue)
		}
		return l.config.Statements.NotifyInsert(ctx, tx, queues)
	})
	if err != nil {
		return err
	}
	for _, job := range handed {
		l.config.Metrics.HandedBack(job.Kind, endedBy(job.State))
		l.config.Logger.WarnContext(ctx, "a replica is gone, or does not know of a run; it was handed back",
			slog.String("replica", job.ReplicaID), slog.String("job", job.Kind), slog.Int64("run_id", job.RunID), slog.Int64("river_job_id", job.ID), slog.String("state", job.State))
	}
	return nil
}

// endedBy is how a run ended that was handed back into a state of River's; empty if it
// goes on.
func endedBy(state string) string {
	switch rivertype.JobState(state) {
	case rivertype.JobStateDiscarded:
		return metrics.StatusFailed
	case rivertype.JobStateCancelled:
		return metrics.StatusCancelled
	case rivertype.JobStateAvailable, rivertype.JobStateCompleted, rivertype.JobStatePending, rivertype.JobStateRetryable,
		rivertype.JobStateRunning, rivertype.JobStateScheduled:
	}
	return ""
}

// promote makes retries and scheduled jobs available whose time has come.
func (l *lead) promote(ctx context.Context) error {
	return l.term.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := l.config.Statements.PlanAnew(ctx, tx); err != nil {
			return err
		}
		promoted, err := l.driver.UnwrapExecutor(tx).JobSchedule(ctx, &riverdriver.JobScheduleParams{
			Max: promoteMax, Schema: l.config.Statements.Schema(),
		})
		if err != nil {
			return fmt.Errorf("promote River's jobs: %w", err)
		}
		queues := make([]string, 0, len(promoted))
		for _, job := range promoted {
			queues = append(queues, job.Job.Queue)
		}
		if len(queues) == 0 {
			return nil
		}
		return l.config.Statements.NotifyInsert(ctx, tx, queues)
	})
}

// prune deletes River's old rows, one transaction at a time, and says whether
// there are more. The ledger keeps what they said.
func (l *lead) prune(ctx context.Context) (more bool, err error) {
	err = l.term.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := l.config.Statements.PlanAnew(ctx, tx); err != nil {
			return err
		}
		now := l.term.Now()
		deleted, err := l.driver.UnwrapExecutor(tx).JobDeleteBefore(ctx, &riverdriver.JobDeleteBeforeParams{
			CompletedDoDelete: true, CompletedFinalizedAtHorizon: now.Add(-completedRetention),
			CancelledDoDelete: true, CancelledFinalizedAtHorizon: now.Add(-cancelledRetention),
			DiscardedDoDelete: true, DiscardedFinalizedAtHorizon: now.Add(-discardedRetention),
			Max: pruneMax, Schema: l.config.Statements.Schema(),
		})
		if err != nil {
			return fmt.Errorf("delete River's old rows: %w", err)
		}
		more = deleted >= pruneMax
		return nil
	})
	return more, err
}
