package retention

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

const (
	markPollFirst = 5 * time.Millisecond
	markPollMax   = 250 * time.Millisecond
)

// takeMark returns an id such that every lower one that will ever be committed is
// committed when it returns.
//
// A lower id was handed out before this one was committed. Whoever took it held a
// writer's lock on the table by then, since INSERT takes the lock before it evaluates
// the id's default, and holds it until its transaction ends. So the writers under way
// after the highest committed id was read include all that matter, and they are waited
// for.
func (a *attempt) takeMark(ctx context.Context, w *work) (int64, error) {
	table := a.sql.InSchema(w.Mark.Table)
	var mark int64
	var writers []sql.Writer
	err := pgx.BeginFunc(ctx, a.run.Beginner, func(tx pgx.Tx) error {
		column := sql.Relation{Relation: table, Attribute: w.Mark.Column}
		ascend, err := a.sql.IDsAscend(ctx, tx, column)
		if err != nil {
			return err
		}
		if !ascend {
			return jobs.Permanent(fmt.Errorf("the sequence of %s does not hand out ascending ids, so nothing tells new rows from old ones: ALTER SEQUENCE it to CACHE 1, INCREMENT 1, NO CYCLE", column))
		}
		var highest *int64
		if err := w.mark.queryRow(ctx, tx, a.values).Scan(&highest); err != nil {
			return fmt.Errorf("read the highest id of %s: %w", table, err)
		}
		mark = math.MinInt64
		if highest != nil {
			mark = *highest
		}
		writers, err = a.sql.Writers(ctx, tx, table, nil) // only now
		return err
	})
	if err != nil {
		return 0, err
	}
	return mark, a.waitFor(ctx, table, writers)
}

// waitFor returns when none of the transactions is under way. Nothing is open
// meanwhile.
func (a *attempt) waitFor(ctx context.Context, table string, writers []sql.Writer) error {
	ids := make([]string, 0, len(writers))
	for _, w := range writers {
		ids = append(ids, w.ID)
	}
	limit := time.NewTimer(a.job.config.MarkWait)
	defer limit.Stop()
	for pause := markPollFirst; len(writers) > 0; pause = min(2*pause, markPollMax) {
		poll := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			poll.Stop()
			return context.Cause(ctx)
		case <-limit.C:
			poll.Stop()
			return fmt.Errorf("%s has been writing to %s and has not ended within %v: end it, or wait until the run is tried again", describe(writers[0]), table, a.job.config.MarkWait)
		case <-poll.C:
		}
		err := pgx.BeginFunc(ctx, a.run.Beginner, func(tx pgx.Tx) (err error) {
			writers, err = a.sql.Writers(ctx, tx, table, ids)
			return err
		})
		if err != nil {
			return err
		}
		if len(writers) > 0 && pause == markPollMax {
			a.run.Progress(ctx, jobs.Progress{Done: a.rows, Message: "waiting for " + describe(writers[0]) + " that writes to " + table})
		}
	}
	if len(ids) > 0 {
		a.run.Logger.DebugContext(ctx, "waited for writers", slog.String("table", table), slog.Int("writers", len(ids)))
	}
	return nil
}

func describe(w sql.Writer) string {
	if w.PID == 0 {
		return fmt.Sprintf("a prepared transaction (virtual id %s, see pg_prepared_xacts)", w.ID)
	}
	if w.Age < 0 {
		return fmt.Sprintf("a transaction of pid %d", w.PID)
	}
	return fmt.Sprintf("a transaction of pid %d, open for %v,", w.PID, time.Duration(w.Age*float64(time.Second)).Round(time.Millisecond))
}
