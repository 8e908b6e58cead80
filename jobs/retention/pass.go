package retention

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/systempromptio/scheduler/sql"
)

// pass looks through a table once and keeps the candidates. Nothing of it is part of
// the run until the cursor names it: another attempt, which may be a zombie, has a pass
// of its own.
func (a *attempt) pass(ctx context.Context, w *work) (unit, error) {
	u := unit{Target: w.Target, Part: w.part.OID, Pass: w.Target + "/" + rand.Text(), Round: 1, File: w.part.File}
	if w.Mark != nil {
		var err error
		if u.Mark, err = a.takeMark(ctx, w); err != nil {
			return unit{}, err
		}
	}
	found := &collector{way: w.way, store: func(chunks []sql.Chunk) error {
		return a.inTx(ctx, func(tx pgx.Tx) error { return a.sql.StoreCandidates(ctx, tx, a.run.ID, u.Pass, chunks) })
	}}
	before := func(tx pgx.Tx) (err error) {
		if w.Mark != nil {
			u.Horizon, err = a.sql.BeginPass(ctx, tx)
		}
		return err
	}
	err := a.whole(ctx, w, before, func(tx pgx.Tx) error {
		if found.total > 0 { // an earlier try
			if err := a.clearPass(ctx, u.Pass); err != nil {
				return err
			}
		}
		found.reset()
		if w.isDense {
			isDense, err := a.span(ctx, tx, w, found)
			if err != nil || isDense {
				return err
			}
		}
		return a.collect(ctx, tx, w, u.Horizon, found)
	})
	if err != nil {
		// Whoever comes next has a pass of its own.
		return unit{}, errors.Join(fmt.Errorf("look for candidates: %w", err), a.clearPass(context.WithoutCancel(ctx), u.Pass))
	}
	u.Total, u.Pages, u.Waves, u.Met = found.total, found.pages, found.waves, found.met
	a.run.Logger.DebugContext(ctx, "looked for candidates", slog.String("target", w.Target), slog.String("table", w.part.Name),
		slog.Int64("candidates", u.Total), slog.Int64("pages", u.Pages))
	return u, nil
}

// span reads on which pages the candidates are, and takes them all for one range. It
// reports false if there is more between them than the planner had expected.
func (a *attempt) span(ctx context.Context, tx pgx.Tx, w *work, found *collector) (bool, error) {
	var first, last pgtype.TID
	var rows int64
	if err := w.passSpan.queryRow(ctx, tx, a.passValues(w.parsedRule)).Scan(&first, &last, &rows); err != nil {
		return false, err
	}
	if rows == 0 {
		return true, nil
	}
	chunk := sql.Chunk{Rows: rows, FirstBlock: int64(first.BlockNumber), LastBlock: int64(last.BlockNumber)}
	found.pages = chunk.LastBlock - chunk.FirstBlock + 1
	if rows < rangeDensity*found.pages {
		found.reset()
		return false, nil
	}
	return true, errors.Join(found.emit(chunk), found.finish())
}

// collect reads what the rule names.
func (a *attempt) collect(ctx context.Context, tx pgx.Tx, w *work, horizon int64, found *collector) error {
	values := a.passValues(w.parsedRule)
	values["_horizon"] = horizon
	rows, err := tx.Query(ctx, w.pass.text, w.pass.args(values)...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var ctid pgtype.TID
	var writer *string
	for rows.Next() {
		if w.Mark == nil {
			err = rows.Scan(&ctid)
		} else {
			err = rows.Scan(&ctid, &writer)
		}
		if err != nil {
			return err
		}
		if err := found.add(ctid, writer); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return found.finish()
}

// passValues are the arguments for a look at everything: each mark lies below every
// id.
func (a *attempt) passValues(rules ...parsedRule) arguments {
	values := maps.Clone(a.values)
	for _, r := range rules {
		if r.Mark != nil {
			values[r.Mark.Name] = int64(math.MinInt64)
		}
	}
	return values
}

const (
	// giveWayPoll is how long somebody may wait for a statement that looks at
	// everything before it gives way; giveWaysMax how often it does so.
	giveWayPoll = 250 * time.Millisecond
	giveWaysMax = 5
)

// errGaveWay: a look at everything has ended for the sake of a session that waited.
var errGaveWay = errors.New("gave way to a session that waits for a lock on the table")

// whole runs fn, which looks at everything, in a transaction of its own. Such a look
// takes seconds, with a lock that harms nobody: but if somebody waits for it, to alter
// the table, then all that comes after waits, too. So it ends, lets them go first, and
// begins anew; a hasty one does not. before, if not nil, runs first in the transaction.
func (a *attempt) whole(ctx context.Context, w *work, before, fn func(tx pgx.Tx) error) error {
	for gaveWay := 0; ; gaveWay++ {
		if !a.isHasty {
			if err := a.waitForConflict(ctx, w); err != nil {
				return err
			}
		}
		err := a.inTx(ctx, func(tx pgx.Tx) error {
			if before != nil {
				if err := before(tx); err != nil {
					return err
				}
			}
			pid, err := a.sql.BeginWhole(ctx, tx, a.job.config.LockWait)
			if err != nil {
				return err
			}
			if gaveWay >= giveWaysMax {
				return fn(tx)
			}
			return a.politely(ctx, pid, func() error { return fn(tx) })
		})
		switch {
		case a.isHasty:
			return err
		case errors.Is(err, errGaveWay):
			a.run.Logger.InfoContext(ctx, "a look through the table gave way to a session that waited for a lock", slog.String("table", w.part.Name))
		case hasCode(err, codeLockNotAvailable) && gaveWay < giveWaysMax:
		default:
			return err
		}
	}
}

// politely runs fn, which has a statement under way on the session pid, and ends that
// statement when it keeps others waiting.
func (a *attempt) politely(ctx context.Context, pid int32, fn func() error) error {
	watchCtx, stop := context.WithCancel(ctx)
	defer stop()
	gave := make(chan bool, 1)
	go func() {
		did := false
		defer func() { gave <- did }()
		ticker := time.NewTicker(giveWayPoll)
		defer ticker.Stop()
		for !did {
			select {
			case <-watchCtx.Done():
				return
			case <-ticker.C:
			}
			// Not watchCtx: a statement that is under way ends first, so that its
			// connection stays good.
			err := a.inTx(ctx, func(tx pgx.Tx) (err error) {
				did, err = a.sql.GiveWay(ctx, tx, pid)
				return err
			})
			if err != nil {
				return // fn finds out
			}
		}
	}()
	err := fn()
	stop()
	if <-gave && hasCode(err, codeQueryCanceled) {
		return errors.Join(errGaveWay, err)
	}
	return err
}

// prune makes room in the pages of the next batch, if its rows are to stay on them.
// The first wave finds them as the pass left them.
func (a *attempt) prune(ctx context.Context) error {
	if a.work.way != wayWaves || a.piece.wave <= 1 {
		return nil
	}
	values := maps.Clone(a.values)
	values["_blocks"] = blocks(a.piece.ctids)
	err := a.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := a.sql.BeginWhole(ctx, tx, a.job.config.LockWait); err != nil {
			return err
		}
		var rows int64
		return a.work.prune.queryRow(ctx, tx, values).Scan(&rows)
	})
	if hasCode(err, codeLockNotAvailable) {
		return nil // the batch meets the same lock, and gives way
	}
	if err != nil {
		return fmt.Errorf("read the pages of the next batch: %w", err)
	}
	return nil
}

// blocks lists the pages of rows, each once.
func blocks(ctids []pgtype.TID) []int64 {
	seen := make(map[uint32]bool, len(ctids))
	list := make([]int64, 0, len(ctids))
	for _, ctid := range ctids {
		if !seen[ctid.BlockNumber] {
			seen[ctid.BlockNumber] = true
			list = append(list, int64(ctid.BlockNumber))
		}
	}
	return list
}

// dropLeftovers deletes the candidates of runs that have ended without doing so.
func (a *attempt) dropLeftovers(ctx context.Context) {
	const step = 1000
	err := func() error {
		var over []int64
		err := a.inTx(ctx, func(tx pgx.Tx) (err error) {
			over, err = a.sql.RunsOver(ctx, tx, a.run.ID)
			return err
		})
		for _, id := range over {
			for n := int64(step); err == nil && n == step; {
				err = a.inTx(ctx, func(tx pgx.Tx) (err error) {
					n, err = a.sql.DropCandidates(ctx, tx, id, step)
					return err
				})
			}
		}
		return err
	}()
	if err != nil {
		a.run.Logger.WarnContext(ctx, "candidates of ended runs are left in the table retention_candidates", slog.Any("error", err))
	}
}
