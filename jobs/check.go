package jobs

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Checker is an optional interface of a job that can tell, before any run, whether it
// fits the database: whether its tables and columns are there, say.
type Checker interface {
	Job

	// Check looks at what the job needs. It is called before a replica starts, and by
	// whoever asks whether all is well, with the parameters that a scheduled run has.
	//
	// tx is a read-only transaction on a connection like those of the runs, with the same
	// search_path, and is rolled back. Statements may be prepared in it; their errors may
	// break it, what has been asked for by then is rolled back to where the check began.
	//
	// An error keeps the replica from starting. An error that is, or joins, a [*FieldError]
	// says which part of the declaration is wrong.
	Check(ctx context.Context, tx pgx.Tx, parameters Parameters) error
}

// RunChecker does what a [Checker] does for a job that needs to know more: the clock of the
// database, the scheduler's schema.
type RunChecker interface {
	Job

	// CheckOn is [Checker.Check] with the transaction in run.Tx. Of the other fields, Job,
	// Schema, Now, Parameters and Logger are set.
	CheckOn(ctx context.Context, run *Run) error

	// HasChecks says whether there is anything to check.
	HasChecks() bool
}

// CheckFunc is what a job has to check, for a run as [RunChecker.CheckOn] takes it; nil if
// there is nothing.
func CheckFunc(job Job) func(ctx context.Context, run *Run) error {
	switch job := job.(type) {
	case RunChecker:
		if job.HasChecks() {
			return job.CheckOn
		}
	case Checker:
		return func(ctx context.Context, run *Run) error { return job.Check(ctx, run.Tx, run.Parameters) }
	}
	return nil
}
