package retention

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/systempromptio/scheduler/jobs"
)

const (
	codeInsufficientPrivilege = "42501"
	codeLockNotAvailable      = "55P03"
)

// blockedMax is the number of rows, one after the other, that a run gives up on
// because of a lock somebody holds, before it asks whether it is not the same lock.
const blockedMax = 10

// errBlocked: the batch had to give way to somebody's lock and has been undone.
var errBlocked = errors.New("blocked by a lock")

// clean works the candidates in the batch's transaction and moves the cursor.
func (a *attempt) clean(ctx context.Context, batch *jobs.Batch) error {
	n := len(a.ctids)
	rows, held, err := a.change(ctx, batch.Tx)
	switch {
	case errors.Is(err, errBlocked):
		a.sizer.blocked(n)
		if n > 1 {
			return nil // the same rows again, fewer at a time
		}
		a.blocked++
		if a.blocked == blockedMax {
			return fmt.Errorf("%d rows, one after the other, waited %v for a lock that another session holds: is a table below locked? %w", blockedMax, a.job.config.LockWait, err)
		}
	case err != nil:
		return err
	default:
		a.sizer.took(n, held)
		a.blocked = 0
	}

	target := jobs.Target{Rows: rows}
	if rows > 0 {
		target.Batches = 1
	}
	a.rows += rows
	a.cursor.Left += int64(n) - rows
	a.cursor.Next += int64(n)
	a.ctids = nil
	if err := a.sql.ClearCandidates(ctx, batch.Tx, a.run.ID, a.cursor.Target, a.cursor.Next-1); err != nil {
		return err
	}
	if a.cursor.Next <= a.cursor.Total {
		batch.Targets.Merge(jobs.Targets{a.cursor.Target: target})
		return nil
	}
	if a.cursor.Left > 0 {
		target.Note = fmt.Sprintf("%d left for the next run: locked, changed meanwhile, or to go no more", a.cursor.Left)
	}
	a.finish(batch.Targets, target)
	return nil
}

// change locks what it can of the candidates, and then, in a statement with a
// snapshot of its own, deletes or updates what the rule still names. It does so
// within a savepoint: the error [errBlocked] leaves tx as it was. The duration is
// that for which locks were held.
func (a *attempt) change(ctx context.Context, tx pgx.Tx) (int64, time.Duration, error) {
	w := a.work
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("begin a batch: %w", err)
	}
	before, err := a.sql.BeginBatch(ctx, savepoint, a.job.config.LockWait)
	if err != nil {
		return 0, 0, err
	}
	rows, err := a.lockAndApply(ctx, savepoint, w)
	if hasCode(err, codeLockNotAvailable) {
		if rollbackErr := savepoint.Rollback(ctx); rollbackErr != nil {
			return 0, 0, errors.Join(err, rollbackErr)
		}
		return 0, 0, fmt.Errorf("%w: %w", errBlocked, err)
	}
	if err != nil {
		return 0, 0, err
	}
	held, err := a.sql.EndBatch(ctx, savepoint, before)
	if err != nil {
		return 0, 0, err
	}
	if err := savepoint.Commit(ctx); err != nil {
		return 0, 0, fmt.Errorf("end a batch: %w", err)
	}
	return rows, held, nil
}

func (a *attempt) lockAndApply(ctx context.Context, tx pgx.Tx, w *work) (int64, error) {
	values := maps.Clone(a.values)
	values["_ctids"] = a.ctids
	values["_horizon"] = a.cursor.Horizon
	if w.Mark != nil {
		values[w.Mark.Name], values["_met"] = a.cursor.Mark, nonNil(a.cursor.Met)
	}
	locked, err := queryColumn[pgtype.TID](ctx, tx, w.lock, values)
	if err != nil {
		return 0, fmt.Errorf("lock rows: %w", err)
	}
	if len(locked) == 0 {
		return 0, nil
	}
	values["_locked"] = locked
	for i, child := range w.children {
		ctids, err := queryColumn[pgtype.TID](ctx, tx, child, values)
		if err != nil {
			return 0, fmt.Errorf("lock rows of %s: %w", w.Children[i].Table, err)
		}
		values[childrenArgument(i)] = nonNil(ctids)
	}
	rows, err := w.apply.exec(ctx, tx, values)
	if err != nil {
		return 0, fmt.Errorf("change rows: %w", err)
	}
	return rows, nil
}

// nonNil keeps pgx from sending NULL, of which nothing is true.
func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func hasCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}
