package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/scheduler/sql"
)

const (
	// wholeShare is the share of a partition's estimated rows from which on it is worth
	// a look whether all of them are to go.
	wholeShare = 0.9
	// wholeTriesMax is how often a run tries to take a partition out of its table before
	// it deletes its rows instead.
	wholeTriesMax = 3
	// wholeLookMax bounds the last look at the partition, for which its writers wait.
	wholeLookMax = 5 * time.Second
)

var (
	// errNotWhole: a partition has rows that are not to go.
	errNotWhole = errors.New("not every row of the partition is to go")
	// errCannotLeave: something keeps a partition in its table.
	errCannotLeave = errors.New("the partition cannot be taken out of its table")
)

// checkWhole finds out whether every row of a partition is to go, and says so: then
// taking the partition out of its table is quicker than any delete.
func (a *attempt) checkWhole(ctx context.Context, w *work, u *unit) error {
	if w.Set != "" || w.part.IsRoot || !w.oneStatement || w.part.Tuples > 0 && float64(u.Total) < wholeShare*w.part.Tuples {
		return nil
	}
	var detachment *sql.Detachment
	var rows, others int64
	err := a.whole(ctx, w, nil, func(tx pgx.Tx) (err error) {
		if detachment, err = a.sql.Detachment(ctx, tx, w.part.OID); err != nil || detachment == nil {
			return err // an heir
		}
		return w.everyRow.queryRow(ctx, tx, a.passValues(w.parsedRule)).Scan(&rows, &others)
	})
	if err != nil || detachment == nil || others > 0 {
		return err
	}
	u.IsWhole = true
	switch a.run.Parameters.String(ParameterPartitions) {
	case PartitionsDelete:
		u.Note = fmt.Sprintf("every row of %s goes: %s; %s would be quicker, and the parameter %s does it", w.part.Name, detachment.Detach, detachment.Remove, ParameterPartitions)
	case PartitionsDrop:
		if w.archives(a) {
			u.IsWhole = false
			u.Note = fmt.Sprintf("every row of %s goes, one by one: a partition that is dropped is not archived", w.part.Name)
		}
	}
	if len(w.triggers) > 0 {
		u.IsWhole, u.Note = false, ""
	}
	if len(w.triggers) > 0 && a.run.Parameters.String(ParameterPartitions) != PartitionsDelete {
		u.Note = fmt.Sprintf("every row of %s goes, one by one, so that the trigger %s fires", w.part.Name, strings.Join(firstFew(w.triggers), ", "))
	}
	return nil
}

// takesWhole says whether the unit is a partition that is to be taken out of its table.
func (a *attempt) takesWhole(u unit) bool {
	return u.IsWhole && a.cursor.Next <= 1 && a.run.Parameters.String(ParameterPartitions) != PartitionsDelete
}

// applyWhole takes a partition out of its table, if every row of it is still to go.
// Writers of the partition are kept out for that look; all of the table, for the moment
// that the detaching takes.
func (a *attempt) applyWhole(ctx context.Context, tx pgx.Tx) (int64, error) {
	detachment, err := a.sql.Detachment(ctx, tx, a.work.part.OID)
	if err != nil {
		return 0, err
	}
	if detachment == nil {
		return 0, errNotWhole
	}
	if _, err := tx.Exec(ctx, detachment.Lock); err != nil {
		return 0, fmt.Errorf("lock partition %s: %w", a.work.part.Name, err)
	}
	if isSame, err := a.sql.IsSame(ctx, tx, a.work.part, a.work.root, a.cursor.Units[0].File); err != nil || !isSame {
		return 0, errors.Join(errNotWhole, err)
	}
	if err := a.sql.LookAtAll(ctx, tx, wholeLookMax); err != nil {
		return 0, err
	}
	var rows, others int64
	if err := a.work.everyRow.queryRow(ctx, tx, a.values).Scan(&rows, &others); err != nil {
		return 0, fmt.Errorf("look at partition %s: %w", a.work.part.Name, err)
	}
	if others > 0 {
		return 0, errNotWhole
	}
	isDrop := a.run.Parameters.String(ParameterPartitions) == PartitionsDrop
	statements, done := []string{detachment.Detach}, "detached"
	if isDrop {
		statements, done = append(statements, detachment.Remove), "dropped"
	}
	for _, statement := range statements {
		_, err := tx.Exec(ctx, statement)
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code != codeLockNotAvailable {
			// A foreign key, a view, the owner.
			return 0, fmt.Errorf("%w: %s: %w", errCannotLeave, statement, err)
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", statement, err)
		}
	}
	a.notef("%s was %s, with %d rows", a.work.part.Name, done, rows)
	a.run.Logger.InfoContext(ctx, "a partition was taken out of its table", slog.String("partition", a.work.part.Name),
		slog.String("how", done), slog.Int64("rows", rows))
	return rows, nil
}
