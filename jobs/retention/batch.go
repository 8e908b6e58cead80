package retention

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/systempromptio/scheduler/jobs"
)

const (
	codeInsufficientPrivilege = "42501"
	codeLockNotAvailable      = "55P03"
	codeQueryCanceled         = "57014"
	codeAdminShutdown         = "57P01"
	codeSyntaxError           = "42601"
)

// undoneMax is the number of rows, one after the other, that a run gives up on because
// of a lock somebody holds, or of an error, before it asks whether it is not the same
// for all.
const undoneMax = 10

var (
	// errBlocked: the batch had to give way to somebody's lock and has been undone.
	errBlocked = errors.New("blocked by a lock")
	// errRefused: a constraint or a trigger has refused a row of the batch.
	errRefused = errors.New("refused by the database")
	// errRewritten: the rows of the table have other places since the pass.
	errRewritten = errors.New("the table was rewritten")
)

// clean works the piece in the batch's transaction and moves the cursor.
func (a *attempt) clean(ctx context.Context, batch *jobs.Batch) error {
	p := a.piece
	rows, held, err := a.change(ctx, batch.Tx)
	switch {
	case p.isWhole && (errors.Is(err, errBlocked) || errors.Is(err, errNotWhole) || errors.Is(err, errCannotLeave)):
		a.keepWhole(err)
		return nil
	case errors.Is(err, errRewritten):
		a.work, a.chunks = nil, nil // Prepare looks through it again
		return nil
	case errors.Is(err, errBlocked), errors.Is(err, errRefused):
		isSkipped, err := a.undo(err)
		if err != nil || !isSkipped {
			return err
		}
	case err != nil:
		return err
	case p.isWhole:
		p.rows = rows // all that was there
	default:
		a.sizers.of(p.isCheap()).took(p.isFull, held)
		a.pace.took(p, held, a.sizers.dear.target)
		a.undone, a.skipsLocked = 0, false
	}

	target := jobs.Target{Rows: rows}
	if rows > 0 {
		target.Batches = 1
	}
	a.rows += rows
	a.cursor.Units[0].Left += p.rows - rows
	a.cursor.Next, a.cursor.Block = p.next, p.block
	a.chunks = a.chunks[p.chunks:]
	u := a.cursor.Units[0]
	if a.cursor.Next > u.Total && !u.wantsAnotherPass(a.work.Set != "") {
		if err := a.sql.ClearCandidates(ctx, batch.Tx, a.run.ID, u.Pass, math.MaxInt64); err != nil {
			return err
		}
		a.leaveStale(u)
		a.finishUnit(batch.Targets, target)
		return nil
	}
	batch.Targets.Merge(jobs.Targets{u.Target: target})
	if p.chunks == 0 {
		return nil
	}
	n := a.cursor.Next
	if len(a.chunks) > 0 {
		n = a.chunks[0].N // it is begun
	}
	return a.sql.ClearCandidates(ctx, batch.Tx, a.run.ID, u.Pass, n)
}

// keepWhole tries again, or has the rows of a partition deleted instead.
func (a *attempt) keepWhole(cause error) {
	a.pace.mustLook = true
	if a.undone++; !errors.Is(cause, errBlocked) || a.undone == wholeTriesMax {
		a.cursor.Units = slices.Clone(a.cursor.Units)
		a.cursor.Units[0].IsWhole = false
		a.undone = 0
		a.notef("%s stayed, its rows were deleted: %v", a.work.part.Name, cause)
	}
}

// undo decides what becomes of a piece that could not be done: the same rows again,
// fewer at a time, or, if it is one row alone, it is skipped.
func (a *attempt) undo(cause error) (isSkipped bool, err error) {
	p := &a.piece
	if (p.isRange() || len(a.work.children) > 0) && !p.skipsLocked && errors.Is(cause, errBlocked) {
		a.skipsLocked = true // the same rows, without those that are locked
		return false, nil
	}
	a.pace.mustLook = true
	if p.rows > 1 && !p.isPage() {
		a.sizers.of(p.isCheap()).undone(int(p.rows))
		return false, nil
	}
	a.skipsLocked = false
	if a.undone++; a.undone == undoneMax {
		if errors.Is(cause, errBlocked) {
			return false, fmt.Errorf("%d rows, one after the other, waited %v for a lock that another session holds: is a table below locked? %w", undoneMax, a.job.config.LockWait, cause)
		}
		return false, fmt.Errorf("%d rows, one after the other, were refused: correct the rule so that it leaves them out: %w", undoneMax, cause)
	}
	if errors.Is(cause, errRefused) {
		a.cursor.Units[0].Refused++
		if a.cursor.Refusal == "" {
			_, text, _ := strings.Cut(cause.Error(), ": ")
			a.cursor.Refusal = text
		}
	}
	return true, nil
}

// leaveStale has the passes of later targets made again if they go through the table
// of a unit that is done, and half of what they found may have gone by it. With less,
// the batches find out.
func (a *attempt) leaveStale(done unit) {
	for i, u := range a.cursor.Units[1:] {
		if u.Part == done.Part && u.Target != done.Target && 2*(done.Total-done.Left) >= u.Total {
			a.cursor.Units[i+1].IsStale = true
		}
	}
}

// change deletes or updates what the rule still names of the piece. It does so within
// a savepoint: the errors [errBlocked] and [errRefused] leave tx as it was. The duration
// is that for which locks were held.
func (a *attempt) change(ctx context.Context, tx pgx.Tx) (int64, time.Duration, error) {
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("begin a batch: %w", err)
	}
	before, err := a.sql.BeginBatch(ctx, savepoint, a.job.config.LockWait)
	if err != nil {
		return 0, 0, err
	}
	rows, err := a.apply(ctx, savepoint)
	if err == nil && rows == 0 {
		err = a.checkSame(ctx, savepoint)
	}
	if err == nil {
		err = a.checkDone(rows)
	}
	if err == nil && a.work.hasDeferred {
		err = a.sql.CheckNow(ctx, savepoint)
	}
	if undone := undoneBy(err, a.piece.isWhole); undone != nil {
		if rollbackErr := savepoint.Rollback(ctx); rollbackErr != nil {
			return 0, 0, errors.Join(err, rollbackErr)
		}
		if errors.Is(undone, err) {
			return 0, 0, err
		}
		return 0, 0, fmt.Errorf("%w: %w", undone, err)
	}
	if err != nil {
		return 0, 0, err
	}
	if a.pace.asksForWaiters() {
		if a.pace.heldUp, err = a.sql.HeldUp(ctx, savepoint); err != nil {
			return 0, 0, err
		}
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

// checkSame finds out whether a batch has changed nothing because the table was
// rewritten, or is another. The batch has locked the table by now.
func (a *attempt) checkSame(ctx context.Context, tx pgx.Tx) error {
	isSame, err := a.sql.IsSame(ctx, tx, a.work.part, a.work.root, a.cursor.Units[0].File)
	if err != nil || isSame || a.piece.isWhole {
		return err
	}
	return errRewritten
}

// undoneBy says whether an error is of a kind that fewer rows may not give.
func undoneBy(err error, isWhole bool) error {
	var pg *pgconn.PgError
	switch {
	case errors.Is(err, errNotWhole), errors.Is(err, errCannotLeave):
		return err
	case errors.Is(err, errRewritten):
		return errRewritten
	case errors.Is(err, errNotArchived):
		return errRefused
	case !errors.As(err, &pg):
		return nil
	case pg.Code == codeLockNotAvailable:
		return errBlocked
	case isWhole && pg.Code != codeAdminShutdown:
		return errCannotLeave
	case len(pg.Code) != 5:
		return nil
	case isRefusal(pg.Code[:2]):
		return errRefused
	}
	return nil
}

// isRefusal says whether errors of a class refuse a row, by what it holds or by what
// hangs on it.
func isRefusal(class string) bool {
	switch class {
	case "22", "23", "27", "P0": // data, integrity, data changed by a trigger, PL/pgSQL
		return true
	case "00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "20", "21", "24", "25", "26", "28", "2B", "2D",
		"2F", "34", "38", "39", "3B", "3D", "3F", "40", "42", "44", "53", "54", "55", "57", "58", "72", "F0", "HV", "XX":
		return false // the server's own
	}
	return true // a trigger may raise an error with any code
}

// apply sends the statements of a batch.
func (a *attempt) apply(ctx context.Context, tx pgx.Tx) (int64, error) {
	w, p, u := a.work, a.piece, a.cursor.Units[0]
	if p.isWhole {
		return a.applyWhole(ctx, tx)
	}
	values := maps.Clone(a.values)
	maps.Copy(values, arguments{
		"_part": u.Part, "_root": w.root, "_file": u.File, "_horizon": u.Horizon, "_ctids": p.ctids,
		"_run_id": a.run.ID, "_job": a.run.Job, "_target": w.Target, "_table_name": a.sql.InSchema(w.Table),
	})
	if w.Mark != nil {
		values[w.Mark.Name], values["_met"] = u.Mark, nonNil(u.Met)
	}
	s := w.rows
	switch {
	case p.isRange():
		values["_first"], values["_after"] = tidOf(p.first), tidOf(p.after)
		if s = w.span; p.skipsLocked {
			s = w.unlocked
		}
	case !w.oneStatement:
		isLocked, err := a.lock(ctx, tx, values)
		if err != nil || !isLocked {
			return 0, err
		}
		if s = w.statements.apply; p.skipsLocked {
			s = w.applyFree
		}
	}
	rows, err := s.exec(ctx, tx, values)
	if err != nil {
		return 0, fmt.Errorf("change rows: %w", err)
	}
	return rows, nil
}

// lock locks what it can of the piece, and of the rows below, and adds it to the
// values.
func (a *attempt) lock(ctx context.Context, tx pgx.Tx, values arguments) (bool, error) {
	w := a.work
	locked, err := queryColumn[pgtype.TID](ctx, tx, w.statements.lock, values)
	if err != nil {
		return false, fmt.Errorf("lock rows: %w", err)
	}
	values["_locked"] = locked
	if len(locked) == 0 {
		return false, nil
	}
	children := w.children
	if a.piece.skipsLocked {
		children = w.childrenFree
	}
	for i, child := range children {
		ctids, err := queryColumn[pgtype.TID](ctx, tx, child, values)
		if err != nil {
			return false, fmt.Errorf("lock rows of %s: %w", w.Children[i].Table, err)
		}
		values[childrenArgument(i)] = nonNil(ctids)
	}
	return true, nil
}

// tidOf is the first place of a block.
func tidOf(block int64) pgtype.TID {
	return pgtype.TID{BlockNumber: uint32(min(max(block, 0), math.MaxUint32)), Valid: true}
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
