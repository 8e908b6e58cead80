package sql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// TickDecision is what the leader decided about a tick, or a row of ticks.
type TickDecision struct {
	JobName    string
	Tick       time.Time
	Status     string
	Reason     string
	Parameters []byte
	DryRun     bool
	// MissedCount and LastMissedTick are set for a row of missed ticks that begins
	// at Tick.
	MissedCount    int64
	LastMissedTick *time.Time
}

// DecidedTick is a row that [Statements.InsertTicks] wrote.
type DecidedTick struct {
	ID      int64
	JobName string
	Tick    time.Time
	Status  string
}

// InsertTicks writes decisions to the ledger. A tick that is there already is
// left out of what it returns.
func (s *Statements) InsertTicks(ctx context.Context, tx pgx.Tx, epoch int64, decisions []TickDecision) ([]DecidedTick, error) {
	n := len(decisions)
	names, statuses, reasons := make([]string, n), make([]string, n), make([]string, n)
	ticks, lastMissed := make([]time.Time, n), make([]*time.Time, n)
	parameters, dryRuns, missed := make([]json.RawMessage, n), make([]bool, n), make([]int64, n)
	for i, d := range decisions {
		names[i], statuses[i], reasons[i], ticks[i] = d.JobName, d.Status, d.Reason, d.Tick
		lastMissed[i], dryRuns[i], missed[i] = d.LastMissedTick, d.DryRun, d.MissedCount
		parameters[i] = d.Parameters
		if len(d.Parameters) == 0 {
			parameters[i] = json.RawMessage("{}")
		}
	}
	rows, err := tx.Query(ctx, s.Text("insert_ticks"), pgx.NamedArgs{
		"leader_epoch": epoch, "job_names": names, "ticks": ticks, "statuses": statuses, "reasons": reasons,
		"parameters": parameters, "dry_runs": dryRuns, "missed_counts": missed, "last_missed_ticks": lastMissed,
	})
	if err != nil {
		return nil, fmt.Errorf("write the ticks: %w", err)
	}
	decided, err := pgx.CollectRows(rows, pgx.RowToStructByName[DecidedTick])
	if err != nil {
		return nil, fmt.Errorf("write the ticks: %w", err)
	}
	return decided, nil
}

// RequestedRun is a run that somebody asked for.
type RequestedRun struct {
	ID         int64
	JobName    string
	Tick       time.Time
	Trigger    string
	Parameters []byte
	DryRun     bool
}

// RequestedRuns locks and returns up to limit requested runs, oldest first.
func (s *Statements) RequestedRuns(ctx context.Context, tx pgx.Tx, limit int) ([]RequestedRun, error) {
	rows, err := tx.Query(ctx, s.Text("requested_runs"), pgx.NamedArgs{"max": limit})
	if err != nil {
		return nil, fmt.Errorf("read the requested runs: %w", err)
	}
	requested, err := pgx.CollectRows(rows, pgx.RowToStructByName[RequestedRun])
	if err != nil {
		return nil, fmt.Errorf("read the requested runs: %w", err)
	}
	return requested, nil
}

// AcceptRun marks a requested run as enqueued, with its resolved parameters, and
// counts it.
func (s *Statements) AcceptRun(ctx context.Context, tx pgx.Tx, epoch int64, run RequestedRun, parameters []byte) error {
	_, err := tx.Exec(ctx, s.Text("accept_run"), pgx.NamedArgs{
		"id": run.ID, "job_name": run.JobName, "leader_epoch": epoch, "parameters": parameters,
	})
	if err != nil {
		return fmt.Errorf("accept run %d: %w", run.ID, err)
	}
	return nil
}

// RefuseRun ends a requested run that is not enqueued.
func (s *Statements) RefuseRun(ctx context.Context, tx pgx.Tx, epoch, id int64, status, reason, errorText string) error {
	_, err := tx.Exec(ctx, s.Text("refuse_run"), pgx.NamedArgs{
		"id": id, "leader_epoch": epoch, "status": status, "reason": nullable(reason), "error": nullable(errorText),
	})
	if err != nil {
		return fmt.Errorf("refuse run %d: %w", id, err)
	}
	return nil
}

// RunState is what an attempt starts from.
type RunState struct {
	Details []byte
	Now     time.Time
}

// RunState reads a run's details for an attempt; nil if the attempt is lost.
func (s *Statements) RunState(ctx context.Context, db Querier, attempt Attempt) (*RunState, error) {
	rows, err := db.Query(ctx, s.Text("run_state"), attempt.args())
	if err != nil {
		return nil, fmt.Errorf("read run %d: %w", attempt.RunID, err)
	}
	state, err := pgx.CollectExactlyOneRow(rows, pgx.RowToAddrOfStructByName[RunState])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // absence is an answer here, and its caller's to judge
	}
	if err != nil {
		return nil, fmt.Errorf("read run %d: %w", attempt.RunID, err)
	}
	return state, nil
}

// StoreProgress writes what a run has done, in the transaction that did it. False:
// the attempt is lost.
func (s *Statements) StoreProgress(ctx context.Context, tx pgx.Tx, attempt Attempt, rowsAffected int64, details []byte) (bool, error) {
	args := attempt.args()
	args["rows_affected"], args["details"] = rowsAffected, details
	tag, err := tx.Exec(ctx, s.Text("store_progress"), args)
	if err != nil {
		return false, fmt.Errorf("store the progress of run %d: %w", attempt.RunID, err)
	}
	return tag.RowsAffected() == 1, nil
}

// ReportProgress writes how far a run is, for people.
func (s *Statements) ReportProgress(ctx context.Context, db Querier, runID int64, progress []byte) error {
	_, err := db.Exec(ctx, s.Text("report_progress"), pgx.NamedArgs{"run_id": runID, "progress": progress})
	if err != nil {
		return fmt.Errorf("report the progress of run %d: %w", runID, err)
	}
	return nil
}
