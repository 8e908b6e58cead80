package sql

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// Chunk is a piece of a pass's candidates: a list of rows, or a range of blocks.
type Chunk struct {
	// N is the number of its first candidate, from 1; Rows is how many it has.
	N    int64 `db:"n"`
	Rows int64 `db:"rows"`
	// Wave counts the rows of one page, from 1; 0 where that does not matter.
	Wave int `db:"wave"`
	// CTIDs are the rows; empty for a range.
	CTIDs []pgtype.TID `db:"ctids"`
	// FirstBlock and LastBlock are the range.
	FirstBlock int64 `db:"first_block"`
	LastBlock  int64 `db:"last_block"`
}

// IsRange says that the chunk is a range of blocks.
func (c Chunk) IsRange() bool { return len(c.CTIDs) == 0 }

// StoreCandidates keeps chunks of a pass.
func (s *Statements) StoreCandidates(ctx context.Context, tx pgx.Tx, runID int64, pass string, chunks []Chunk) error {
	batch := &pgx.Batch{}
	for _, c := range chunks {
		args := pgx.NamedArgs{
			"run_id": runID, "target": pass, "n": c.N, "wave": c.Wave, "rows": c.Rows, "ctids": nil, "first_block": nil, "last_block": nil,
		}
		if c.IsRange() {
			args["first_block"], args["last_block"] = c.FirstBlock, c.LastBlock
		} else {
			args["ctids"] = c.CTIDs
		}
		batch.Queue(s.Text("retention_store"), args)
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("store candidates: %w", err)
	}
	return nil
}

// NextCandidates returns up to limit chunks of a pass, from the one on in which
// candidate number next is.
func (s *Statements) NextCandidates(ctx context.Context, db Querier, runID int64, pass string, next, limit int64) ([]Chunk, error) {
	rows, err := db.Query(ctx, s.Text("retention_next"), pgx.NamedArgs{"run_id": runID, "target": pass, "next": next, "max": limit})
	if err != nil {
		return nil, fmt.Errorf("read the candidates: %w", err)
	}
	chunks, err := pgx.CollectRows(rows, pgx.RowToStructByName[Chunk])
	if err != nil {
		return nil, fmt.Errorf("read the candidates: %w", err)
	}
	return chunks, nil
}

// ClearCandidates deletes the chunks of a pass before the one that begins at n.
func (s *Statements) ClearCandidates(ctx context.Context, db Querier, runID int64, pass string, n int64) error {
	_, err := db.Exec(ctx, s.Text("retention_clear"), pgx.NamedArgs{"run_id": runID, "target": pass, "n": n})
	if err != nil {
		return fmt.Errorf("delete candidates: %w", err)
	}
	return nil
}

// ClearRun deletes all candidates of a run.
func (s *Statements) ClearRun(ctx context.Context, db Querier, runID int64) error {
	if _, err := db.Exec(ctx, s.Text("retention_clear_run"), pgx.NamedArgs{"run_id": runID}); err != nil {
		return fmt.Errorf("delete the run's candidates: %w", err)
	}
	return nil
}

// RunsOver lists the runs, other than runID, that have candidates and have ended.
func (s *Statements) RunsOver(ctx context.Context, db Querier, runID int64) ([]int64, error) {
	rows, err := db.Query(ctx, s.Text("retention_over"), pgx.NamedArgs{"run_id": runID})
	if err != nil {
		return nil, fmt.Errorf("look for candidates of ended runs: %w", err)
	}
	over, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("look for candidates of ended runs: %w", err)
	}
	return over, nil
}

// DropCandidates deletes up to limit candidates of a run and says how many.
func (s *Statements) DropCandidates(ctx context.Context, db Querier, runID, limit int64) (int64, error) {
	tag, err := db.Exec(ctx, s.Text("retention_drop"), pgx.NamedArgs{"run_id": runID, "max": limit})
	if err != nil {
		return 0, fmt.Errorf("delete candidates of an ended run: %w", err)
	}
	return tag.RowsAffected(), nil
}
