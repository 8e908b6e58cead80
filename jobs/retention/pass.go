package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// load reads the candidates of the next batch. It makes the pass first, if the run
// has not come to it yet, or if its candidates have gone: the table is not logged, a
// crash of the server empties it. Without candidates there is nothing to clean.
func (a *attempt) load(ctx context.Context, w *work) error {
	isFresh := a.cursor.Next == 0
	for {
		if isFresh {
			if err := a.pass(ctx, w); err != nil {
				return err
			}
		}
		want := min(int64(a.sizer.size()), a.cursor.Total-a.cursor.Next+1)
		if want <= 0 {
			return nil
		}
		err := pgx.BeginFunc(ctx, a.run.Beginner, func(tx pgx.Tx) (err error) {
			a.ctids, err = a.sql.NextCandidates(ctx, tx, a.run.ID, w.Target, a.cursor.Next, want)
			return err
		})
		if err != nil {
			return err
		}
		if int64(len(a.ctids)) == want {
			return a.prune(ctx, w)
		}
		if isFresh {
			return errors.New("the candidates have gone while they were being read: was the table retention_candidates emptied?")
		}
		a.run.Logger.InfoContext(ctx, "candidates are gone, looking for them again")
		isFresh = true
	}
}

// pass looks through the table once and notes the candidates.
func (a *attempt) pass(ctx context.Context, w *work) error {
	next := cursor{Finished: a.cursor.Finished, Target: w.Target, Next: 1}
	if w.Mark != nil {
		var err error
		if next.Mark, err = a.takeMark(ctx, w); err != nil {
			return err
		}
	}
	err := pgx.BeginFunc(ctx, a.run.Beginner, func(tx pgx.Tx) (err error) {
		if w.Mark != nil {
			if next.Horizon, err = a.sql.BeginPass(ctx, tx); err != nil {
				return err
			}
		}
		// An earlier attempt may have ended after its pass and before its first batch.
		if err = a.sql.ClearCandidates(ctx, tx, a.run.ID, w.Target, math.MaxInt64); err != nil {
			return err
		}
		values := a.passValues(w.parsedRule)
		values["_run_id"], values["_target"], values["_horizon"] = a.run.ID, w.Target, next.Horizon
		if next.Total, err = w.pass.exec(ctx, tx, values); err != nil || w.Mark == nil {
			return err
		}
		next.Met, err = queryColumn[string](ctx, tx, w.met, values)
		return err
	})
	if err != nil {
		return fmt.Errorf("look for candidates: %w", err)
	}
	a.cursor = next
	return nil
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

// prune makes room in the pages of the next batch, if it updates.
func (a *attempt) prune(ctx context.Context, w *work) error {
	if w.prune.text == "" {
		return nil
	}
	values := maps.Clone(a.values)
	values["_blocks"] = blocks(a.ctids)
	err := pgx.BeginFunc(ctx, a.run.Beginner, func(tx pgx.Tx) error {
		var rows int64
		return w.prune.queryRow(ctx, tx, values).Scan(&rows)
	})
	if err != nil {
		return fmt.Errorf("read the pages of the next batch: %w", err)
	}
	return nil
}

// blocks lists the pages of rows, each once.
func blocks(ctids []pgtype.TID) []int64 {
	seen := make(map[uint32]bool, len(ctids))
	var list []int64
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
	const step = 10_000
	err := func() error {
		var over []int64
		err := pgx.BeginFunc(ctx, a.run.Beginner, func(tx pgx.Tx) (err error) {
			over, err = a.sql.RunsOver(ctx, tx, a.run.ID)
			return err
		})
		for _, id := range over {
			for n := int64(step); err == nil && n == step; {
				err = pgx.BeginFunc(ctx, a.run.Beginner, func(tx pgx.Tx) (err error) {
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
