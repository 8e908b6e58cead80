package jobs

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// TimeoutDefault bounds one attempt of a job whose definition names no
	// timeout. It equals River's rescue horizon, after which operators expect a
	// stuck job to be noticed.
	TimeoutDefault = time.Hour

	// MaxAttemptsDefault is the number of attempts of a job whose definition
	// names none.
	MaxAttemptsDefault = 5

	// CatchUpLimitDefault is how many missed ticks are made up for where nothing
	// else is said.
	CatchUpLimitDefault = 100

	// CatchUpLimitMax is how many missed ticks may be made up for: they are written in
	// one transaction, which holds up the leader for as long.
	CatchUpLimitMax = 10_000
)

// Definition says what a job is. It is the same for every run; what a
// deployment may change (schedule, time zone, parameters, policies) is a
// default here.
type Definition struct {
	// Name identifies the job everywhere: in the ledger, as River's job kind, on
	// the command line. Lower-case letters, digits and underscores, starting with
	// a letter, at most 100 characters. Required.
	Name string

	// Description is one line for people. Optional.
	Description string

	// Schedule is cron text: five fields, six with seconds first, a name such as
	// @hourly, or "@every 90s". Required.
	Schedule string

	// TimeZone is the IANA name of the zone in which Schedule is read. Empty
	// means the scheduler's default, which is UTC unless configured.
	TimeZone string

	// Parameters lists what a run of the job can be told. A parameter that is not
	// listed is refused.
	Parameters []Parameter

	// Needs lists what the job asks of the program with [App]. If the job is enabled and
	// something of it is missing, scheduler.New refuses to start. Optional.
	Needs []Need

	// Timeout bounds one attempt. Zero means [TimeoutDefault]. It cannot be
	// switched off: a run without an end would block its successors for ever.
	Timeout time.Duration

	// MaxAttempts is the number of times that a run is tried before it has failed.
	// Zero means [MaxAttemptsDefault].
	MaxAttempts int

	// BackoffFunc gives the wait before the next attempt, after attempt (1 for the
	// first) has failed. Nil means River's default policy, attempt^4 seconds with
	// jitter.
	BackoffFunc func(attempt int) time.Duration

	// Overlap says what happens to a run that is due while the one before has not
	// ended. Empty means [OverlapSkip].
	Overlap Overlap

	// CatchUp says what happens to ticks that were missed. Empty means
	// [CatchUpLatest].
	CatchUp CatchUp

	// CatchUpLimit is how many missed ticks are run at most with [CatchUpAll], the
	// newest. Zero means [CatchUpLimitDefault]; at most [CatchUpLimitMax].
	CatchUpLimit int

	// CatchUpMaxAge is the age beyond which a missed tick is not run any more. Zero
	// means that any age will do.
	CatchUpMaxAge time.Duration

	// DisabledByDefault leaves the job out of the schedule until a deployment
	// enables it. It can be run when somebody asks for it all the same. The zero value
	// schedules it.
	DisabledByDefault bool
}

// Job is anything with a definition. A registered job must also be a [TxJob] or
// a [BatchJob].
type Job interface {
	// Definition describes the job. It is called often and must return the same
	// value every time.
	Definition() Definition
}

// TxJob does its work in one transaction.
type TxJob interface {
	Job

	// Run works on run.Tx. What it changes commits together with the record of
	// the run, or not at all. It must not commit or roll back run.Tx, nor leave it
	// idle for longer than a minute: the server then ends it. The context
	// ends at the timeout, when the run is cancelled, and when the replica can no
	// longer prove that it is alive.
	//
	// An error fails the attempt, which is tried again later; wrap it with
	// [Permanent] to give up at once, or with [Blocked] if a bound would be passed.
	Run(ctx context.Context, run *Run) (Result, error)
}

// BatchJob cuts its work into transactions.
type BatchJob interface {
	Job

	// Start begins an attempt, or resumes the run after the last batch that an
	// earlier attempt committed (see [Run.Cursor]). It runs outside any
	// transaction; run.Tx is nil.
	Start(ctx context.Context, run *Run) (Batches, error)
}

// Batches is the work of one attempt of a [BatchJob].
type Batches interface {
	// Next does the next piece of work on batch.Tx and records in batch what it
	// did. It must not leave batch.Tx idle for longer than three seconds: the server
	// then ends it, since nobody may be behind it any more. The piece commits together with that record. Next reports whether the
	// run is complete; if it is, this batch's transaction also completes the run.
	//
	// In a dry run (see [Run.DryRun]) everything that Next changed through
	// batch.Tx is rolled back, its record is kept.
	Next(ctx context.Context, batch *Batch) (done bool, err error)
}

// Preparer is an optional interface of [Batches] whose next piece must be found
// by reading that would take too long inside the batch's transaction.
type Preparer interface {
	// Prepare runs before each Next, outside any transaction, and without a lock
	// on the run's record. Before the first Next is the place to return an error
	// that is marked with [Blocked].
	Prepare(ctx context.Context) error
}

// Batch is one transaction of a [BatchJob].
type Batch struct {
	// Tx is the transaction, at isolation level READ COMMITTED.
	Tx pgx.Tx

	// Targets holds what this batch did, by target.
	Targets Targets

	// Cursor, if not nil, replaces the run's cursor when the batch commits: what
	// Start needs to go on from here on any replica. It is stored as JSON.
	Cursor any

	// Message, if not empty, replaces the run's message.
	Message string

	// Total, if positive, replaces the estimate of rows that the whole run will
	// affect. It is shown to people only.
	Total int64
}

// Target is what a run did to one of the things it works on.
type Target struct {
	// Rows is the number of rows affected; in a dry run, those that would be.
	Rows int64 `json:"rows"`

	// Batches is the number of transactions that affected rows of this target.
	Batches int64 `json:"batches,omitempty"`

	// Absent says that the target does not exist in this database and was left
	// out.
	Absent bool `json:"absent,omitempty"`

	// Note is one line for people, such as why a target was left out.
	Note string `json:"note,omitempty"`

	// Plan is one line for people: how its rows are worked, and why so.
	Plan string `json:"plan,omitempty"`
}

// Targets maps a target's name to what was done to it.
type Targets map[string]Target

// Merge adds the counts of other to t. Absent, Note and Plan are taken from other
// where it sets them.
func (t Targets) Merge(other Targets) {
	for name, o := range other {
		c := t[name]
		c.Rows += o.Rows
		c.Batches += o.Batches
		c.Absent = c.Absent || o.Absent
		if o.Note != "" {
			c.Note = o.Note
		}
		if o.Plan != "" {
			c.Plan = o.Plan
		}
		t[name] = c
	}
}

// Rows is the number of rows over all targets.
func (t Targets) Rows() int64 {
	var n int64
	for _, c := range t {
		n += c.Rows
	}
	return n
}

// Result is what a [TxJob] gives back.
type Result struct {
	// RowsAffected is the number of rows that the run changed. Zero with Targets
	// set means the sum over the targets.
	RowsAffected int64

	// Targets splits the count by what was worked on. Optional.
	Targets Targets

	// Message is one line for people. Optional.
	Message string
}

// Args is what travels with a River job: River's job args. Its JSON form is the
// contract between the leader that enqueues and the replica that works, which
// may be of different versions: fields are only ever added.
type Args struct {
	// JobName is the job's name and River's kind. It is not part of the JSON: in
	// a worker, use the kind of River's row.
	JobName string `json:"-"`

	// RunID is the key of the run's row in the ledger.
	RunID int64 `json:"run_id"`

	// Tick is the time that the run is for.
	Tick time.Time `json:"tick"`

	// Trigger says why the run exists.
	Trigger Trigger `json:"trigger"`

	// Parameters are the resolved parameters.
	Parameters json.RawMessage `json:"parameters,omitempty"`

	// DryRun is set if nothing may be changed.
	DryRun bool `json:"dry_run,omitempty"`

	// Timeout bounds an attempt, in nanoseconds. Zero means the default of the
	// job's definition.
	Timeout time.Duration `json:"timeout,omitempty"`
}

// Kind is River's job kind, the job's name.
func (a Args) Kind() string { return a.JobName }

type funcJob struct {
	definition Definition
	run        func(ctx context.Context, run *Run) (Result, error)
}

// Func makes a [TxJob] of one function. See [TxJob.Run] for what the function
// may do.
func Func(definition Definition, run func(ctx context.Context, run *Run) (Result, error)) TxJob {
	return &funcJob{definition: definition, run: run}
}

func (j *funcJob) Definition() Definition { return j.definition }

func (j *funcJob) Run(ctx context.Context, run *Run) (Result, error) { return j.run(ctx, run) }

var _ TxJob = (*funcJob)(nil)
