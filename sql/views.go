package sql

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/jobs"
)

// LogLineRow is a row of the view run_logs.
type LogLineRow struct {
	Attempt   int    `json:"attempt"`
	ReplicaID string `json:"replica_id"`
	// At is nil where lines are left out.
	At         *time.Time      `json:"at"`
	Level      string          `json:"level"`
	Message    string          `json:"message"`
	Attributes json.RawMessage `json:"attributes"`
}

// ListLog reads what is kept of a run's log, in order.
func (s *Statements) ListLog(ctx context.Context, db Querier, runID int64) ([]LogLineRow, error) {
	return collect[LogLineRow](ctx, db, "read the log of a run", s.Text("list_log"), pgx.NamedArgs{"run_id": runID})
}

// JobRow is a row of the view jobs, with the policies of scheduled_jobs. Its JSON
// has the columns' names; durations are in seconds. NextRun is nil while none is planned.
type JobRow struct {
	JobName string `json:"job_name"`
	// State is active, paused, disabled or unregistered.
	State        string       `json:"state"`
	Schedule     string       `json:"schedule"`
	Timezone     string       `json:"timezone"`
	NextRun      *time.Time   `json:"next_run"`
	LastRun      *time.Time   `json:"last_run"`
	LastStatus   *jobs.Status `json:"last_status"`
	LastDuration *float64     `json:"last_duration"`
	LastRows     *int64       `json:"last_rows"`
	LastError    *string      `json:"last_error"`
	RunCount     int64        `json:"run_count"`
	DryRun       bool         `json:"dry_run"`
	PausedAt     *time.Time   `json:"paused_at"`
	PausedBy     *string      `json:"paused_by"`
	PausedReason *string      `json:"paused_reason"`
	// Problem says what somebody has to look at; ScheduleProblem is set if it is that
	// the schedule set last is not in force.
	Problem         *string         `json:"problem"`
	ScheduleProblem *string         `json:"-"`
	Description     string          `json:"description"`
	Parameters      json.RawMessage `json:"parameters"`
	Overlap         jobs.Overlap    `json:"overlap"`
	CatchUp         jobs.CatchUp    `json:"catch_up"`
	CatchUpLimit    int             `json:"catch_up_limit"`
	CatchUpMaxAge   *float64        `json:"catch_up_max_age"`
	Timeout         float64         `json:"timeout"`
	MaxAttempts     int             `json:"max_attempts"`
	Registered      bool            `json:"registered"`
	Enabled         bool            `json:"enabled"`
	LastTick        *time.Time      `json:"last_tick"`
	ParameterSpecs  json.RawMessage `json:"parameter_specs"`
	// ScheduleOverride is what operators have set over DeclaredSchedule; Schedule is
	// the one in force.
	ScheduleOverride *string `json:"schedule_override"`
	DeclaredSchedule string  `json:"declared_schedule"`
	// DryRunUntil is set while the job is in rollout.
	DryRunUntil *time.Time `json:"dry_run_until"`
}

// RolloutRow is a row of the view rollout: what a target would have lost so far, or
// what a job that names none would have changed.
type RolloutRow struct {
	JobName     string     `json:"job_name"`
	DryRunFrom  time.Time  `json:"dry_run_from"`
	DryRunUntil time.Time  `json:"dry_run_until"`
	DryRuns     int64      `json:"dry_runs"`
	Blocked     int64      `json:"blocked"`
	Failed      int64      `json:"failed"`
	LastRun     *time.Time `json:"last_run"`
	Target      *string    `json:"target"`
	MinRows     *int64     `json:"min_rows"`
	MaxRows     *int64     `json:"max_rows"`
	LastRows    *int64     `json:"last_rows"`
}

// ListRollouts reads the jobs in rollout, or the named one.
func (s *Statements) ListRollouts(ctx context.Context, db Querier, jobName string) ([]RolloutRow, error) {
	return collect[RolloutRow](ctx, db, "list the rollouts", s.Text("list_rollouts"), pgx.NamedArgs{"job_name": jobName})
}

// EndDryRun ends a job's rollout.
func (s *Statements) EndDryRun(ctx context.Context, db Querier, jobName string) error {
	return do(ctx, db, "end the rollout", s.Text("end_dry_run"), pgx.NamedArgs{"job_name": jobName})
}

// RunRow is a row of the view runs. Its JSON has the columns' names; the duration
// is in seconds. What there is not, or not yet, is nil.
type RunRow struct {
	ID             int64           `json:"id"`
	JobName        string          `json:"job_name"`
	Tick           time.Time       `json:"tick"`
	Trigger        jobs.Trigger    `json:"trigger"`
	Status         jobs.Status     `json:"status"`
	Reason         *string         `json:"reason"`
	Attempt        int             `json:"attempt"`
	ReplicaID      *string         `json:"replica_id"`
	StartedAt      *time.Time      `json:"started_at"`
	FinishedAt     *time.Time      `json:"finished_at"`
	Duration       *float64        `json:"duration"`
	RowsAffected   *int64          `json:"rows_affected"`
	DryRun         bool            `json:"dry_run"`
	Targets        json.RawMessage `json:"targets"`
	Message        *string         `json:"message"`
	Error          *string         `json:"error"`
	MissedCount    *int64          `json:"missed_count"`
	LastMissedTick *time.Time      `json:"last_missed_tick"`
	RequestedBy    *string         `json:"requested_by"`
	Parameters     json.RawMessage `json:"parameters"`
	RiverJobID     *int64          `json:"river_job_id"`
	LeaderEpoch    *int64          `json:"leader_epoch"`
	BackfillID     *int64          `json:"backfill_id"`
	// These are of a run that runs.
	ProgressDone    *int64   `json:"progress_done"`
	ProgressTotal   *int64   `json:"progress_total"`
	RowsPerSecond   *float64 `json:"rows_per_second"`
	SecondsLeft     *float64 `json:"seconds_left"`
	ProgressMessage *string  `json:"progress_message"`
	// Progress is only read for a single run.
	Progress json.RawMessage `json:"progress,omitempty" db:"progress"`
}

// LeaderRow is the row of the view leader.
type LeaderRow struct {
	ReplicaID  string    `json:"replica_id"`
	Epoch      int64     `json:"epoch"`
	BackendPID int32     `json:"backend_pid" db:"backend_pid"`
	AcquiredAt time.Time `json:"acquired_at"`
}

// ReplicaRow is a row of the view replicas.
type ReplicaRow struct {
	ReplicaID   *string     `json:"replica_id"`
	BackendPID  int32       `json:"backend_pid" db:"backend_pid"`
	ConnectedAt *time.Time  `json:"connected_at"`
	ClientAddr  *netip.Addr `json:"client_addr"`
	IsLeader    bool        `json:"is_leader"`
	Running     int64       `json:"running"`
}

// RunFilter selects runs.
type RunFilter struct {
	// JobName and Status select; empty means all.
	JobName string
	Status  jobs.Status
	// BackfillID selects the runs of a backfill; 0 means all.
	BackfillID int64
	// Before selects the runs with a lower id; 0 means all.
	Before int64
	// Limit is the number of runs at most, newest first.
	Limit int
}

// ListJobs reads all jobs, or the named one.
func (s *Statements) ListJobs(ctx context.Context, db Querier, jobName string) ([]JobRow, error) {
	return collect[JobRow](ctx, db, "list the jobs", s.Text("list_jobs"), pgx.NamedArgs{"job_name": jobName})
}

// ListRuns reads runs, newest first.
func (s *Statements) ListRuns(ctx context.Context, db Querier, filter RunFilter) ([]RunRow, error) {
	return collect[RunRow](ctx, db, "list the runs", s.Text("list_runs"), pgx.NamedArgs{
		"job_name": filter.JobName, "status": filter.Status, "backfill_id": filter.BackfillID, "max": filter.Limit,
		"before": bound(filter.Before),
	})
}

// EndedRuns reads the first runs that have ended since a time, without those that are
// known. An empty name means all jobs.
func (s *Statements) EndedRuns(ctx context.Context, db Querier, jobName string, since time.Time, known []int64, limit int) ([]RunRow, error) {
	return collect[RunRow](ctx, db, "read the runs that have ended", s.Text("ended_runs"), pgx.NamedArgs{
		"job_name": jobName, "since": since, "known": known, "max": limit,
	})
}

// bound is an id below which runs are read; 0 for all.
func bound(before int64) int64 {
	if before == 0 {
		return math.MaxInt64
	}
	return before
}

// GetRun reads one run, with its progress. No row gives pgx.ErrNoRows.
func (s *Statements) GetRun(ctx context.Context, db Querier, id int64) (RunRow, error) {
	runs, err := collect[RunRow](ctx, db, "read the run", s.Text("get_run"), pgx.NamedArgs{"id": id})
	if err != nil {
		return RunRow{}, err
	}
	if len(runs) == 0 {
		return RunRow{}, fmt.Errorf("run %d: %w", id, pgx.ErrNoRows)
	}
	return runs[0], nil
}

// GetLeader reads who leads; nil if nobody does.
func (s *Statements) GetLeader(ctx context.Context, db Querier) (*LeaderRow, error) {
	leaders, err := collect[LeaderRow](ctx, db, "read the leader", s.Text("get_leader"), pgx.NamedArgs{})
	if err != nil || len(leaders) == 0 {
		return nil, err
	}
	return &leaders[0], nil
}

// ListReplicas reads the replicas that live.
func (s *Statements) ListReplicas(ctx context.Context, db Querier) ([]ReplicaRow, error) {
	return collect[ReplicaRow](ctx, db, "list the replicas", s.Text("list_replicas"), pgx.NamedArgs{})
}

// ActAs names who acts, for the rest of the transaction.
func (s *Statements) ActAs(ctx context.Context, tx pgx.Tx, actor string) error {
	return do(ctx, tx, "name who acts", s.Text("act_as"), pgx.NamedArgs{"actor": actor})
}

// RunNow asks for a run and returns its id. A nil dryRun leaves that to the job.
func (s *Statements) RunNow(ctx context.Context, db Querier, jobName string, parameters []byte, dryRun *bool) (int64, error) {
	return call[int64](ctx, db, "run now", s.Text("run_now"), pgx.NamedArgs{
		"job_name": jobName, "parameters": string(parameters), "dry_run": dryRun,
	})
}

// RunAt asks for a run at a time to come and returns its id.
func (s *Statements) RunAt(ctx context.Context, db Querier, jobName string, at time.Time, parameters []byte, dryRun *bool) (int64, error) {
	return call[int64](ctx, db, "run at", s.Text("run_at"), pgx.NamedArgs{
		"job_name": jobName, "at": at, "parameters": string(parameters), "dry_run": dryRun,
	})
}

// CancelRun cancels a run that has not ended.
func (s *Statements) CancelRun(ctx context.Context, db Querier, id int64, reason string) error {
	return do(ctx, db, "cancel", s.Text("cancel_run"), pgx.NamedArgs{"id": id, "reason": nullable(reason)})
}

// PauseJob stops a job from being enqueued.
func (s *Statements) PauseJob(ctx context.Context, db Querier, jobName, reason string, cancelRunning bool) error {
	return do(ctx, db, "pause", s.Text("pause_job"), pgx.NamedArgs{"job_name": jobName, "reason": reason, "cancel_running": cancelRunning})
}

// ResumeJob lets a paused job run again.
func (s *Statements) ResumeJob(ctx context.Context, db Querier, jobName string) error {
	return do(ctx, db, "resume", s.Text("resume_job"), pgx.NamedArgs{"job_name": jobName})
}

// PauseScheduler stops every job from being enqueued.
func (s *Statements) PauseScheduler(ctx context.Context, db Querier, reason string, cancelRunning bool) error {
	return do(ctx, db, "pause the scheduler", s.Text("pause_scheduler"), pgx.NamedArgs{"reason": reason, "cancel_running": cancelRunning})
}

// ResumeScheduler ends PauseScheduler.
func (s *Statements) ResumeScheduler(ctx context.Context, db Querier) error {
	return do(ctx, db, "resume the scheduler", s.Text("resume_scheduler"), pgx.NamedArgs{})
}

// StateRow is the row of scheduler_state: nil where the scheduler is neither paused
// nor disabled.
type StateRow struct {
	PausedAt     *time.Time `json:"paused_at"`
	PausedBy     *string    `json:"paused_by"`
	PausedReason *string    `json:"paused_reason"`
	// DisabledAt: the leader's configuration disables the scheduler.
	DisabledAt *time.Time `json:"disabled_at"`
}

// GetState reads whether the whole scheduler is paused.
func (s *Statements) GetState(ctx context.Context, db Querier) (StateRow, error) {
	states, err := collect[StateRow](ctx, db, "read the scheduler's state", s.Text("get_scheduler_state"), pgx.NamedArgs{})
	if err != nil || len(states) == 0 {
		return StateRow{}, err
	}
	return states[0], nil
}

// RescheduleJob sets a schedule over the declared one; an empty one takes it back.
func (s *Statements) RescheduleJob(ctx context.Context, db Querier, jobName, schedule string) error {
	return do(ctx, db, "reschedule", s.Text("reschedule_job"), pgx.NamedArgs{"job_name": jobName, "schedule": nullable(schedule)})
}

// RequestBackfill asks for a backfill and returns its id. A zero RunLimit and nil
// dryRun leave those open.
func (s *Statements) RequestBackfill(ctx context.Context, db Querier, b Backfill, dryRun *bool) (int64, error) {
	return call[int64](ctx, db, "backfill", s.Text("backfill"), pgx.NamedArgs{
		"job_name": b.JobName, "from_tick": b.FromTick, "to_tick": b.ToTick, "run_limit": b.RunLimit,
		"again": b.Again, "parameters": b.Parameters, "dry_run": dryRun,
	})
}

// BackfillRow is a row of the view backfills.
type BackfillRow struct {
	ID          int64      `json:"id"`
	JobName     string     `json:"job_name"`
	FromTick    time.Time  `json:"from_tick"`
	ToTick      time.Time  `json:"to_tick"`
	RunLimit    *int       `json:"run_limit"`
	Again       bool       `json:"again"`
	DryRun      bool       `json:"dry_run"`
	RequestedBy string     `json:"requested_by"`
	RequestedAt time.Time  `json:"requested_at"`
	DecidedAt   *time.Time `json:"decided_at"`
	// Status is requested, refused, running, cancelled or done.
	Status string `json:"status"`
	Runs   int64  `json:"runs"`
	// LeftOut and Remaining are nil until the leader has decided.
	LeftOut   *int64  `json:"left_out"`
	Remaining *int64  `json:"remaining"`
	Waiting   int64   `json:"waiting"`
	Working   int64   `json:"working"`
	Success   int64   `json:"success"`
	Failed    int64   `json:"failed"`
	Cancelled int64   `json:"cancelled"`
	Skipped   int64   `json:"skipped"`
	Error     *string `json:"error"`
	Blocked   int64   `json:"blocked"`
}

// ListBackfills reads backfills, newest first; an id other than 0 reads that one.
func (s *Statements) ListBackfills(ctx context.Context, db Querier, id int64, limit int) ([]BackfillRow, error) {
	return collect[BackfillRow](ctx, db, "list the backfills", s.Text("list_backfills"), pgx.NamedArgs{"id": id, "max": limit})
}

// CancelBackfill takes back the runs of a backfill that have not begun and counts
// them.
func (s *Statements) CancelBackfill(ctx context.Context, db Querier, id int64, reason string) (int64, error) {
	return call[int64](ctx, db, "cancel the backfill", s.Text("cancel_backfill"), pgx.NamedArgs{"id": id, "reason": nullable(reason)})
}

// AgendaJob is a job that is planned.
type AgendaJob struct {
	JobName  string
	Schedule string
	Timezone string
	NextRun  time.Time
	// Now is the database's clock.
	Now time.Time
}

// AgendaJobs lists the jobs that are planned.
func (s *Statements) AgendaJobs(ctx context.Context, db Querier) ([]AgendaJob, error) {
	return collect[AgendaJob](ctx, db, "read the agenda's jobs", s.Text("agenda_jobs"), pgx.NamedArgs{})
}

// AgendaRun is a run that was asked for and has not begun.
type AgendaRun struct {
	// RunAt is nil for a run in line.
	RunAt       *time.Time
	JobName     string
	Status      jobs.Status
	Trigger     jobs.Trigger
	Tick        time.Time
	RunID       int64
	RequestedBy *string
	// Paused: the job is.
	Paused bool
}

// AgendaRuns lists the runs that have not begun and are to within a time.
func (s *Statements) AgendaRuns(ctx context.Context, db Querier, within time.Duration) ([]AgendaRun, error) {
	return collect[AgendaRun](ctx, db, "read the agenda's runs", s.Text("agenda_runs"), pgx.NamedArgs{"within": within})
}

// Clock reads the database's clock.
func (s *Statements) Clock(ctx context.Context, db Querier) (time.Time, error) {
	return call[time.Time](ctx, db, "read the database's clock", s.Text("clock"), pgx.NamedArgs{})
}

// do calls a function that returns nothing.
func do(ctx context.Context, db Querier, what, statement string, args pgx.NamedArgs) error {
	if _, err := db.Exec(ctx, statement, args); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// call calls a function that returns one value.
func call[T any](ctx context.Context, db Querier, what, statement string, args pgx.NamedArgs) (T, error) {
	var value T
	if err := db.QueryRow(ctx, statement, args).Scan(&value); err != nil {
		return value, fmt.Errorf("%s: %w", what, err)
	}
	return value, nil
}

func collect[T any](ctx context.Context, db Querier, what, statement string, args pgx.NamedArgs) ([]T, error) {
	rows, err := db.Query(ctx, statement, args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByNameLax[T])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return list, nil
}
