package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/internal/connection"
)

// interruptedError: the database went away, or held the scheduler itself up.
type interruptedError struct{ error }

func (e *interruptedError) Unwrap() error { return e.error }

// ours marks an error of a statement of ours, which is never the job's fault: when the
// database was away, or somebody had locked our tables for longer than the role's
// timeouts allow.
func ours(err error) error {
	if connection.IsAway(err) || connection.IsHeldUp(err) {
		return &interruptedError{err}
	}
	return err
}

// interruptionOf marks an error of a job's transaction if the database went away in
// it. It is asked while the connection is still the transaction's. What the job's own
// deadlines have broken off is the job's.
func interruptionOf(ctx context.Context, conn *pgx.Conn, err error) error {
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	if conn.IsClosed() && connection.IsAway(err) || connection.IsServerAway(err) {
		return &interruptedError{err}
	}
	return err
}

// besideTxs are the transactions that a job has opened beside those of its run.
type besideTxs struct {
	mu     sync.Mutex
	open   map[*besideTx]bool
	broken bool
}

// besideTx is one of them.
type besideTx struct {
	pgx.Tx

	txs *besideTxs
}

// besideBeginner opens them.
type besideBeginner struct{ attempt *attempt }

func (b besideBeginner) Begin(ctx context.Context) (pgx.Tx, error) {
	tx, err := b.attempt.hold(ctx, "begin_batch", nil)
	if err != nil {
		return nil, err
	}
	txs := &b.attempt.beside
	txs.mu.Lock()
	defer txs.mu.Unlock()
	if txs.open == nil {
		txs.open = make(map[*besideTx]bool)
	}
	beside := &besideTx{Tx: tx, txs: txs}
	txs.open[beside] = true
	return beside, nil
}

// Commit commits.
func (t *besideTx) Commit(ctx context.Context) error {
	t.ends(ctx)
	return t.Tx.Commit(ctx)
}

// Rollback rolls back.
func (t *besideTx) Rollback(ctx context.Context) error {
	t.ends(ctx)
	return t.Tx.Rollback(ctx)
}

// ends takes the transaction off the list, and notes whether its connection had broken.
func (t *besideTx) ends(ctx context.Context) {
	t.txs.mu.Lock()
	defer t.txs.mu.Unlock()
	if t.txs.open[t] {
		delete(t.txs.open, t)
		t.txs.broken = t.txs.broken || ctx.Err() == nil && t.Tx.Conn().IsClosed()
	}
}

func (b *besideTxs) isBroken() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.broken
}

// end rolls back what the job has left open: its connection would be missing from the
// pool for ever.
func (b *besideTxs) end(ctx context.Context, logger *slog.Logger) {
	b.mu.Lock()
	left := make([]*besideTx, 0, len(b.open))
	for tx := range b.open {
		left = append(left, tx)
	}
	b.mu.Unlock()
	if len(left) == 0 {
		return
	}
	logger.WarnContext(ctx, "the job has left transactions of run.Beginner open; they are rolled back: end each one", slog.Int("transactions", len(left)))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for _, tx := range left {
		_ = tx.Rollback(ctx) // its connection is closed if that fails
	}
}
