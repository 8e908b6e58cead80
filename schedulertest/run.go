package schedulertest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/scheduler/internal/runlog"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// DB is the database of a test: a *pgxpool.Pool, a *pgx.Conn, or a transaction that the
// test has begun.
type DB interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Options say how a job is run. The zero value runs its first attempt, with its own
// defaults, now.
type Options struct {
	// Tick is what run.Tick is. Zero means Now.
	Tick time.Time

	// Now is what run.Now is. Zero means the database's clock.
	Now time.Time

	// Trigger is why the run exists. Empty means jobs.TriggerSchedule.
	Trigger jobs.Trigger

	// Attempt is what run.Attempt is. Zero means 1.
	Attempt int

	// Parameters are given over the defaults, and checked like those of a real run.
	Parameters map[string]any

	// DryRun runs the job as a dry run.
	DryRun bool

	// App is what the program provides, as in scheduler.Config. What the job's definition
	// needs and does not find there fails the run, as it does a replica's start.
	App any

	// ConnectFunc is what run.Connect opens: connections of the run's own, on which nothing
	// is undone. Nil means that the job gets an error.
	ConnectFunc func(ctx context.Context) (*pgx.Conn, error)

	// RunID is the run's number. Zero means 1. It needs no row in the ledger.
	RunID int64

	// Schema is the scheduler's schema. Empty means sql.SchemaDefault.
	Schema string

	// Cursor and Done are where a run of several batches goes on. Nil begins it.
	Cursor json.RawMessage
	Done   jobs.Targets

	// BatchesMax ends the attempt after so many committed batches, as if its replica had
	// died then: [Result.Complete] is false. Zero means no bound.
	BatchesMax int

	// SetUpFunc makes what the job is to find, in the transaction that is rolled back.
	// Optional. An error fails the test.
	SetUpFunc func(ctx context.Context, tx pgx.Tx) error

	// CheckFunc looks at the database after the run and before all of it is rolled back.
	// Optional. An error fails the test.
	CheckFunc func(ctx context.Context, tx pgx.Tx, result *Result) error

	// Logger also receives what the job logs. Nil discards it; [Result.Log] has it.
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	o.Trigger = cmp.Or(o.Trigger, jobs.TriggerSchedule)
	o.Attempt = cmp.Or(o.Attempt, 1)
	o.RunID = cmp.Or(o.RunID, 1)
	o.Schema = cmp.Or(o.Schema, sql.SchemaDefault)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Result is what an attempt did: what the ledger would have of it.
type Result struct {
	// Complete says that the run is done: Err is nil, and no BatchesMax ended it.
	Complete bool

	// Err is what the attempt has failed with: the job's error, what its Check has found
	// ([jobs.Checker]), a piece that the program does not provide (errors.Is with
	// jobs.ErrAppValue), a parameter that was refused (jobs.ErrInvalidParameter), or a
	// panic (a [*PanicError]).
	Err error

	// RowsAffected is what the ledger would say. What a failed attempt had committed in
	// batches counts.
	RowsAffected int64

	// Targets splits it by what was worked on.
	Targets jobs.Targets

	// Message is the run's line for people.
	Message string

	// Batches is the number of batches that were committed; in a dry run, of those that
	// were recorded. Zero for a [jobs.TxJob].
	Batches int

	// Total is the last estimate of rows that the job gave (jobs.Batch.Total).
	Total int64

	// Cursor is where another attempt would go on; nil if the job stores none.
	Cursor json.RawMessage

	// Progress is what the job has reported, all of it. A worker drops some.
	Progress []jobs.Progress

	// Log is what is kept of what the job has logged, at level info and above.
	Log []LogLine

	// Misuse lists what the job did that it must not do and that a worker would refuse or
	// make good: it ended the transaction of its run, left one of run.Beginner open.
	Misuse []string
}

// LogLine is a line of a run's log, as the view run_logs shows it.
type LogLine struct {
	At         time.Time      `json:"at"`
	Level      string         `json:"level"`
	Message    string         `json:"message"`
	Attributes map[string]any `json:"attributes"`
}

// PanicError is a panic of a job: a worker makes a failed attempt of it.
type PanicError struct {
	// Value is what the job panicked with.
	Value any
	// Stack is where.
	Stack string
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// errExit: the job has ended its goroutine.
var errExit = errors.New("the job has called runtime.Goexit, as t.FailNow and t.Skip do: return an error instead")

// RunOnce runs one attempt of a job, in one transaction that is rolled back: see the
// package's documentation. The attempt ends at the timeout of the job's definition, or
// with the test. What the job does wrong is in the result. The test fails at once where
// the kit itself cannot go on: the database does not answer, or the job is none.
func RunOnce(t testing.TB, db DB, job jobs.Job, options Options) *Result {
	t.Helper()
	options = options.withDefaults()
	if err := jobs.Validate(job); err != nil {
		t.Fatal(err)
	}
	var result *Result
	inTest(t, db, func(ctx context.Context, s *session) {
		t.Helper()
		setUp(ctx, t, s, options)
		result = s.run(ctx, t, job, options)
		if options.CheckFunc != nil {
			look(ctx, t, s, func(tx pgx.Tx) error { return options.CheckFunc(ctx, tx, result) })
		}
	})
	return result
}

// inTest runs fn in a transaction that is rolled back.
func inTest(t testing.TB, db DB, fn func(ctx context.Context, s *session)) {
	t.Helper()
	ctx := t.Context()
	outer, err := db.Begin(ctx)
	if err != nil {
		t.Fatalf("begin the test's transaction: %v", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
		defer cancel()
		if err := outer.Rollback(ctx); err != nil && !outer.Conn().IsClosed() {
			t.Errorf("roll back the test's transaction: %v", err)
		}
	}()
	fn(ctx, &session{outer: outer})
}

// rollbackTimeout bounds the end of a test.
const rollbackTimeout = 10 * time.Second

func setUp(ctx context.Context, t testing.TB, s *session, options Options) {
	t.Helper()
	if options.SetUpFunc == nil {
		return
	}
	tx, err := s.begin(ctx, kindKit, false)
	if err == nil {
		err = options.SetUpFunc(ctx, tx)
		s.requireOpen(t, "SetUpFunc")
	}
	if err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		t.Fatalf("SetUpFunc: %v", err)
	}
}

// look runs fn in a transaction that is rolled back.
func look(ctx context.Context, t testing.TB, s *session, fn func(tx pgx.Tx) error) {
	t.Helper()
	tx, err := s.begin(ctx, kindKit, false)
	if err == nil {
		err = errors.Join(fn(tx), tx.Rollback(ctx))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// run runs one attempt as a worker does. options have their defaults.
func (s *session) run(ctx context.Context, t testing.TB, job jobs.Job, options Options) *Result {
	t.Helper()
	a := &attempt{s: s, options: options, job: job, result: &Result{Targets: jobs.Targets{}, Cursor: options.Cursor}, kept: runlog.New(logLinesMax)}
	a.result.Targets.Merge(options.Done)
	a.now = options.Now
	if a.now.IsZero() {
		look(ctx, t, s, func(tx pgx.Tx) (err error) {
			a.now, err = sql.Contract{}.Now(ctx, tx)
			return err
		})
	}
	definition := job.Definition()
	runCtx, cancel := context.WithTimeout(ctx, cmp.Or(definition.Timeout, jobs.TimeoutDefault))
	defer cancel()
	err := guarded(func() error { return a.work(runCtx, definition) })
	s.requireOpen(t, "the job")
	if slices.Contains(s.problems, misuseEnded) && !errors.Is(err, jobs.ErrTxOfRun) {
		err = errors.Join(err, jobs.Permanent(jobs.ErrTxOfRun))
	}
	if left := s.closeBeside(context.WithoutCancel(ctx)); left > 0 {
		s.problem(fmt.Sprintf("it left %d transactions of run.Beginner open", left))
	}
	a.result.Err = explain(ctx, s, options.Schema, err)
	a.result.Complete = err == nil && !a.stopped
	a.result.Misuse = s.problems
	if lines := a.kept.JSON(); lines != nil {
		if err := json.Unmarshal(lines, &a.result.Log); err != nil {
			t.Fatalf("read the log of the run: %v", err)
		}
	}
	return a.result
}

// logLinesMax is more than a scheduler keeps where nothing else is configured.
const logLinesMax = 1000

// guarded makes an error of a panic, and of an end of the goroutine.
func guarded(fn func() error) error {
	ended := make(chan error, 1)
	go func() {
		err := errExit
		defer func() {
			if recovered := recover(); recovered != nil {
				err = &PanicError{Value: recovered, Stack: string(debug.Stack())}
			}
			ended <- err
		}()
		err = fn()
	}()
	return <-ended
}

// explain adds what to do where the scheduler's schema is not there.
func explain(ctx context.Context, s *session, schema string, err error) error {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pg.Code != "42P01" && pg.Code != "3F000" {
		return err
	}
	tx, beginErr := s.begin(ctx, kindKit, false)
	if beginErr != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if exists, lookErr := (sql.Contract{}).HasSchema(ctx, tx, schema); lookErr != nil || exists {
		return err
	}
	return fmt.Errorf("%w (the schema %q is not in this database, and the job uses it: make it before the test, with scheduler.MigrateUp)", err, schema)
}

// attempt is one attempt of a run.
type attempt struct {
	s       *session
	options Options
	job     jobs.Job
	now     time.Time
	result  *Result
	kept    *runlog.Kept
	stopped bool
	// batchCtxFunc, if not nil, makes the context of a batch, by its number from 1.
	batchCtxFunc func(ctx context.Context, n int) context.Context
}

func (a *attempt) work(ctx context.Context, definition jobs.Definition) error {
	if err := jobs.CheckNeeds(definition, a.options.App); err != nil {
		return err
	}
	parameters, err := jobs.Resolve(definition, a.options.Parameters)
	if err != nil {
		return jobs.Permanent(err)
	}
	tick := a.options.Tick
	if tick.IsZero() {
		tick = a.now
	}
	run := &jobs.Run{
		ID: a.options.RunID, Job: definition.Name, Tick: tick, Trigger: a.options.Trigger,
		Attempt: a.options.Attempt, MaxAttempts: max(cmp.Or(definition.MaxAttempts, jobs.MaxAttemptsDefault), a.options.Attempt),
		Now: a.now, DryRun: a.options.DryRun, Parameters: parameters, Logger: a.kept.Logger(a.options.Logger), Schema: a.options.Schema,
		Cursor: a.options.Cursor, Done: a.options.Done, Beginner: a.s, App: a.options.App,
		ProgressFunc: func(_ context.Context, progress jobs.Progress) { a.progress(progress) },
	}
	if a.options.ConnectFunc != nil {
		run.Connector = connector(a.options.ConnectFunc)
	}
	if checker, ok := a.job.(jobs.Checker); ok {
		if err := a.check(ctx, checker, *run); err != nil {
			return err
		}
	}
	switch job := a.job.(type) {
	case jobs.TxJob:
		return a.workTx(ctx, job, run)
	case jobs.BatchJob:
		return a.workBatches(ctx, job, run)
	}
	return fmt.Errorf("%T: %w", a.job, jobs.ErrInvalidJob)
}

// connector opens connections of a run's own.
type connector func(ctx context.Context) (*pgx.Conn, error)

// Connect opens one.
func (c connector) Connect(ctx context.Context) (*pgx.Conn, error) { return c(ctx) }

// check has the job look at the database, as before a replica starts.
func (a *attempt) check(ctx context.Context, checker jobs.Checker, run jobs.Run) error {
	tx, err := a.s.begin(ctx, kindKit, false)
	if err != nil {
		return err
	}
	run.Tx = tx
	return errors.Join(checker.Check(ctx, &run), tx.Rollback(ctx))
}

// progress keeps a report; a job may have several goroutines that report.
func (a *attempt) progress(progress jobs.Progress) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.result.Progress = append(a.result.Progress, progress)
}

func (a *attempt) workTx(ctx context.Context, job jobs.TxJob, run *jobs.Run) error {
	return a.inTx(ctx, func(tx pgx.Tx) error {
		run.Tx = tx
		result, err := job.Run(ctx, run)
		if err != nil {
			return err
		}
		a.result.Targets.Merge(result.Targets)
		a.result.RowsAffected = cmp.Or(result.RowsAffected, result.Targets.Rows())
		a.result.Message = result.Message
		return nil
	})
}

func (a *attempt) workBatches(ctx context.Context, job jobs.BatchJob, run *jobs.Run) error {
	a.result.RowsAffected = a.result.Targets.Rows()
	batches, err := job.Start(ctx, run)
	if err != nil {
		return err
	}
	preparer, _ := batches.(jobs.Preparer)
	for done := false; !done; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if a.options.BatchesMax > 0 && a.result.Batches == a.options.BatchesMax {
			a.stopped = true
			return nil
		}
		if preparer != nil {
			if err := preparer.Prepare(ctx); err != nil {
				return err
			}
		}
		if done, err = a.batch(ctx, batches); err != nil {
			return err
		}
	}
	return nil
}

func (a *attempt) batch(ctx context.Context, batches jobs.Batches) (done bool, err error) {
	if a.batchCtxFunc != nil {
		ctx = a.batchCtxFunc(ctx, a.result.Batches+1)
	}
	batch := &jobs.Batch{Targets: jobs.Targets{}}
	err = a.inTx(ctx, func(tx pgx.Tx) (err error) {
		batch.Tx = tx
		done, err = batches.Next(ctx, batch)
		return err
	})
	if err != nil {
		return false, err
	}
	if batch.Cursor != nil {
		if a.result.Cursor, err = json.Marshal(batch.Cursor); err != nil {
			return false, fmt.Errorf("encode the cursor: %w", err)
		}
	}
	a.result.Batches++
	a.result.Targets.Merge(batch.Targets)
	a.result.RowsAffected = a.result.Targets.Rows()
	a.result.Message = cmp.Or(batch.Message, a.result.Message)
	if batch.Total > 0 {
		a.result.Total = batch.Total
	}
	return done, nil
}

// inTx runs the job's part of a transaction, and commits it if there was no error and the
// run is real.
func (a *attempt) inTx(ctx context.Context, fn func(tx pgx.Tx) error) error {
	tx, err := a.s.begin(ctx, kindRun, true)
	if err != nil {
		return err
	}
	isOpen := true
	defer func() {
		if isOpen { // an error, or a panic
			_ = a.s.end(context.WithoutCancel(ctx), tx, false)
		}
	}()
	if err := fn(tx); err != nil {
		return err
	}
	isOpen = false
	return a.s.end(context.WithoutCancel(ctx), tx, !a.options.DryRun)
}
