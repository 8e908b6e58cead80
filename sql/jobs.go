package sql

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/jobs"
)

// Declaration is what a deployment declares about a job.
type Declaration struct {
	JobName      string       `json:"job_name"`
	Description  string       `json:"description"`
	Schedule     string       `json:"schedule"`
	TimeZone     string       `json:"timezone"`
	Enabled      bool         `json:"enabled"`
	Overlap      jobs.Overlap `json:"overlap"`
	CatchUp      jobs.CatchUp `json:"catch_up"`
	CatchUpLimit int          `json:"catch_up_limit"`
	// CatchUpMaxAge is nil for ticks of any age.
	CatchUpMaxAge *time.Duration `json:"catch_up_max_age"`
	Timeout       time.Duration  `json:"timeout"`
	MaxAttempts   int            `json:"max_attempts"`
	DryRun        bool           `json:"dry_run"`
	// DryRunFor is nil for no rollout. Then it is not in the JSON either, so that what
	// older versions have declared is still the same.
	DryRunFor      *time.Duration  `json:"dry_run_for,omitempty"`
	Parameters     json.RawMessage `json:"parameters"`
	ParameterSpecs json.RawMessage `json:"parameter_specs"`
	// Declared is the whole of it, to tell whether anything changed.
	Declared json.RawMessage `json:"-"`
}

// FirstPulse is a heartbeat that also says whether the database has the jobs as they
// are declared and nothing else is to be put right by a new leader: then DeclareJobs
// has nothing to do, unless the scheduler is to be disabled. One round trip.
func (s *Statements) FirstPulse(ctx context.Context, db Batcher, declarations []Declaration) (settled bool, pulse Pulse, err error) {
	names, declared := make([]string, 0, len(declarations)), make([]string, 0, len(declarations))
	for _, d := range declarations {
		names = append(names, d.JobName)
		declared = append(declared, string(d.Declared))
	}
	batch := &pgx.Batch{}
	batch.Queue(s.Text("jobs_settled"), pgx.NamedArgs{"job_names": names, "declared": declared}).QueryRow(func(row pgx.Row) error {
		return row.Scan(&settled)
	})
	batch.Queue(s.Text("heartbeat")).Query(func(rows pgx.Rows) error {
		pulse, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Pulse])
		return err
	})
	if err := db.SendBatch(ctx, batch).Close(); err != nil {
		return false, Pulse{}, fmt.Errorf("read what a new leader has to do: %w", err)
	}
	return settled, pulse, nil
}

// DeclareAtOnce is how many jobs are declared at once. A batch is sent when all of it is
// encoded: of ten thousand jobs that takes a busy machine longer than the server lets the
// lock session be idle.
const DeclareAtOnce = 500

// DeclareJobs writes what a deployment declares, marks every other job as not
// registered, and requests the bootstrap jobs if a fleet has started. A disabled
// scheduler plans and requests nothing. It takes one round trip, all or nothing; for more
// than [DeclareAtOnce] jobs it takes several, and needs a transaction. It returns the
// names of the jobs that were registered until now.
func (s *Statements) DeclareJobs(ctx context.Context, db Batcher, declarations []Declaration, bootstrapJobs []string, disabled bool) ([]string, error) {
	batch := &pgx.Batch{}
	names := make([]string, 0, len(declarations))
	for i, d := range declarations {
		if i > 0 && i%DeclareAtOnce == 0 {
			if err := db.SendBatch(ctx, batch).Close(); err != nil {
				return nil, fmt.Errorf("declare the jobs: %w", err)
			}
			batch = &pgx.Batch{}
		}
		names = append(names, d.JobName)
		batch.Queue(s.Text("declare_job"), pgx.NamedArgs{
			"job_name": d.JobName, "description": d.Description, "schedule": d.Schedule, "timezone": d.TimeZone,
			"enabled": d.Enabled, "overlap": d.Overlap, "catch_up": d.CatchUp, "catch_up_limit": d.CatchUpLimit,
			"catch_up_max_age": d.CatchUpMaxAge, "timeout": d.Timeout,
			"max_attempts": d.MaxAttempts, "dry_run": d.DryRun, "dry_run_for": d.DryRunFor, "parameters": d.Parameters,
			"parameter_specs": d.ParameterSpecs, "declared": d.Declared,
		})
	}
	var gone []string
	batch.Queue(s.Text("unregister_jobs"), pgx.NamedArgs{"job_names": names}).Query(func(rows pgx.Rows) error {
		var err error
		gone, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	batch.Queue(s.Text("reread_problems"))
	if disabled {
		batch.Queue(s.Text("begin_disabled"))
		batch.Queue(s.Text("unplan_jobs"))
		// The start of the fleet has passed, with nothing to run.
		bootstrapJobs = []string{}
	} else {
		batch.Queue(s.Text("end_disabled"))
	}
	batch.Queue(s.Text("request_bootstrap"), pgx.NamedArgs{"job_names": bootstrapJobs})
	if err := db.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("declare the jobs: %w", err)
	}
	return gone, nil
}

// EndedRollout is a job whose scheduled runs are real from now on.
type EndedRollout struct {
	JobName string
	// EndedAt is nil if the job is declared without a rollout now.
	EndedAt *time.Time
	// EndedBy is empty if its time is over.
	EndedBy string
}

// EndRollouts marks the rollouts that are over as told, and returns them.
func (s *Statements) EndRollouts(ctx context.Context, tx pgx.Tx) ([]EndedRollout, error) {
	return collect[EndedRollout](ctx, tx, "read the rollouts that are over", s.Text("end_rollouts"), pgx.NamedArgs{})
}

// JobToPlan is a job that may run and has no planned run, or that was changed.
type JobToPlan struct {
	JobName          string
	Schedule         string
	ScheduleOverride *string
	Timezone         string
	// GoodSchedule and GoodTimezone were read the last time that any could be.
	GoodSchedule *string
	GoodTimezone *string
	// PlanFrom: ticks up to here are decided or accounted for.
	PlanFrom time.Time
	NextRun  *time.Time
	// Active jobs may run.
	Active bool
	// HasProblem says that the schedule set last could not be read.
	HasProblem bool
}

// JobsToPlan locks and returns up to limit jobs that have to be planned; with
// disabled, only those that were changed.
func (s *Statements) JobsToPlan(ctx context.Context, tx pgx.Tx, disabled bool, limit int) ([]JobToPlan, error) {
	return collect[JobToPlan](ctx, tx, "read the jobs to plan", s.Text("jobs_to_plan"), pgx.NamedArgs{"disabled": disabled, "max": limit})
}

// Plan is when a job runs next.
type Plan struct {
	JobName string
	// NextRun is nil if there is no next tick.
	NextRun *time.Time
	// Problem says what is wrong with the schedule that was set last; empty clears it.
	Problem string
	// Schedule and TimeZone are the ones that could be read; empty leaves those that
	// are known.
	Schedule string
	TimeZone string
}

// PlanJobs writes plans.
func (s *Statements) PlanJobs(ctx context.Context, tx pgx.Tx, plans []Plan) error {
	n := len(plans)
	names, problems, nextRuns := make([]string, n), make([]string, n), make([]*time.Time, n)
	schedules, timeZones := make([]*string, n), make([]*string, n)
	for i, p := range plans {
		names[i], problems[i], nextRuns[i] = p.JobName, p.Problem, p.NextRun
		schedules[i], timeZones[i] = nullable(p.Schedule), nullable(p.TimeZone)
	}
	_, err := tx.Exec(ctx, s.Text("plan_jobs"), pgx.NamedArgs{
		"job_names": names, "next_runs": nextRuns, "problems": problems, "good_schedules": schedules, "good_timezones": timeZones,
	})
	if err != nil {
		return fmt.Errorf("plan the jobs: %w", err)
	}
	return nil
}

// PlannedJob is a job whose next run is to come.
type PlannedJob struct {
	JobName  string
	Schedule string
	Timezone string
	NextRun  time.Time
	// After: the next run must be the first tick after it.
	After time.Time
}

// PlannedJobs reads all jobs whose next run is to come.
func (s *Statements) PlannedJobs(ctx context.Context, db Querier) ([]PlannedJob, error) {
	return collect[PlannedJob](ctx, db, "read the planned jobs", s.Text("planned_jobs"), pgx.NamedArgs{})
}

// CorrectPlans gives jobs another next run, unless the one read has changed since.
func (s *Statements) CorrectPlans(ctx context.Context, db Querier, jobs []PlannedJob, nextRuns []*time.Time) error {
	names, was := make([]string, len(jobs)), make([]time.Time, len(jobs))
	for i, job := range jobs {
		names[i], was[i] = job.JobName, job.NextRun
	}
	_, err := db.Exec(ctx, s.Text("correct_plans"), pgx.NamedArgs{"job_names": names, "was": was, "next_runs": nextRuns})
	if err != nil {
		return fmt.Errorf("correct the plans: %w", err)
	}
	return nil
}

// UndecidedSpan is a stretch of time for which a job's ticks will not be decided.
type UndecidedSpan struct {
	ID       int64
	JobName  string
	Schedule string
	Timezone string
	// After and UpTo bound the ticks: t with After < t <= UpTo.
	After  time.Time
	UpTo   time.Time
	Reason string
	DryRun bool
	// WasActive says that the job was to run.
	WasActive bool
}

// UndecidedSpans reads the spans of some jobs, oldest first. The jobs must be locked.
func (s *Statements) UndecidedSpans(ctx context.Context, tx pgx.Tx, jobNames []string) ([]UndecidedSpan, error) {
	return collect[UndecidedSpan](ctx, tx, "read the undecided spans", s.Text("undecided_spans"), pgx.NamedArgs{"job_names": jobNames})
}

// DeleteSpans deletes spans that are accounted for.
func (s *Statements) DeleteSpans(ctx context.Context, tx pgx.Tx, ids []int64) error {
	if _, err := tx.Exec(ctx, s.Text("delete_spans"), pgx.NamedArgs{"ids": ids}); err != nil {
		return fmt.Errorf("delete the undecided spans: %w", err)
	}
	return nil
}

// DueJob is a job whose time has come, or for which a run was requested.
type DueJob struct {
	JobName string
	// Schedule and Timezone are those in force.
	Schedule     string
	Timezone     string
	Overlap      jobs.Overlap
	CatchUp      jobs.CatchUp
	CatchUpLimit int
	// CatchUpMaxAge is nil for ticks of any age.
	CatchUpMaxAge *time.Duration
	Timeout       time.Duration
	MaxAttempts   int
	DryRun        bool
	Parameters    []byte
	// NextRun is the first tick that is not decided; nil for a requested run of a
	// job that is not planned.
	NextRun *time.Time
	// Now is the database's clock.
	Now time.Time
	// Paused says that nothing may be enqueued.
	Paused bool
	// Enabled jobs have ticks.
	Enabled bool
	// Unfinished says that a run of the job is in River's hands and has not ended.
	Unfinished bool
	// Queued says that overlap has put a run in line.
	Queued bool
}

// DueJobs locks and returns up to limit jobs that are due, longest due first.
func (s *Statements) DueJobs(ctx context.Context, tx pgx.Tx, limit int) ([]DueJob, error) {
	return collect[DueJob](ctx, tx, "read the due jobs", s.Text("due_jobs"), pgx.NamedArgs{"max": limit})
}

// JobForRun reads the job of a run that was locked together with it; nil if it is
// not registered.
func (s *Statements) JobForRun(ctx context.Context, tx pgx.Tx, jobName string) (*DueJob, error) {
	found, err := collect[DueJob](ctx, tx, "read the job", s.Text("job_for_run"), pgx.NamedArgs{"job_name": jobName})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
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

// AnnounceJob makes a job that no leader has declared, and says whether there was none.
func (s *Statements) AnnounceJob(ctx context.Context, db Querier, jobName, schedule string) (bool, error) {
	tag, err := db.Exec(ctx, s.Text("announce_job"), pgx.NamedArgs{"job_name": jobName, "schedule": schedule})
	if err != nil {
		return false, fmt.Errorf("announce the job: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}
