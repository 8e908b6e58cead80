package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// Run is one execution of a job, as handed to it. Its fields are set by the
// scheduler and only read by the job.
type Run struct {
	// ID is the key of the run's row in the ledger.
	ID int64

	// Job is the job's name.
	Job string

	// Tick is the time that the run is for: the scheduled time, or, for a manual
	// run, the time it was asked for.
	Tick time.Time

	// Trigger says why the run exists.
	Trigger Trigger

	// Attempt counts from 1.
	Attempt int

	// MaxAttempts is the last attempt there will be.
	MaxAttempts int

	// Now is the database's clock when the attempt began. Rules about age use it
	// and never the clock of the replica.
	Now time.Time

	// DryRun is set if the run must change nothing and only report. Whatever a
	// transaction of a dry run changes is rolled back.
	DryRun bool

	// Parameters holds a value for every parameter of the definition.
	Parameters Parameters

	// Logger carries the job's name, the run's id and the attempt, and the trace's id if
	// the run is traced. What it is told at level info and above is kept with the run, a
	// bounded part of it, for whoever may read the ledger: no secrets.
	Logger *slog.Logger

	// Schema is the scheduler's own schema. Jobs rarely need it.
	Schema string

	// Tx is the transaction of a [TxJob], at isolation level READ COMMITTED and
	// with the application's own search_path; nil for a [BatchJob].
	Tx pgx.Tx

	// Cursor is what the last committed batch stored; nil at the start of a run.
	Cursor json.RawMessage

	// Done holds what earlier batches of the run, of this attempt or another,
	// committed.
	Done Targets

	// Beginner opens transactions beside the run's own ones, for reading and for
	// keeping notes. They are neither fenced nor part of the record.
	Beginner interface {
		Begin(ctx context.Context) (pgx.Tx, error)
	}

	// Connector opens connections of the run's own, outside any transaction: see
	// [Run.Connect]. Nil where there are none.
	Connector interface {
		Connect(ctx context.Context) (*pgx.Conn, error)
	}

	// ProgressFunc receives what Progress is told; nil means nobody listens.
	ProgressFunc func(ctx context.Context, progress Progress)

	// App is what the program provides for its jobs; nil if that is nothing. Use [App]
	// for typed access.
	App any
}

// Progress says how far a run is. It is shown to people; the record is in the
// result.
type Progress struct {
	// Done is the number of rows, or other units, done so far.
	Done int64 `json:"done"`
	// Total is the number expected; zero if unknown.
	Total int64 `json:"total,omitempty"`
	// Message is one line for people.
	Message string `json:"message,omitempty"`
	// Rate is the number of rows a second, lately, and SecondsLeft the time that the rest
	// will take at that rate. The worker fills them in for a [BatchJob], from the batches
	// that it has seen in this attempt and from [Batch.Total]; zero if unknown.
	Rate        float64 `json:"rows_per_second,omitempty"`
	SecondsLeft float64 `json:"seconds_left,omitempty"`
}

// Connect opens a connection of the run's own, for what the database does not do in a
// transaction. While it is open it holds a lock in the job's name: no other connection of
// the job, of whatever replica, is in the database meanwhile; one that is there already
// is waited for some seconds. What is done on it is neither fenced nor part of the
// record. Whoever opens it closes it.
func (r *Run) Connect(ctx context.Context) (*pgx.Conn, error) {
	if r.Connector == nil {
		return nil, fmt.Errorf("job %q needs a connection of its own, and whoever runs it has none: set Connector", r.Job)
	}
	return r.Connector.Connect(ctx)
}

// Progress reports how far the run is. It is cheap to call often: reports that
// follow each other closely are dropped. It never fails; a report that could
// not be stored is lost.
func (r *Run) Progress(ctx context.Context, progress Progress) {
	if r.ProgressFunc != nil {
		r.ProgressFunc(ctx, progress)
	}
}
