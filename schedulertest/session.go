package schedulertest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/scheduler/jobs"
)

// ErrOrder: transactions that stand for some of several connections have one in a test, on
// which an older one cannot be rolled back without a younger one.
var ErrOrder = errors.New("a test has one connection, on which transactions are rolled back youngest first")

// session is the one connection of a test, in a transaction that is rolled back. What
// the job sees as transactions are savepoints of it. Its calls are one at a time.
type session struct {
	mu    sync.Mutex
	outer pgx.Tx
	count int
	// open are the savepoints that have not ended, youngest last.
	open []*tx
	// hookFunc, if not nil, is called before each statement in a transaction of the run.
	hookFunc func(ctx context.Context) error
	// runs counts the transactions of the run that were begun.
	runs int
	// countFunc, if not nil, reads how many rows were written in the session so far;
	// besideWrites is how many of them by transactions of run.Beginner.
	countFunc    func(ctx context.Context, db pgx.Tx) (int64, error)
	besideWrites int64
	// problems is what the job has done with transactions that it must not do.
	problems []string
}

// kind says whose a transaction is.
type kind int

const (
	// kindKit: of the test itself.
	kindKit kind = iota
	// kindRun: run.Tx, or batch.Tx. The job must not end it.
	kindRun
	// kindNested: begun by the job in another one.
	kindNested
	// kindBeside: begun with run.Beginner.
	kindBeside
)

// tx is a savepoint that looks like a transaction.
type tx struct {
	s     *session
	name  string
	kind  kind
	inRun bool
	ended atomic.Bool
	// isBeside: it, or the one that it is in, was begun with run.Beginner; it has written
	// so many rows.
	isBeside bool
	writes   int64
}

var _ pgx.Tx = (*tx)(nil)

func (s *session) begin(ctx context.Context, kind kind, inRun bool) (*tx, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beginLocked(ctx, kind, inRun)
}

func (s *session) beginLocked(ctx context.Context, kind kind, inRun bool) (*tx, error) {
	s.count++
	t := &tx{s: s, name: "schedulertest_" + strconv.Itoa(s.count), kind: kind, inRun: inRun, isBeside: kind == kindBeside}
	if _, err := s.outer.Exec(ctx, "SAVEPOINT "+t.name); err != nil {
		return nil, fmt.Errorf("begin a transaction of the test: %w", err)
	}
	s.open = append(s.open, t)
	if kind == kindRun {
		s.runs++
	}
	return t, nil
}

// end commits or rolls back. A savepoint that is not the youngest is not released, but
// left to the one that it is in: what was done in it stays.
func (s *session) end(ctx context.Context, t *tx, commit bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.Index(s.open, t)
	if at < 0 {
		return pgx.ErrTxClosed
	}
	var err error
	switch {
	case commit && at == len(s.open)-1:
		_, err = s.outer.Exec(ctx, "RELEASE SAVEPOINT "+t.name)
	case !commit && (t.kind == kindKit || t.kind == kindRun || !slices.ContainsFunc(s.open[at+1:], (*tx).isApart)):
		// What was begun in it, and not ended, goes with it.
		for _, younger := range s.open[at+1:] {
			younger.ended.Store(true)
		}
		s.open = s.open[:at+1]
		_, err = s.outer.Exec(ctx, "ROLLBACK TO SAVEPOINT "+t.name)
	case !commit:
		return ErrOrder
	}
	if err != nil && commit {
		// As a server does with the commit of a transaction that has failed.
		_, rollbackErr := s.outer.Exec(context.WithoutCancel(ctx), "ROLLBACK TO SAVEPOINT "+t.name)
		err = errors.Join(fmt.Errorf("commit: %w", err), rollbackErr)
	}
	if !commit || err != nil {
		s.besideWrites -= t.writes
	}
	t.ended.Store(true)
	s.open = slices.Delete(s.open, at, at+1)
	return err
}

// isApart says whether the transaction would have a connection of its own.
func (t *tx) isApart() bool { return t.kind == kindBeside || t.kind == kindRun }

// problem notes what a job must not do.
func (s *session) problem(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.problems, text) {
		s.problems = append(s.problems, text)
	}
}

// Begin opens a transaction beside those of the run, in the test a savepoint like them.
func (s *session) Begin(ctx context.Context) (pgx.Tx, error) {
	t, err := s.begin(ctx, kindBeside, false)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// closeBeside ends what the job has begun with run.Beginner and not ended, as the worker
// does.
func (s *session) closeBeside(ctx context.Context) (left int) {
	for {
		s.mu.Lock()
		at := slices.IndexFunc(s.open, func(t *tx) bool { return t.kind == kindBeside })
		var t *tx
		if at >= 0 {
			t = s.open[at]
			for _, younger := range s.open[at+1:] {
				younger.ended.Store(true)
			}
			s.open = s.open[:at+1]
		}
		s.mu.Unlock()
		if t == nil {
			return left
		}
		left++
		_ = s.end(ctx, t, false) // the test's own rollback follows
	}
}

// use checks and counts a statement of the job.
func (t *tx) use(ctx context.Context) error {
	if t.ended.Load() {
		if t.kind != kindKit {
			t.s.problem("it used a transaction that had ended")
		}
		return pgx.ErrTxClosed
	}
	t.s.mu.Lock()
	hook := t.s.hookFunc
	t.s.mu.Unlock()
	if t.inRun && hook != nil {
		return hook(ctx)
	}
	return nil
}

// counted counts what a statement of a transaction of run.Beginner writes, if somebody
// wants to know. The session is locked.
func (t *tx) counted(ctx context.Context) (done func()) {
	if !t.isBeside || t.s.countFunc == nil {
		return func() {}
	}
	before, err := t.s.countFunc(ctx, t.s.outer)
	if err != nil {
		return func() {} // the statement fails, too
	}
	return func() {
		// After a failure nothing can be asked, and nothing was written.
		if after, err := t.s.countFunc(ctx, t.s.outer); err == nil {
			t.writes += after - before
			t.s.besideWrites += after - before
		}
	}
}

// Begin opens a transaction in this one.
func (t *tx) Begin(ctx context.Context) (pgx.Tx, error) {
	if t.ended.Load() {
		return nil, pgx.ErrTxClosed
	}
	nested, err := t.s.begin(ctx, kindNested, t.inRun)
	if err != nil {
		return nil, err
	}
	nested.isBeside = t.isBeside
	return nested, nil
}

// Commit commits, if the transaction is the job's to end.
func (t *tx) Commit(ctx context.Context) error {
	if t.kind == kindRun {
		t.s.problem("it committed the transaction of its run")
		return jobs.ErrTxOfRun
	}
	return t.s.end(ctx, t, true)
}

// Rollback rolls back, if the transaction is the job's to end.
func (t *tx) Rollback(ctx context.Context) error {
	if t.kind == kindRun {
		if t.ended.Load() {
			return pgx.ErrTxClosed
		}
		t.s.problem("it rolled back the transaction of its run")
		return jobs.ErrTxOfRun
	}
	return t.s.end(ctx, t, false)
}

// isolationRE is a transaction of run.Beginner that wants an isolation level of its own.
// It has that of the test's transaction: what others do meanwhile does not matter there.
var isolationRE = regexp.MustCompile(`(?is)^\s*(?:--[^\n]*\n\s*)*SET\s+TRANSACTION\s+ISOLATION\s+LEVEL\s`)

// endRE is a statement that ends a transaction. It would end the test's, and a COMMIT would
// leave in the database what the test has made.
var endRE = regexp.MustCompile(`(?is)^(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:(?:COMMIT|END|ABORT|PREPARE\s+TRANSACTION)\b|ROLLBACK(?:\s+(?:WORK|TRANSACTION))?(?:\s+AND\s.*)?\s*(?:;.*)?$)`)

// refuseEnd does not let a statement through that ends the transaction.
func (t *tx) refuseEnd(sql string) error {
	if !endRE.MatchString(sql) {
		return nil
	}
	if !t.inRun {
		return fmt.Errorf("%q: in a test a transaction is a savepoint, and all of it is rolled back: leave the statement out, or use Commit and Rollback", strings.TrimSpace(sql))
	}
	t.s.problem(misuseEnded)
	return jobs.ErrTxOfRun
}

// misuseEnded is what a worker fails a run for.
const misuseEnded = "it ended a transaction by a statement of its own, COMMIT or ROLLBACK"

// isOver says that a statement among others has ended the test's transaction.
func (s *session) isOver() bool {
	conn := s.outer.Conn()
	return !conn.IsClosed() && conn.PgConn().TxStatus() == txStatusIdle
}

// txStatusIdle is what the server says of a session without a transaction.
const txStatusIdle = 'I'

// requireOpen ends the test if its transaction was ended by what was done last.
func (s *session) requireOpen(t testing.TB, who string) {
	t.Helper()
	if s.isOver() {
		t.Fatalf("%s has ended the test's transaction by a statement, COMMIT or ROLLBACK, in the middle of others: leave it out. After a COMMIT, what the test has made is in the database and stays there: clean it up", who)
	}
}

// Exec runs a statement.
func (t *tx) Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error) {
	if err := errors.Join(t.use(ctx), t.refuseEnd(sql)); err != nil {
		return pgconn.CommandTag{}, err
	}
	if t.kind == kindBeside && isolationRE.MatchString(sql) {
		return pgconn.NewCommandTag("SET"), nil
	}
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	defer t.counted(ctx)()
	return t.s.outer.Exec(ctx, sql, arguments...)
}

// Query runs a query and reads all of its rows.
func (t *tx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := errors.Join(t.use(ctx), t.refuseEnd(sql)); err != nil {
		return &bufferedRows{err: err, closed: true}, err
	}
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	defer t.counted(ctx)()
	rows, err := t.s.outer.Query(ctx, sql, args...)
	if err != nil {
		return &bufferedRows{err: err, closed: true}, err
	}
	return buffer(rows), nil //nolint:rowserrcheck // the rows that are returned have it
}

// QueryRow runs a query for one row.
func (t *tx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, _ := t.Query(ctx, sql, args...) //nolint:rowserrcheck // the row has the error
	return bufferedRow{rows}
}

// SendBatch sends statements at once. Nothing else runs until its results are closed.
func (t *tx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	err := t.use(ctx)
	for _, query := range b.QueuedQueries {
		err = errors.Join(err, t.refuseEnd(query.SQL))
	}
	if err != nil {
		return failedBatch{err}
	}
	t.s.mu.Lock()
	count := t.counted(ctx)
	return &batchResults{BatchResults: t.s.outer.SendBatch(ctx, b), done: sync.OnceFunc(func() {
		count()
		t.s.mu.Unlock()
	})}
}

// CopyFrom copies rows into a table.
func (t *tx) CopyFrom(ctx context.Context, tableName pgx.Identifier, columnNames []string, rowSrc pgx.CopyFromSource) (int64, error) {
	if err := t.use(ctx); err != nil {
		return 0, err
	}
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	defer t.counted(ctx)()
	return t.s.outer.CopyFrom(ctx, tableName, columnNames, rowSrc)
}

// Prepare prepares a statement.
func (t *tx) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	if err := t.use(ctx); err != nil {
		return nil, err
	}
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return t.s.outer.Prepare(ctx, name, sql)
}

// LargeObjects gives access to large objects.
func (t *tx) LargeObjects() pgx.LargeObjects { return t.s.outer.LargeObjects() }

// Conn is the test's connection. What is done with it by itself, the kit does not see.
func (t *tx) Conn() *pgx.Conn { return t.s.outer.Conn() }

// batchResults frees the connection when it is closed.
type batchResults struct {
	pgx.BatchResults

	done func()
}

func (r *batchResults) Close() error {
	defer r.done()
	return r.BatchResults.Close()
}

// failedBatch is a batch that was not sent.
type failedBatch struct{ err error }

func (f failedBatch) Exec() (pgconn.CommandTag, error) { return pgconn.CommandTag{}, f.err }

func (f failedBatch) Query() (pgx.Rows, error) {
	return &bufferedRows{err: f.err, closed: true}, f.err
}

func (f failedBatch) QueryRow() pgx.Row { return bufferedRow{&bufferedRows{err: f.err, closed: true}} }

func (f failedBatch) Close() error { return f.err }

func (failedBatch) Tx() pgx.Tx { return nil }
