package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/scheduler/internal/connection"
	"github.com/systempromptio/scheduler/jobs"
)

var (
	// errReadOnly: a connection was made while the database was read-only, and stays so.
	errReadOnly = errors.New("the pool has given a connection that is read-only; it was closed")

	// errReturned and errAbandoned are what a job gets that wants another transaction when
	// its attempt is over.
	errReturned  = errors.New("the job has returned, and its attempt is over: wait for what the job has started before it returns")
	errAbandoned = errors.New("the attempt was given up, since the job ignored the end of its context")
)

// transactions are those that a job's part of an attempt has open.
type transactions struct {
	mu   sync.Mutex
	open map[*heldTx]bool
	// over says why there are no more; nil while there may be.
	over error
}

// heldTx is a transaction on a connection of the pool, which it gives back when it ends,
// unless that was taken from it.
type heldTx struct {
	pgx.Tx

	txs  *transactions
	conn *pgxpool.Conn
	gone bool
	// tidyFunc, if not nil, leaves the session as it was before a job had it.
	tidyFunc func()
}

// Commit commits.
func (t *heldTx) Commit(ctx context.Context) error {
	defer t.release()
	return t.Tx.Commit(ctx)
}

// Rollback rolls back.
func (t *heldTx) Rollback(ctx context.Context) error {
	defer t.release()
	return t.Tx.Rollback(ctx)
}

func (t *heldTx) release() {
	t.txs.mu.Lock()
	isGone := t.gone
	t.gone = true
	delete(t.txs.open, t)
	t.txs.mu.Unlock()
	if isGone {
		return
	}
	if t.tidyFunc != nil {
		t.tidyFunc()
	}
	t.conn.Release()
}

// end has no more transactions begun.
func (txs *transactions) end(why error) {
	txs.mu.Lock()
	defer txs.mu.Unlock()
	if txs.over == nil {
		txs.over = why
	}
}

func (txs *transactions) isOver() error {
	txs.mu.Lock()
	defer txs.mu.Unlock()
	return txs.over
}

// cancelTimeout bounds the request to end a statement.
const cancelTimeout = time.Second

// cut ends what is open, from outside: nobody uses the connections any more but the job,
// whose statements fail. Postgres rolls back.
func (txs *transactions) cut(ctx context.Context) {
	txs.mu.Lock()
	conns := make([]*pgx.Conn, 0, len(txs.open))
	for t := range txs.open {
		t.gone = true
		conns = append(conns, t.conn.Hijack())
	}
	clear(txs.open)
	txs.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer cancel()
	for _, conn := range conns {
		_ = conn.PgConn().CancelRequest(ctx) // closing says it, too, somewhat later
		_ = conn.PgConn().Conn().Close()
	}
}

// hold opens a transaction for the job's part of the attempt. What it leaves in a session
// of its own transactions is undone.
func (a *attempt) hold(ctx context.Context, statement string, session *session) (*heldTx, error) {
	if err := a.txs.isOver(); err != nil {
		return nil, err
	}
	t, err := a.begin(ctx, statement, session)
	if err != nil {
		return nil, err
	}
	a.txs.mu.Lock()
	if err := a.txs.over; err != nil {
		a.txs.mu.Unlock()
		_ = t.Rollback(ctx) // nothing was done in it
		return nil, err
	}
	if a.txs.open == nil {
		a.txs.open = make(map[*heldTx]bool)
	}
	a.txs.open[t] = true
	a.txs.mu.Unlock()
	return t, nil
}

// begin opens a transaction by a statement of ours, which also says for how long
// it may be idle: the locks of a replica that is frozen or cut off must not stay.
func (a *attempt) begin(ctx context.Context, statement string, session *session) (*heldTx, error) {
	conn, err := a.config.Pool.Acquire(ctx)
	if err != nil {
		return nil, a.notBegun(ctx, err)
	}
	if session != nil {
		if err := session.look(ctx, conn.Conn()); err != nil {
			conn.Release()
			return nil, a.notBegun(ctx, err)
		}
	}
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{BeginQuery: a.config.Statements.Text(statement) + a.settings})
	if err != nil {
		conn.Release()
		return nil, a.notBegun(ctx, err)
	}
	held := &heldTx{Tx: tx, txs: &a.txs, conn: conn}
	if session != nil {
		held.tidyFunc = func() { session.tidy(context.WithoutCancel(ctx), conn.Conn()) }
	}
	if a.config.SharedPool && !connection.IsWritable(tx.Conn()) {
		_ = tx.Conn().Close(ctx) // the pool makes another
		_ = held.Rollback(ctx)
		return nil, &interruptedError{errReadOnly}
	}
	return held, nil
}

func (a *attempt) notBegun(ctx context.Context, err error) error {
	if a.config.SharedPool && ctx.Err() == nil && connection.IsAway(err) {
		a.config.Watch.saw(ctx, err)
	}
	return ours(fmt.Errorf("begin a transaction: %w", err))
}

// inTx runs fn in a transaction and commits it if fn returns nil.
func (a *attempt) inTx(ctx context.Context, begin string, fn func(tx pgx.Tx) error) error {
	var s *session
	if !a.config.PollOnly {
		s = &session{statements: a.config.Statements, logger: a.logger, isShared: a.config.SharedPool}
	}
	tx, err := a.hold(ctx, begin, s)
	if err != nil {
		return err
	}
	a.session = s
	return a.endTx(ctx, tx, func(tx pgx.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		s.commits()
		return nil
	})
}

// endTx runs fn in a transaction that has begun.
func (a *attempt) endTx(ctx context.Context, tx *heldTx, fn func(tx pgx.Tx) error) error {
	// After a commit this only gives the connection back; after a failure, the cause
	// matters more.
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := fn(tx); err != nil {
		return interruptionOf(ctx, tx.Conn(), err)
	}
	// Not heldTx's Commit: the connection is asked afterwards, and so still ours.
	if err := tx.Tx.Commit(ctx); err != nil {
		return interruptionOf(ctx, tx.Conn(), ours(fmt.Errorf("commit run %d: %w", a.id.RunID, err)))
	}
	return nil
}

// sandboxed runs the job's part of a transaction, in which the job can do everything but
// end it. In a dry run it happens behind a savepoint to which everything is rolled back.
func (a *attempt) sandboxed(ctx context.Context, tx pgx.Tx, fn func(tx pgx.Tx) error) error {
	if !a.riverJob.Args.DryRun {
		return a.lent(ctx, tx, fn)
	}
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return fmt.Errorf("begin a dry run: %w", err)
	}
	if err := a.lent(ctx, savepoint, fn); err != nil {
		return err
	}
	if err := savepoint.Rollback(ctx); err != nil {
		return fmt.Errorf("roll back a dry run: %w", err)
	}
	return nil
}

// What the server says of a session: see pgconn.PgConn.TxStatus.
const (
	statusInTx     = 'T'
	statusInFailed = 'E'
)

// lent runs fn with a transaction that is not fn's to end, and sees whether it is as it was.
func (a *attempt) lent(ctx context.Context, tx pgx.Tx, fn func(tx pgx.Tx) error) error {
	lent := &lentTx{Tx: tx}
	defer lent.over.Store(true)
	err := fn(lent)
	if lent.misused.Load() {
		a.logger.WarnContext(ctx, "the job has tried to end the transaction of its run, which was refused", slog.Any("error", jobs.ErrTxOfRun))
	}
	if err != nil {
		return err
	}
	switch tx.Conn().PgConn().TxStatus() {
	case statusInTx:
		return nil
	case statusInFailed:
		return errors.New("the job returned no error, but a statement of it has failed, and with it the transaction: return the error, or run what may fail in a savepoint (run.Tx.Begin)")
	}
	if tx.Conn().IsClosed() {
		return &interruptedError{errors.New("the connection was lost while the job ran")}
	}
	return jobs.Permanent(fmt.Errorf("the job has ended the transaction of its run by a statement of its own, COMMIT or ROLLBACK; what it has committed so has no record: %w", jobs.ErrTxOfRun))
}

// lentTx is a transaction as a job has it: it cannot end it, nor use it later.
type lentTx struct {
	pgx.Tx

	over    atomic.Bool
	misused atomic.Bool
}

// Begin opens a savepoint.
func (t *lentTx) Begin(ctx context.Context) (pgx.Tx, error) {
	if t.over.Load() {
		return nil, pgx.ErrTxClosed
	}
	return t.Tx.Begin(ctx)
}

// Commit is refused.
func (t *lentTx) Commit(context.Context) error { return t.refuse() }

// Rollback is refused.
func (t *lentTx) Rollback(context.Context) error { return t.refuse() }

func (t *lentTx) refuse() error {
	if t.over.Load() {
		return pgx.ErrTxClosed
	}
	t.misused.Store(true)
	return jobs.ErrTxOfRun
}

// Exec runs a statement.
func (t *lentTx) Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error) {
	if t.over.Load() {
		return pgconn.CommandTag{}, pgx.ErrTxClosed
	}
	return t.Tx.Exec(ctx, sql, arguments...)
}

// Query runs a query.
func (t *lentTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if t.over.Load() {
		return nil, pgx.ErrTxClosed
	}
	return t.Tx.Query(ctx, sql, args...) //nolint:rowserrcheck // the rows are the job's
}

// QueryRow runs a query for one row.
func (t *lentTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if t.over.Load() {
		return closedRow{}
	}
	return t.Tx.QueryRow(ctx, sql, args...)
}

// CopyFrom copies rows into a table.
func (t *lentTx) CopyFrom(ctx context.Context, tableName pgx.Identifier, columnNames []string, rowSrc pgx.CopyFromSource) (int64, error) {
	if t.over.Load() {
		return 0, pgx.ErrTxClosed
	}
	return t.Tx.CopyFrom(ctx, tableName, columnNames, rowSrc)
}

type closedRow struct{}

// Scan fails.
func (closedRow) Scan(...any) error { return pgx.ErrTxClosed }
