package sql

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/jobs"
)

// HistoryRow is the newest runs of a job, oldest first: the same place of each list is
// the same run.
type HistoryRow struct {
	JobName  string        `json:"job_name"`
	IDs      []int64       `json:"ids"      db:"ids"`
	Statuses []jobs.Status `json:"statuses"`
	// Durations are in seconds; 0 for a run that has not begun.
	Durations []float64 `json:"durations"`
	// RowCounts are rows changed; 0 for dry runs.
	RowCounts []int64 `json:"row_counts"`
}

// ListHistory reads the newest runs of each job that has any, or of the named one.
func (s *Statements) ListHistory(ctx context.Context, db Querier, jobName string, limit int) ([]HistoryRow, error) {
	return collect[HistoryRow](ctx, db, "read the history", s.Text("list_history"), pgx.NamedArgs{"job_name": jobName, "max": limit})
}

// DayRow is how many rows a job has changed in a day of UTC.
type DayRow struct {
	JobName string    `json:"job_name"`
	Day     time.Time `json:"day"`
	Rows    int64     `json:"rows"     db:"row_count"`
}

// RowsByDay reads how many rows were changed each day by all jobs, or by the named one.
// It goes back thirty days at most; days without any are left out.
func (s *Statements) RowsByDay(ctx context.Context, db Querier, jobName string, since time.Time) ([]DayRow, error) {
	return collect[DayRow](ctx, db, "read the rows by day", s.Text("rows_by_day"), pgx.NamedArgs{"job_name": jobName, "since": since})
}

// IncidentRow is runs of a job that ended alike, and not as they should.
type IncidentRow struct {
	JobName string `json:"job_name"`
	// Status is skipped, missed, failed, blocked or cancelled.
	Status jobs.Status `json:"status"`
	// Reason says why in words; it may be empty.
	Reason string `json:"reason"`
	Runs   int64  `json:"runs"`
	// Missed is the number of ticks that the runs with the status missed stand for.
	Missed    int64     `json:"missed"`
	LastAt    time.Time `json:"last_at"`
	LastID    int64     `json:"last_id"    db:"last_id"`
	LastError *string   `json:"last_error"`
}

// ListIncidents reads what did not go as it should since a time, the latest first.
func (s *Statements) ListIncidents(ctx context.Context, db Querier, jobName string, since time.Time, limit int) ([]IncidentRow, error) {
	return collect[IncidentRow](ctx, db, "list what went wrong", s.Text("list_incidents"), pgx.NamedArgs{"job_name": jobName, "since": since, "max": limit})
}

// ListWorking reads the runs that were handed out and have not ended.
func (s *Statements) ListWorking(ctx context.Context, db Querier, limit int) ([]RunRow, error) {
	return collect[RunRow](ctx, db, "list what is running", s.Text("list_working"), pgx.NamedArgs{"max": limit})
}

// ReadinessRow says whether schedules are kept.
type ReadinessRow struct {
	// Leader is the replica that leads; nil if none does.
	Leader *string
	// Overdue is how long ago the oldest tick was due that is not decided, in seconds.
	Overdue float64
}

// Readiness reads whether somebody leads and decides what is due.
func (s *Statements) Readiness(ctx context.Context, db Querier) (ReadinessRow, error) {
	list, err := collect[ReadinessRow](ctx, db, "read whether schedules are kept", s.Text("readiness"), pgx.NamedArgs{})
	if err != nil || len(list) == 0 {
		return ReadinessRow{}, err
	}
	return list[0], nil
}
