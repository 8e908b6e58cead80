package periodic

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/river/leader"
	"github.com/systempromptio/scheduler/sql"
)

// errRehearsed rolls the rehearsal back.
var errRehearsed = errors.New("rehearsed")

// Rehearse does on a session what a new leader does first, with nothing to decide
// and in a transaction that is rolled back. It locks no row that exists. Without it
// most of a take-over is the server's planning and reading of its catalogs:
// measured with PostgreSQL 17 on two cores, 75 ms of 92.
func (s *Service) Rehearse(ctx context.Context, session leader.Session) error {
	statements := s.config.Statements
	if _, _, err := statements.FirstPulse(ctx, session, s.declarations); err != nil {
		return err
	}
	err := pgx.BeginFunc(ctx, session, func(tx pgx.Tx) error {
		if _, err := statements.DueJobs(ctx, tx, 0); err != nil {
			return err
		}
		if _, err := statements.InsertTicks(ctx, tx, 0, nil); err != nil {
			return err
		}
		if err := statements.AdvanceJobs(ctx, tx, nil); err != nil {
			return err
		}
		if _, err := statements.RequestedRuns(ctx, tx, 0); err != nil {
			return err
		}
		if _, err := statements.JobForRun(ctx, tx, ""); err != nil {
			return err
		}
		if err := statements.AcceptRun(ctx, tx, 0, sql.RequestedRun{}, []byte("{}")); err != nil {
			return err
		}
		// One row, for the triggers; no run has the id 0.
		_, err := s.inserter.InsertManyFastTx(ctx, tx, []river.InsertManyParams{
			{Args: jobs.Args{JobName: "rehearsal", Tick: time.Unix(0, 0)}},
		})
		if err != nil {
			return fmt.Errorf("insert River's job: %w", err)
		}
		if err := statements.NotifyInsert(ctx, tx, []string{river.QueueDefault}); err != nil {
			return err
		}
		return errRehearsed
	})
	if errors.Is(err, errRehearsed) {
		return nil
	}
	return err
}
