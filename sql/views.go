package sql

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/jackc/pgx/v5"
)

// JobRow is a row of the view jobs, with the policies of scheduled_jobs. Its JSON
// has the columns' names; durations are in seconds.
type JobRow struct {
	JobName        string          `json:"job_name"`
	State          string          `json:"state"`
	Schedule       string          `json:"schedule"`
	Timezone       string          `json:"timezone"`
	NextRun        *time.Time      `json:"next_run"`
	LastRun        *time.Time      `json:"last_run"`
	LastStatus     *string         `json:"last_status"`
	LastDuration   *float64        `json:"last_duration"`
	LastRows       *int64          `json:"last_rows"`
	LastError      *string         `json:"last_error"`
	RunCount       int64           `json:"run_count"`
	DryRun         bool            `json:"dry_run"`
	PausedAt       *time.Time      `json:"paused_at"`
	PausedBy       *string         `json:"paused_by"`
	PausedReason   *string         `json:"paused_reason"`
	Problem        *string         `json:"problem"`
	Description    string          `json:"description"`
	Parameters     json.RawMessage `json:"parameters"`
	Overlap        string          `json:"overlap"`
	CatchUp        string          `json:"catch_up"`
	Timeout        float64         `json:"timeout"`
	MaxAttempts    int             `json:"max_attempts"`
	Registered     bool            `json:"registered"`
	Enabled        bool            `json:"enabled"`
	LastTick       *time.Time      `json:"last_tick"`
	ParameterSpecs json.RawMessage `json:"parameter_specs"`
}

// RunRow is a row of the view runs. Its JSON has the columns' names; the duration
// is in seconds.
type RunRow struct {
	ID             int64           `json:"id"`
	JobName        string          `json:"job_name"`
	Tick           time.Time       `json:"tick"`
	Trigger        string          `json:"trigger"`
	Status         string          `json:"status"`
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
	// Progress is only read by GetRun.
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
	Status  string
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
		"job_name": filter.JobName, "status": filter.Status, "max": filter.Limit,
	})
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

// RunNow asks for a run and returns its id. A nil dryRun leaves that to the job.
func (s *Statements) RunNow(ctx context.Context, db Querier, jobName string, parameters []byte, dryRun *bool) (int64, error) {
	var id int64
	err := db.QueryRow(ctx, s.Text("run_now"), pgx.NamedArgs{
		"job_name": jobName, "parameters": parameters, "dry_run": dryRun,
	}).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("run now: %w", err)
	}
	return id, nil
}

// PauseJob stops a job from being enqueued.
func (s *Statements) PauseJob(ctx context.Context, db Querier, jobName, reason string) error {
	if _, err := db.Exec(ctx, s.Text("pause_job"), pgx.NamedArgs{"job_name": jobName, "reason": reason}); err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	return nil
}

// ResumeJob lets a paused job run again.
func (s *Statements) ResumeJob(ctx context.Context, db Querier, jobName string) error {
	if _, err := db.Exec(ctx, s.Text("resume_job"), pgx.NamedArgs{"job_name": jobName}); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	return nil
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
