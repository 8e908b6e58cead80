package sql

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Declaration is what a deployment declares about a job.
type Declaration struct {
	JobName        string          `json:"job_name"`
	Description    string          `json:"description"`
	Schedule       string          `json:"schedule"`
	TimeZone       string          `json:"timezone"`
	Enabled        bool            `json:"enabled"`
	Overlap        string          `json:"overlap"`
	CatchUp        string          `json:"catch_up"`
	Timeout        time.Duration   `json:"timeout"`
	MaxAttempts    int             `json:"max_attempts"`
	DryRun         bool            `json:"dry_run"`
	Parameters     json.RawMessage `json:"parameters"`
	ParameterSpecs json.RawMessage `json:"parameter_specs"`
	// Declared is the whole of it, to tell whether anything changed.
	Declared json.RawMessage `json:"-"`
}

// DeclareJobs writes what a deployment declares, marks every other job as not
// registered, and requests the bootstrap jobs if a fleet has started. A disabled
// scheduler plans and requests nothing. All or nothing, in one round trip. It
// returns the names of the jobs that were registered until now.
func (s *Statements) DeclareJobs(ctx context.Context, db Batcher, declarations []Declaration, bootstrapJobs []string, disabled bool) ([]string, error) {
	batch := &pgx.Batch{}
	names := make([]string, 0, len(declarations))
	for _, d := range declarations {
		names = append(names, d.JobName)
		batch.Queue(s.Text("declare_job"), pgx.NamedArgs{
			"job_name": d.JobName, "description": d.Description, "schedule": d.Schedule, "timezone": d.TimeZone,
			"enabled": d.Enabled, "overlap": d.Overlap, "catch_up": d.CatchUp, "timeout": d.Timeout,
			"max_attempts": d.MaxAttempts, "dry_run": d.DryRun, "parameters": d.Parameters,
			"parameter_specs": d.ParameterSpecs, "declared": d.Declared,
		})
	}
	var gone []string
	batch.Queue(s.Text("unregister_jobs"), pgx.NamedArgs{"job_names": names}).Query(func(rows pgx.Rows) error {
		var err error
		gone, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	batch.Queue(s.Text("clear_problems"))
	if disabled {
		batch.Queue(s.Text("unplan_jobs"))
		// The start of the fleet has passed, with nothing to run.
		bootstrapJobs = []string{}
	}
	batch.Queue(s.Text("request_bootstrap"), pgx.NamedArgs{"job_names": bootstrapJobs})
	if err := db.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("declare the jobs: %w", err)
	}
	return gone, nil
}

// UnplannedJob is a job that may run and has no planned run.
type UnplannedJob struct {
	JobName          string
	Schedule         string
	ScheduleOverride *string
	Timezone         string
	Now              time.Time
}

// UnplannedJobs locks and returns the jobs that have to be planned.
func (s *Statements) UnplannedJobs(ctx context.Context, tx pgx.Tx) ([]UnplannedJob, error) {
	rows, err := tx.Query(ctx, s.Text("unplanned_jobs"))
	if err != nil {
		return nil, fmt.Errorf("read the unplanned jobs: %w", err)
	}
	unplanned, err := pgx.CollectRows(rows, pgx.RowToStructByName[UnplannedJob])
	if err != nil {
		return nil, fmt.Errorf("read the unplanned jobs: %w", err)
	}
	return unplanned, nil
}

// PlanJob sets a job's next run; an empty problem clears it.
func (s *Statements) PlanJob(ctx context.Context, tx pgx.Tx, jobName string, nextRun *time.Time, problem string) error {
	_, err := tx.Exec(ctx, s.Text("plan_job"), pgx.NamedArgs{"job_name": jobName, "next_run": nextRun, "problem": nullable(problem)})
	if err != nil {
		return fmt.Errorf("plan job %q: %w", jobName, err)
	}
	return nil
}

// DueJob is a job whose time has come, or for which a run was requested.
type DueJob struct {
	JobName          string
	Schedule         string
	ScheduleOverride *string
	Timezone         string
	Overlap          string
	CatchUp          string
	Timeout          time.Duration
	MaxAttempts      int
	DryRun           bool
	Parameters       []byte
	// NextRun is the first tick that is not decided; nil for a requested run of a
	// job that is not planned.
	NextRun *time.Time
	// Now is the database's clock.
	Now time.Time
	// Paused says that nothing may be enqueued.
	Paused bool
	// Unfinished says that a run of the job has not ended.
	Unfinished bool
}

// DueJobs locks and returns up to limit jobs that are due, longest due first.
func (s *Statements) DueJobs(ctx context.Context, tx pgx.Tx, limit int) ([]DueJob, error) {
	rows, err := tx.Query(ctx, s.Text("due_jobs"), pgx.NamedArgs{"max": limit})
	if err != nil {
		return nil, fmt.Errorf("read the due jobs: %w", err)
	}
	due, err := pgx.CollectRows(rows, pgx.RowToStructByName[DueJob])
	if err != nil {
		return nil, fmt.Errorf("read the due jobs: %w", err)
	}
	return due, nil
}

// JobForRun locks and returns a job for which a run was requested. Nil with
// registered set: somebody else has locked the row; ask again later.
func (s *Statements) JobForRun(ctx context.Context, tx pgx.Tx, jobName string) (job *DueJob, registered bool, err error) {
	args := pgx.NamedArgs{"job_name": jobName}
	found, err := collect[DueJob](ctx, tx, "read the job", s.Text("job_for_run"), args)
	if err != nil {
		return nil, false, err
	}
	if len(found) == 1 {
		return &found[0], true, nil
	}
	if err := tx.QueryRow(ctx, s.Text("is_registered"), args).Scan(&registered); err != nil {
		return nil, false, fmt.Errorf("read job %q: %w", jobName, err)
	}
	return nil, registered, nil
}

// Advance moves a job on after its ticks were decided.
type Advance struct {
	JobName string
	// NextRun is the next tick; nil if there is none.
	NextRun *time.Time
	// LastTick is the newest tick decided; nil leaves it.
	LastTick *time.Time
	// Enqueued is the number of runs handed to River.
	Enqueued int64
	// Problem, if not empty, is shown with the job.
	Problem string
}

// AdvanceJobs moves jobs on.
func (s *Statements) AdvanceJobs(ctx context.Context, tx pgx.Tx, advances []Advance) error {
	n := len(advances)
	names, problems := make([]string, n), make([]string, n)
	nextRuns, lastTicks, enqueued := make([]*time.Time, n), make([]*time.Time, n), make([]int64, n)
	for i, a := range advances {
		names[i], nextRuns[i], lastTicks[i], enqueued[i], problems[i] = a.JobName, a.NextRun, a.LastTick, a.Enqueued, a.Problem
	}
	_, err := tx.Exec(ctx, s.Text("advance_jobs"), pgx.NamedArgs{
		"job_names": names, "next_runs": nextRuns, "last_ticks": lastTicks, "enqueued": enqueued, "problems": problems,
	})
	if err != nil {
		return fmt.Errorf("advance the jobs: %w", err)
	}
	return nil
}

func nullable(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
