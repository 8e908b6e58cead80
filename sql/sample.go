package sql

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// sampleMax is the number up to which a sample counts: some milliseconds, whatever has
// piled up.
const sampleMax = 10_000

// Sample is what the metrics sample.
type Sample struct {
	// River's jobs by state.
	Available, Running, Retryable, Scheduled, Pending int64
	// OldestAvailable is for how long the first of the queue has been there.
	OldestAvailable time.Duration
	// Waiting is the number of runs in line.
	Waiting int64
	// Jobs by state; those with a problem are among the others.
	JobsActive, JobsPaused, JobsDisabled, JobsUnregistered, JobsProblem int64
}

// Sample counts, up to 10000 of each.
func (s *Statements) Sample(ctx context.Context, db Querier) (Sample, error) {
	rows, err := db.Query(ctx, s.Text("sample"), pgx.NamedArgs{"max": sampleMax})
	if err != nil {
		return Sample{}, fmt.Errorf("sample the queue: %w", err)
	}
	sample, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Sample])
	if err != nil {
		return Sample{}, fmt.Errorf("sample the queue: %w", err)
	}
	return sample, nil
}
