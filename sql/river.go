package sql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Attempt identifies one attempt at a River job.
type Attempt struct {
	RunID      int64
	RiverJobID int64
	Attempt    int
	ReplicaID  string
	// AttemptedAt is when River gave the attempt to the replica.
	AttemptedAt time.Time
}

func (a Attempt) args() pgx.NamedArgs {
	return pgx.NamedArgs{"run_id": a.RunID, "river_job_id": a.RiverJobID, "attempt": a.Attempt, "replica_id": a.ReplicaID, "attempted_at": a.AttemptedAt}
}

// Fence locks River's row for the attempt. False: the attempt is lost; another
// one is in charge, or the job was ended.
func (s *Statements) Fence(ctx context.Context, tx pgx.Tx, attempt Attempt) (bool, error) {
	tag, err := tx.Exec(ctx, s.Text("fence"), attempt.args())
	if err != nil {
		return false, fmt.Errorf("fence attempt %d of run %d: %w", attempt.Attempt, attempt.RunID, err)
	}
	return tag.RowsAffected() == 1, nil
}

// Interruption says why an attempt that does not count broke off. The zero value:
// the replica was asked to leave it.
type Interruption struct {
	// Error is what happened. It is kept with the run.
	Error string
	// Wait is the time until the next attempt.
	Wait time.Duration
}

// GiveBack ends an attempt that does not count and makes the job available to
// others. False: the attempt was lost already.
func (s *Statements) GiveBack(ctx context.Context, tx pgx.Tx, attempt Attempt, why Interruption) (bool, error) {
	args := attempt.args()
	args["error"], args["wait"] = storable(why.Error), why.Wait
	_, ended, err := s.endAttempt(ctx, tx, "give_back", args)
	if err != nil {
		return false, fmt.Errorf("give back attempt %d of run %d: %w", attempt.Attempt, attempt.RunID, err)
	}
	return ended, nil
}

// GiveBackUnknown makes the running jobs of a replica available to others that it
// does not work on, and returns their number. Those that it was given less than the
// duration ago may be on their way.
func (s *Statements) GiveBackUnknown(ctx context.Context, tx pgx.Tx, replicaID string, known []int64, after time.Duration) (int, error) {
	rows, err := tx.Query(ctx, s.Text("give_back_unknown"), pgx.NamedArgs{"replica_id": replicaID, "ids": known, "after": after})
	if err != nil {
		return 0, fmt.Errorf("give back what is not worked on: %w", err)
	}
	type given struct{ Queue, State string }
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[given])
	if err != nil {
		return 0, fmt.Errorf("give back what is not worked on: %w", err)
	}
	if len(list) == 0 {
		return 0, nil
	}
	queues := make([]string, 0, len(list))
	for _, job := range list {
		queues = append(queues, job.Queue)
	}
	return len(list), s.NotifyInsert(ctx, tx, queues)
}

// TerminateWorkers ends the transactions that replicas have open in their pools,
// and returns their number.
func (s *Statements) TerminateWorkers(ctx context.Context, db Querier, replicaIDs []string) (int64, error) {
	var ended int64
	if err := db.QueryRow(ctx, s.Text("terminate_workers"), pgx.NamedArgs{"replica_ids": replicaIDs}).Scan(&ended); err != nil {
		return 0, fmt.Errorf("end the transactions of dead replicas: %w", err)
	}
	return ended, nil
}

// storable is a text as Postgres can store it: no NUL, and valid UTF-8.
func storable(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", ""), "\uFFFD")
}

// Failure says how an attempt failed.
type Failure struct {
	Error string
	// Trace is the stack of a panic.
	Trace string
	// Permanent: no other attempt is made.
	Permanent bool
	// Blocked: the run has stopped before it changed anything, and no other attempt is
	// made.
	Blocked bool
	// Cancelled: it was ended on request, and no other attempt is made.
	Cancelled bool
	// Backoff is the wait before the next attempt.
	Backoff time.Duration
}

// FailAttempt ends a failed attempt and returns the state that River's row has
// now. False: the attempt was lost already.
func (s *Statements) FailAttempt(ctx context.Context, tx pgx.Tx, attempt Attempt, failure Failure) (state string, ended bool, err error) {
	args := attempt.args()
	args["error"], args["trace"] = storable(failure.Error), storable(failure.Trace)
	args["permanent"], args["blocked"], args["cancelled"], args["backoff"] = failure.Permanent, failure.Blocked, failure.Cancelled, failure.Backoff
	state, ended, err = s.endAttempt(ctx, tx, "fail_attempt", args)
	if err != nil {
		return "", false, fmt.Errorf("record the failure of attempt %d of run %d: %w", attempt.Attempt, attempt.RunID, err)
	}
	return state, ended, nil
}

func (s *Statements) endAttempt(ctx context.Context, tx pgx.Tx, statement string, args pgx.NamedArgs) (state string, ended bool, err error) {
	var queue string
	err = tx.QueryRow(ctx, s.Text(statement), args).Scan(&queue, &state)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	if state != "available" {
		return state, true, nil
	}
	return state, true, s.NotifyInsert(ctx, tx, []string{queue})
}

// HandedBack is a running job that was taken from a dead replica.
type HandedBack struct {
	ID        int64
	Kind      string
	Queue     string
	State     string
	ReplicaID string
	// RunID is the run's key in the ledger; zero for a job that is not ours.
	RunID int64
}

// HandBack gives the running jobs of dead replicas to others; with overdue, also
// those that have outlived their timeout by more than a minute.
func (s *Statements) HandBack(ctx context.Context, tx pgx.Tx, replicaIDs []string, overdue bool) ([]HandedBack, error) {
	rows, err := tx.Query(ctx, s.Text("hand_back"), pgx.NamedArgs{"replica_ids": replicaIDs, "overdue": overdue})
	if err != nil {
		return nil, fmt.Errorf("hand back the jobs of dead replicas: %w", err)
	}
	handed, err := pgx.CollectRows(rows, pgx.RowToStructByName[HandedBack])
	if err != nil {
		return nil, fmt.Errorf("hand back the jobs of dead replicas: %w", err)
	}
	return handed, nil
}

// ShiftWaits takes a step by which the clock was set back off the waits of River's
// jobs that are to be worked.
func (s *Statements) ShiftWaits(ctx context.Context, tx pgx.Tx, step time.Duration) error {
	if _, err := tx.Exec(ctx, s.Text("shift_waits"), pgx.NamedArgs{"step": step}); err != nil {
		return fmt.Errorf("shift the waits of River's jobs: %w", err)
	}
	return nil
}

// NotifyInsert wakes River's clients that work the queues, when the transaction
// commits. Postgres sends what is the same in one transaction once.
func (s *Statements) NotifyInsert(ctx context.Context, tx pgx.Tx, queues []string) error {
	if _, err := tx.Exec(ctx, s.Text("notify_insert"), pgx.NamedArgs{"schema": s.schema, "queues": queues}); err != nil {
		return fmt.Errorf("wake the workers: %w", err)
	}
	return nil
}

// CancelUnfinished cancels the unfinished runs of some jobs, so that newer ones
// take their places. What is locked by a batch that is being committed is asked
// to stop. It returns the names of the jobs of which something is still
// unfinished.
func (s *Statements) CancelUnfinished(ctx context.Context, tx pgx.Tx, jobNames []string) ([]string, error) {
	args := pgx.NamedArgs{"job_names": jobNames, "schema": s.schema}
	rows, err := tx.Query(ctx, s.Text("cancel_unfinished"), args)
	if err != nil {
		return nil, fmt.Errorf("cancel unfinished runs: %w", err)
	}
	cancelled, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("cancel unfinished runs: %w", err)
	}
	if len(cancelled) > 0 {
		if _, err := tx.Exec(ctx, s.Text("mark_superseded"), pgx.NamedArgs{"ids": cancelled}); err != nil {
			return nil, fmt.Errorf("mark the cancelled runs: %w", err)
		}
	}
	rows, err = tx.Query(ctx, s.Text("stop_unfinished"), args)
	if err != nil {
		return nil, fmt.Errorf("stop unfinished runs: %w", err)
	}
	unfinished, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (name string, err error) {
		return name, row.Scan(&name, nil)
	})
	if err != nil {
		return nil, fmt.Errorf("stop unfinished runs: %w", err)
	}
	return unfinished, nil
}
