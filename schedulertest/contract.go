package schedulertest

import (
	"cmp"
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// ContractOptions say with what a job is put through the contract, and where it is
// different from others.
type ContractOptions struct {
	// Options are those of the runs. SetUpFunc makes rows for the job to work on, if they
	// are not in the database: a job that has nothing to do proves nothing. DryRun,
	// BatchesMax, Cursor, Done and CheckFunc are the contract's own and must not be set.
	Options

	// Tables are those whose rows the job counts, with their schemas, as in public.users.
	// Empty means all outside the scheduler's schema. Name them where a foreign key or a
	// trigger changes rows elsewhere, which the job does not count, and where a table is
	// in the scheduler's schema.
	Tables []string

	// IgnoreTables are tables whose content does not matter, such as a log.
	IgnoreTables []string

	// IgnoreColumns are columns, of any table, whose values differ from run to run though
	// the job does the same: ids from a sequence, times that are not made of run.Now.
	IgnoreColumns []string

	// Rewrites says that a second run for the same tick writes its rows again, with the
	// same values. The zero value wants it to find nothing to do, and to say 0 rows.
	Rewrites bool

	// NoRows says that the job changes no rows: it reads, or works outside the database.
	NoRows bool

	// OneBatch says that a [jobs.BatchJob] does all of it in one batch with the data of
	// the test, so that there is none between which it could be stopped. The zero value
	// wants several.
	OneBatch bool

	// StopWithin is how long the job may take to return when its context has ended. Zero
	// means [StopWithinDefault]. With odd parameters it has ten times as long to end.
	StopWithin time.Duration
}

// StopWithinDefault is how long a job may take to return when its context has ended.
const StopWithinDefault = 5 * time.Second

// check is one part of the contract.
type check struct {
	name string
	fn   func(t testing.TB, c *contract)
}

// checks are the parts of the contract, in the order of a run's life.
func checks() []check {
	return []check{
		{"definition", checkDefinition},
		{"works", checkWorks},
		{"counts", checkCounts},
		{"twice", checkTwice},
		{"dry_run", checkDryRun},
		{"failure", checkFailure},
		{"cancel", checkCancel},
		{"resume", checkResume},
		{"parameters", checkParameters},
		{"leaves_nothing", checkLeavesNothing},
	}
}

// Contract puts a job through what a scheduler relies on, and users do, each a subtest:
//
//   - definition: it is valid, and the same at each call.
//   - works: a run succeeds, and changes something, so that the other parts mean something.
//   - counts: the rows that it reports are those that were written to Tables, by the
//     server's own count.
//   - twice: a second run for the same tick changes nothing (see Rewrites).
//   - dry_run: a dry run changes nothing, not through run.Beginner nor through other
//     connections either, and reports as many rows as a run does.
//   - failure: where a statement fails, the attempt does. What it did is undone, and the
//     next one, from the last committed batch, ends with what one run in one go does.
//   - cancel: when its context ends, it returns within StopWithin, sends nothing more, and
//     nothing of that attempt, or batch, is left; the next one goes on as above.
//   - resume: a [jobs.BatchJob] goes on after each batch in another replica, and ends
//     with what one attempt does.
//   - parameters: values of a wrong type, or out of their bounds, are refused; with those
//     at the bounds, and the odd ones where there are none, it does not panic, and ends
//     within ten times StopWithin.
//   - leaves_nothing: no goroutine, no open transaction, no session's advisory lock. The
//     run's transaction is left to the scheduler.
//
// All of it happens in transactions that are rolled back (see the package's
// documentation), one after the other. The database should be the test's own: what others
// change in its tables meanwhile looks like the job's doing.
func Contract(t *testing.T, db DB, job jobs.Job, options ContractOptions) {
	t.Helper()
	for _, check := range checks() {
		t.Run(check.name, func(t *testing.T) {
			check.run(t, db, job, options)
		})
	}
}

func (c check) run(t testing.TB, db DB, job jobs.Job, options ContractOptions) {
	t.Helper()
	if options.DryRun || options.BatchesMax != 0 || options.Cursor != nil || options.Done != nil || options.CheckFunc != nil {
		t.Fatal("ContractOptions: DryRun, BatchesMax, Cursor, Done and CheckFunc are the contract's own: leave them out")
	}
	options.Options = options.withDefaults()
	options.StopWithin = cmp.Or(options.StopWithin, StopWithinDefault)
	if err := validate(job); err != nil {
		t.Fatal(err)
	}
	c.fn(t, &contract{db: db, job: job, options: options})
}

// contract is a job that is being put through the contract.
type contract struct {
	db      DB
	job     jobs.Job
	options ContractOptions
}

func (c *contract) isBatchJob() bool {
	_, ok := c.job.(jobs.BatchJob)
	return ok
}

// inTest runs fn in a transaction that is rolled back, with the rows of the test.
func (c *contract) inTest(t testing.TB, fn func(ctx context.Context, s *session)) {
	t.Helper()
	inTest(t, c.db, func(ctx context.Context, s *session) {
		t.Helper()
		setUp(ctx, t, s, c.options.Options)
		if c.options.Now.IsZero() {
			// All attempts at the same time, as if one had ended in no time.
			now, err := sql.Contract{}.Now(ctx, s.outer)
			if err != nil {
				t.Fatal(err)
			}
			c.options.Now = now
		}
		fn(ctx, s)
	})
}

// mustRun runs an attempt that must succeed.
func (c *contract) mustRun(ctx context.Context, t testing.TB, s *session, options Options) *Result {
	t.Helper()
	result := s.run(ctx, t, c.job, options)
	if result.Err != nil {
		t.Fatalf("the run fails: %v", result.Err)
	}
	return result
}

// goal is what a run in one go does.
type goal struct {
	before, after state
	result        *Result
	statements    int
}

// reach finds out what a run in one go does, and undoes it.
func (c *contract) reach(ctx context.Context, t testing.TB, s *session) goal {
	t.Helper()
	g := goal{before: s.state(ctx, t, c.options)}
	tx, err := s.begin(ctx, kindKit, false)
	if err != nil {
		t.Fatal(err)
	}
	s.hook(func(context.Context) error {
		g.statements++
		return nil
	})
	g.result = c.mustRun(ctx, t, s, c.options.Options)
	s.hook(nil)
	g.after = s.state(ctx, t, c.options)
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	return g
}

// requireReached goes on from what an attempt has left, and wants the end to be that of a
// run in one go.
func (c *contract) requireReached(ctx context.Context, t testing.TB, s *session, g goal, left *Result) {
	t.Helper()
	options := c.options.Options
	options.Attempt++
	options.Cursor, options.Done = left.Cursor, nil
	if c.isBatchJob() {
		options.Done = left.Targets
	}
	last := s.run(ctx, t, c.job, options)
	if last.Err != nil {
		t.Errorf("the attempt after it fails: %v", last.Err)
		return
	}
	c.requireSame(ctx, t, s, g, last)
}

func (c *contract) requireSame(ctx context.Context, t testing.TB, s *session, g goal, last *Result) {
	t.Helper()
	if last.RowsAffected != g.result.RowsAffected {
		t.Errorf("the run reports %d rows in the end, in one go it reports %d", last.RowsAffected, g.result.RowsAffected)
	}
	if text := g.after.differences(s.state(ctx, t, c.options)); text != "" {
		t.Errorf("in the end the database is not as after a run in one go: %s. If these values differ from run to run, name their columns in IgnoreColumns", text)
	}
}

func (s *session) hook(fn func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hookFunc = fn
}

// committed reads what is committed in the database, if the test may begin transactions.
func (c *contract) committed(t testing.TB) state {
	t.Helper()
	var read state
	if _, isTx := c.db.(pgx.Tx); isTx {
		return read
	}
	inTest(t, c.db, func(ctx context.Context, s *session) {
		t.Helper()
		read = s.state(ctx, t, c.options)
	})
	return read
}
