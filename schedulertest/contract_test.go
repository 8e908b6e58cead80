package schedulertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }

// recorder is a test that is told what is wrong and does not fail.
type recorder struct {
	testing.TB

	mu    sync.Mutex
	lines []string
}

func (r *recorder) Helper() {}

func (r *recorder) Error(args ...any) { r.add(fmt.Sprint(args...)) }

func (r *recorder) Errorf(format string, args ...any) { r.add(fmt.Sprintf(format, args...)) }

func (r *recorder) Fatal(args ...any) {
	r.add(fmt.Sprint(args...))
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.add(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (r *recorder) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

// record runs fn with a recorder and returns what it was told.
func record(t *testing.T, fn func(t testing.TB)) string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn(r)
	}()
	<-done
	return strings.Join(r.lines, "\n")
}

// verdicts puts a job through the contract and says what is wrong, by check.
func verdicts(t *testing.T, db DB, job jobs.Job) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, check := range checks() {
		if text := record(t, func(t testing.TB) { check.run(t, db, job, ContractOptions{}) }); text != "" {
			found[check.name] = text
		}
	}
	return found
}

// newPool is a database with a table of 10 rows to be done.
func newPool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := testdb.New(t).Pool(t)
	_, err := pool.Exec(t.Context(), `CREATE TABLE items (id int PRIMARY KEY, done_at timestamptz);
		CREATE TABLE notes (note text);
		INSERT INTO items SELECT g FROM generate_series(1, 10) g`)
	require.NoError(t, err)
	return pool
}

var definition = jobs.Definition{Name: "finish_items", Schedule: "@daily", Parameters: []jobs.Parameter{
	{Name: "most", Type: jobs.TypeInteger, Default: 100, Minimum: jobs.Bound(0)},
}}

const finish = "UPDATE items SET done_at = $1 WHERE done_at IS NULL"

// body is what a job does in run.Tx.
type body func(ctx context.Context, run *jobs.Run) (jobs.Result, error)

// good finishes the items.
func good(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
	tag, err := run.Tx.Exec(ctx, finish, run.Now)
	return jobs.Result{RowsAffected: tag.RowsAffected(), Message: "finished"}, err
}

// then does something more after the items are finished.
func then(more func(ctx context.Context, run *jobs.Run, result *jobs.Result) error) body {
	return func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		result, err := good(ctx, run)
		if err == nil {
			err = more(ctx, run, &result)
		}
		return result, err
	}
}

func TestContractOfGoodJobs(t *testing.T) {
	t.Parallel()
	pool := newPool(t)
	require.Empty(t, verdicts(t, pool, jobs.Func(definition, good)))
	require.Empty(t, verdicts(t, pool, &finisher{}))
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	require.Empty(t, verdicts(t, conn.Conn(), &finisher{}), "a connection")
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "UPDATE items SET done_at = now(); INSERT INTO items SELECT g FROM generate_series(11, 20) g")
	require.NoError(t, err)
	require.Empty(t, verdicts(t, tx, &finisher{}), "a transaction, and the rows that it has made")
	require.NoError(t, tx.Rollback(t.Context()))
	var left int
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM items WHERE done_at IS NULL").Scan(&left))
	require.Equal(t, 10, left, "nothing stays")
}

// Each of these jobs breaks one rule, and the check that is named finds it.
func TestContractOfBadJobs(t *testing.T) {
	t.Parallel()
	for name, test := range badJobs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := newPool(t)
			job := test.job(t, pool)
			at := slices.IndexFunc(checks(), func(c check) bool { return c.name == test.check })
			require.Contains(t, record(t, func(t testing.TB) { checks()[at].run(t, pool, job, test.options) }), test.says)
		})
	}
}

type badJob struct {
	check, says string
	job         func(t *testing.T, pool *pgxpool.Pool) jobs.Job
	options     ContractOptions
}

// bad makes a job of a body.
func bad(fn body) func(*testing.T, *pgxpool.Pool) jobs.Job {
	return func(*testing.T, *pgxpool.Pool) jobs.Job { return jobs.Func(definition, fn) }
}

// badBatches makes a job of batches.
func badBatches(job finisher) func(*testing.T, *pgxpool.Pool) jobs.Job {
	return func(*testing.T, *pgxpool.Pool) jobs.Job { return &job }
}

func badJobs() map[string]badJob {
	return map[string]badJob{
		"invalid": {check: "definition", says: "empty name", job: func(*testing.T, *pgxpool.Pool) jobs.Job { return jobs.Func(jobs.Definition{}, good) }},
		"a definition that panics": {check: "definition", says: "panic: nobody knows", job: func(*testing.T, *pgxpool.Pool) jobs.Job {
			return &changing{fn: func(int) jobs.Definition { panic("nobody knows") }}
		}},
		"a definition that changes": {check: "definition", says: "the definition is another", job: func(*testing.T, *pgxpool.Pool) jobs.Job {
			return &changing{fn: func(n int) jobs.Definition {
				d := definition
				d.Description = fmt.Sprint(n)
				return d
			}}
		}},
		"does nothing": {check: "works", says: "has changed nothing", job: bad(func(context.Context, *jobs.Run) (jobs.Result, error) { return jobs.Result{}, nil })},
		"fails":        {check: "works", says: "the run fails: no", job: bad(func(context.Context, *jobs.Run) (jobs.Result, error) { return jobs.Result{}, errors.New("no") })},
		"says nothing": {check: "works", says: "reports 0 rows, but has changed", job: bad(then(func(_ context.Context, _ *jobs.Run, result *jobs.Result) error {
			result.RowsAffected = 0
			return nil
		}))},
		"says too much": {check: "counts", says: "reports 11 rows, written were 10", job: bad(then(func(_ context.Context, _ *jobs.Run, result *jobs.Result) error {
			result.RowsAffected++
			return nil
		}))},
		"targets that do not add up": {check: "counts", says: "its targets are 7 together", job: bad(then(func(_ context.Context, _ *jobs.Run, result *jobs.Result) error {
			result.Targets = jobs.Targets{"items": {Rows: 7}}
			return nil
		}))},
		"a negative target": {check: "counts", says: `the target "b" counts -2 rows`, job: bad(then(func(_ context.Context, _ *jobs.Run, result *jobs.Result) error {
			result.Targets = jobs.Targets{"a": {Rows: 12}, "b": {Rows: -2}}
			return nil
		}))},
		"one more row each time": {check: "twice", says: "changes what the first has made: public.notes has 2 rows", job: bad(then(func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
			_, err := run.Tx.Exec(ctx, "INSERT INTO notes VALUES ('again')")
			return err
		}))},
		"the same again": {check: "twice", says: "reports 10 rows, though", job: bad(func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			tag, err := run.Tx.Exec(ctx, "UPDATE items SET done_at = $1", run.Now)
			return jobs.Result{RowsAffected: tag.RowsAffected()}, err
		})},
		"writes beside a dry run": {check: "dry_run", says: "a dry run has written 1 rows, not in its own transaction", job: bad(then(func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
			return pgx.BeginFunc(ctx, run.Beginner, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "INSERT INTO notes VALUES ('done')")
				return err
			})
		}))},
		"writes elsewhere": {check: "dry_run", says: "on another connection", job: func(t *testing.T, pool *pgxpool.Pool) jobs.Job {
			t.Helper()
			return jobs.Func(definition, then(func(ctx context.Context, _ *jobs.Run, _ *jobs.Result) error {
				_, err := pool.Exec(ctx, "INSERT INTO notes VALUES ('done')")
				return err
			}))
		}},
		"a dry run that says nothing": {check: "dry_run", says: "a dry run reports 0 rows, a run 10", job: bad(func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			if run.DryRun {
				return jobs.Result{}, nil
			}
			return good(ctx, run)
		})},
		"says done what has failed": {check: "failure", says: "a later run does not make up for it", job: bad(func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			var isDone bool
			if err := run.Tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM notes)").Scan(&isDone); err != nil || isDone {
				return jobs.Result{}, err
			}
			if _, err := run.Tx.Exec(ctx, "INSERT INTO notes VALUES ('done')"); err != nil {
				return jobs.Result{}, err
			}
			err := pgx.BeginFunc(ctx, run.Tx, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, finish, run.Now)
				return err
			})
			return jobs.Result{RowsAffected: 1, Message: fmt.Sprint(err)}, nil
		})},
		"writes, then fails": {check: "failure", says: "1 rows are left of an attempt that has failed", job: bad(func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			err := pgx.BeginFunc(ctx, run.Beginner, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, "INSERT INTO notes VALUES ('begun')")
				return err
			})
			if err != nil {
				return jobs.Result{}, err
			}
			return good(ctx, run)
		})},
		"does not stop": {check: "cancel", says: "has not returned 100ms after", options: ContractOptions{StopWithin: 100e6}, job: func(t *testing.T, _ *pgxpool.Pool) jobs.Job {
			t.Helper()
			return jobs.Func(definition, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
				result, err := good(ctx, run)
				if err != nil {
					<-t.Context().Done()
				}
				return result, err
			})
		}},
		"a context of its own": {check: "cancel", says: "sent 2 statements with a context that does not end", job: bad(func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			_, err := run.Tx.Exec(context.WithoutCancel(ctx), "INSERT INTO notes VALUES ('x')")
			if err != nil {
				return jobs.Result{}, err
			}
			return good(context.WithoutCancel(ctx), run)
		})},
		"success though cancelled": {check: "cancel", says: "reports success, though its context ended", job: bad(func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			result, err := good(ctx, run)
			if errors.Is(err, context.Canceled) {
				err = nil
			}
			return result, err
		})},
		"no cursor":                   {check: "resume", says: "has other values", job: badBatches(finisher{counts: true})},
		"counts what was done before": {check: "resume", says: "in one go it reports 10", job: badBatches(finisher{forgets: true})},
		"one batch":                   {check: "works", says: "all is done in one batch", job: badBatches(finisher{size: 100})},
		"divides by a parameter": {check: "parameters", says: "with most = 0 the job panics", job: bad(func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			_ = 100 / run.Parameters.Int("most")
			return good(ctx, run)
		})},
		"waits as long as it is told": {check: "parameters", says: "with most = 9007199254740991 the job has not ended after 1s", options: ContractOptions{StopWithin: 100e6}, job: bad(func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			if run.Parameters.Int("most") > 100 {
				<-ctx.Done()
				return jobs.Result{}, ctx.Err()
			}
			return good(ctx, run)
		})},
		"leaves a goroutine": {check: "leaves_nothing", says: "goroutines that it started go on", options: ContractOptions{StopWithin: 100e6}, job: func(t *testing.T, _ *pgxpool.Pool) jobs.Job {
			t.Helper()
			return jobs.Func(definition, then(func(context.Context, *jobs.Run, *jobs.Result) error {
				go func() { <-t.Context().Done() }()
				return nil
			}))
		}},
		"leaves a transaction": {check: "leaves_nothing", says: "it left 1 transactions of run.Beginner open", job: bad(then(func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
			_, err := run.Beginner.Begin(ctx)
			return err
		}))},
		"commits": {check: "leaves_nothing", says: "it committed the transaction of its run", job: bad(then(func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
			_ = run.Tx.Commit(ctx)
			return nil
		}))},
		"rolls back": {check: "leaves_nothing", says: "it rolled back the transaction of its run", job: bad(then(func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
			_ = run.Tx.Rollback(ctx)
			return nil
		}))},
		"leaves a lock": {check: "leaves_nothing", says: "has left 1 advisory locks", job: bad(then(func(ctx context.Context, run *jobs.Run, _ *jobs.Result) error {
			_, err := run.Tx.Exec(ctx, "SELECT pg_advisory_lock(4711)")
			return err
		}))},
	}
}

// changing has a definition that depends on how often it was asked for.
type changing struct {
	n  int
	fn func(n int) jobs.Definition
}

func (c *changing) Definition() jobs.Definition {
	c.n++
	return c.fn(c.n)
}

func (c *changing) Run(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
	return good(ctx, run)
}

// finisher finishes the items, some in each batch.
type finisher struct {
	// size is the number of items in a batch; 4 if it is zero.
	size int
	// counts has it write how many batches the attempt has
	// had into the row; forgets, count from the beginning what earlier attempts have done.
	counts, forgets bool
}

func (*finisher) Definition() jobs.Definition { return definition }

func (f *finisher) Start(_ context.Context, run *jobs.Run) (jobs.Batches, error) {
	return &finisherBatches{finisher: *f, run: run}, nil
}

type finisherBatches struct {
	finisher

	run *jobs.Run
	n   int
}

func (b *finisherBatches) Next(ctx context.Context, batch *jobs.Batch) (bool, error) {
	size := b.size
	if size == 0 {
		size = 4
	}
	var last int
	_ = jsonInt(b.run.Cursor, &last)
	from := last + b.n*size
	b.n++
	at := b.run.Now
	if b.counts {
		at = at.AddDate(0, 0, b.n)
	}
	tag, err := batch.Tx.Exec(ctx, finish+" AND id > $2 AND id <= $3", at, from, from+size)
	if err != nil {
		return false, err
	}
	rows := tag.RowsAffected()
	if b.forgets {
		rows += b.run.Done.Rows()
	}
	batch.Targets["items"] = jobs.Target{Rows: rows, Batches: 1}
	batch.Cursor = from + size
	return from+size >= 10, nil
}

// jsonInt reads a number; what is none leaves it as it is.
func jsonInt(raw []byte, n *int) error {
	_, err := fmt.Sscan(string(raw), n)
	return err
}
