package sql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/jobs"
)

// TickDecision is what the leader decided about a tick, or a row of ticks.
type TickDecision struct {
	JobName    string
	Tick       time.Time
	Status     jobs.Status
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
	Status  jobs.Status
}

// InsertTicks writes decisions to the ledger. A tick that is there already is
// left out of what it returns.
func (s *Statements) InsertTicks(ctx context.Context, tx pgx.Tx, epoch int64, decisions []TickDecision) ([]DecidedTick, error) {
	n := len(decisions)
	names, statuses, reasons := make([]string, n), make([]jobs.Status, n), make([]string, n)
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

// LastDecided reads the newest tick of a job that is decided between two; nil if
// there is none.
func (s *Statements) LastDecided(ctx context.Context, tx pgx.Tx, jobName string, first, last time.Time) (*time.Time, error) {
	var tick *time.Time
	err := tx.QueryRow(ctx, s.Text("last_decided"), pgx.NamedArgs{"job_name": jobName, "first_tick": first, "last_tick": last}).Scan(&tick)
	if err != nil {
		return nil, fmt.Errorf("read the last tick of %q: %w", jobName, err)
	}
	return tick, nil
}

// RequestedRun is a run that somebody asked for, or that waits in its job's line.
type RequestedRun struct {
	ID         int64
	JobName    string
	Tick       time.Time
	Trigger    jobs.Trigger
	Reason     string
	Parameters []byte
	DryRun     bool
}

// RequestedRuns locks, with their jobs, and returns up to limit runs whose time has
// come, oldest first.
func (s *Statements) RequestedRuns(ctx context.Context, tx pgx.Tx, limit int) ([]RequestedRun, error) {
	return collect[RequestedRun](ctx, tx, "read the requested runs", s.Text("requested_runs"), pgx.NamedArgs{"max": limit})
}

// WaitingRuns locks, with their jobs, and returns up to limit runs whose turn in
// their job's line has come.
func (s *Statements) WaitingRuns(ctx context.Context, tx pgx.Tx, limit int) ([]RequestedRun, error) {
	return collect[RequestedRun](ctx, tx, "read the waiting runs", s.Text("waiting_runs"), pgx.NamedArgs{"max": limit})
}

// PutInLine makes runs wait until those before them have ended.
func (s *Statements) PutInLine(ctx context.Context, tx pgx.Tx, ids []int64) error {
	if _, err := tx.Exec(ctx, s.Text("put_in_line"), pgx.NamedArgs{"ids": ids}); err != nil {
		return fmt.Errorf("put runs in line: %w", err)
	}
	return nil
}

// SupersedeQueued ends the runs of some jobs that overlap has put in line, but for
// those given.
func (s *Statements) SupersedeQueued(ctx context.Context, tx pgx.Tx, jobNames []string, but []int64) error {
	if _, err := tx.Exec(ctx, s.Text("supersede_queued"), pgx.NamedArgs{"job_names": jobNames, "ids": but}); err != nil {
		return fmt.Errorf("supersede waiting runs: %w", err)
	}
	return nil
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

// Backfill is a backfill that was asked for.
type Backfill struct {
	ID       int64
	JobName  string
	FromTick time.Time
	ToTick   time.Time
	// RunLimit is nil for none.
	RunLimit   *int
	Again      bool
	Parameters []byte
	DryRun     bool
}

// MarkStopped gives the runs that were cancelled for the sake of a run their reason.
func (s *Statements) MarkStopped(ctx context.Context, tx pgx.Tx, id int64) error {
	if _, err := tx.Exec(ctx, s.Text("mark_stopped"), pgx.NamedArgs{"id": id}); err != nil {
		return fmt.Errorf("mark the runs before run %d: %w", id, err)
	}
	return nil
}

// PendingBackfill locks, with its job, and returns the oldest backfill that is not
// decided; nil if there is none.
func (s *Statements) PendingBackfill(ctx context.Context, tx pgx.Tx) (*Backfill, error) {
	pending, err := collect[Backfill](ctx, tx, "read the backfills", s.Text("pending_backfill"), pgx.NamedArgs{})
	if err != nil || len(pending) == 0 {
		return nil, err
	}
	return &pending[0], nil
}

// TakenTicks returns those of some ticks that a backfill leaves out.
func (s *Statements) TakenTicks(ctx context.Context, tx pgx.Tx, backfill Backfill, ticks []time.Time) ([]time.Time, error) {
	rows, err := tx.Query(ctx, s.Text("taken_ticks"), pgx.NamedArgs{
		"job_name": backfill.JobName, "ticks": ticks, "again": backfill.Again, "dry_run": backfill.DryRun,
	})
	if err != nil {
		return nil, fmt.Errorf("read the ticks of %q: %w", backfill.JobName, err)
	}
	taken, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return nil, fmt.Errorf("read the ticks of %q: %w", backfill.JobName, err)
	}
	return taken, nil
}

// InsertBackfill puts a backfill's runs in line, in the order of the ticks.
func (s *Statements) InsertBackfill(ctx context.Context, tx pgx.Tx, epoch, id int64, ticks []time.Time) error {
	_, err := tx.Exec(ctx, s.Text("insert_backfill"), pgx.NamedArgs{"leader_epoch": epoch, "id": id, "ticks": ticks})
	if err != nil {
		return fmt.Errorf("write the runs of backfill %d: %w", id, err)
	}
	return nil
}

// DecideBackfill records what became of a backfill. An error text says why
// nothing is run.
func (s *Statements) DecideBackfill(ctx context.Context, tx pgx.Tx, id, leftOut, remaining int64, errorText string) error {
	_, err := tx.Exec(ctx, s.Text("decide_backfill"), pgx.NamedArgs{
		"id": id, "left_out": leftOut, "remaining": remaining, "error": nullable(errorText),
	})
	if err != nil {
		return fmt.Errorf("decide backfill %d: %w", id, err)
	}
	return nil
}

// RunState is what an attempt starts from.
type RunState struct {
	Details []byte
	// StartedAt is when the run's first attempt began.
	StartedAt time.Time
	Now       time.Time
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

// sessionSettings are those of which a job may think that they hold for it alone.
var sessionSettings = []string{ //nolint:gochecknoglobals // a list that nobody changes
	"role", "search_path", "TimeZone", "DateStyle", "IntervalStyle", "statement_timeout", "lock_timeout", "work_mem", "maintenance_work_mem",
	"row_security", "synchronous_commit", "default_transaction_isolation", "default_transaction_read_only", replicationRole,
}

const replicationRole = "session_replication_role"

// StoreProgress writes what a run has done, in the transaction that did it. False:
// the attempt is lost. It also returns the settings that are in force, as
// [Statements.SessionSettings] does, and has released the session's advisory locks.
func (s *Statements) StoreProgress(ctx context.Context, tx pgx.Tx, attempt Attempt, rowsAffected int64, details []byte) (inCharge bool, settings []string, err error) {
	args := attempt.args()
	args["rows_affected"], args["details"], args["settings"] = rowsAffected, details, sessionSettings
	err = tx.QueryRow(ctx, s.Text("store_progress"), args).Scan(&settings, nil)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil, nil
	}
	if err != nil {
		return false, nil, fmt.Errorf("store the progress of run %d: %w", attempt.RunID, err)
	}
	if settings[slices.Index(sessionSettings, replicationRole)] == "replica" {
		// No trigger would fire, and so the ledger not follow River's row.
		if _, err := tx.Exec(ctx, s.Text("triggers_on")); err != nil {
			return false, nil, fmt.Errorf("turn triggers on again, which run %d has turned off: %w", attempt.RunID, err)
		}
	}
	return true, settings, nil
}

// SessionSettings reads the settings that a job may change for its session.
func (s *Statements) SessionSettings(ctx context.Context, db Querier) ([]string, error) {
	var settings []string
	if err := db.QueryRow(ctx, s.Text("session_settings"), pgx.NamedArgs{"settings": sessionSettings}).Scan(&settings); err != nil {
		return nil, fmt.Errorf("read the session's settings: %w", err)
	}
	return settings, nil
}

// TidySession releases the session's advisory locks and sets it back to what
// [Statements.SessionSettings] has read; nil leaves its settings. It says how many were
// others, and what was in force. If the connection is not shared, only what was set in the
// session is set back, not what the server's configuration has changed.
func (s *Statements) TidySession(ctx context.Context, db Querier, settings []string, isShared bool) (changed int64, found []string, err error) {
	args := pgx.NamedArgs{"settings": sessionSettings[:len(settings)], "values": notNil(settings), "shared": isShared}
	if err := db.QueryRow(ctx, s.Text("tidy_session"), args).Scan(nil, &changed, &found); err != nil {
		return 0, nil, fmt.Errorf("set the session back: %w", err)
	}
	return changed, found, nil
}

// ReportProgress writes how far a run is, for people.
func (s *Statements) ReportProgress(ctx context.Context, db Querier, runID int64, progress []byte) error {
	_, err := db.Exec(ctx, s.Text("report_progress"), pgx.NamedArgs{"run_id": runID, "progress": progress})
	if err != nil {
		return fmt.Errorf("report the progress of run %d: %w", runID, err)
	}
	return nil
}

// StoreLog stores what an attempt has logged: an array of objects with at, level,
// message and attributes.
func (s *Statements) StoreLog(ctx context.Context, tx pgx.Tx, attempt Attempt, lines []byte) error {
	_, err := tx.Exec(ctx, s.Text("store_log"), pgx.NamedArgs{
		"run_id": attempt.RunID, "attempt": attempt.Attempt, "replica_id": attempt.ReplicaID, "lines": lines,
	})
	if err != nil {
		return fmt.Errorf("store the log of run %d: %w", attempt.RunID, err)
	}
	return nil
}

// TryTransactionSettings sets, in a transaction, what one on a shared pool begins with.
func (s *Statements) TryTransactionSettings(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, s.Text("transaction_settings"), pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("set what a transaction begins with: %w", err)
	}
	return nil
}

// TakeJobLock takes the lock of a session in which a job works outside any transaction,
// and says whether it did: another session may have it.
func (s *Statements) TakeJobLock(ctx context.Context, conn *pgx.Conn, jobName string) (bool, error) {
	var taken bool
	err := conn.QueryRow(ctx, s.Text("take_job_lock"), pgx.NamedArgs{"scheduler_schema": s.schema, "job_name": jobName}).Scan(&taken)
	if err != nil {
		return false, fmt.Errorf("take the lock of job %q: %w", jobName, err)
	}
	return taken, nil
}
