package jobs

import "context"

// Checker is an optional interface of a job that can tell, before any run, whether it
// fits the database: whether its tables and columns are there, say.
type Checker interface {
	Job

	// Check looks at what the job needs. It is called before a replica starts, and by
	// whoever asks whether all is well. Of the run, Job, Schema, Now, Logger and Tx are set,
	// and Parameters, which are those that a scheduled run has.
	//
	// Tx is a read-only transaction on a connection like those of the runs, with the same
	// search_path, and is rolled back. Statements may be prepared in it; their errors may
	// break it, what has been asked for by then is rolled back to where the check began.
	//
	// An error keeps the replica from starting. An error that is, or joins, a [*FieldError]
	// says which part of the declaration is wrong. A job that has nothing to look at
	// returns nil.
	Check(ctx context.Context, run *Run) error
}
