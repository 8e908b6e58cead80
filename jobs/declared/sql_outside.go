package declared

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/systempromptio/scheduler/jobs"
)

// SQLOutsideConfig says what a job of [SQLOutsideTransaction] does.
type SQLOutsideConfig struct {
	// Definition describes the job. Each of its parameters must be used.
	Definition jobs.Definition
	// Statement is the statement, with arguments as in [Statement.Text]; the server takes
	// none in utility commands such as VACUUM. Required.
	Statement string
	// Unchecked leaves out the look at the statement before the start. The zero value
	// looks.
	Unchecked bool
}

const outsideField = "sql_outside_transaction"

// SQLOutsideTransaction makes a job of one statement that the server does not run in a
// transaction: VACUUM, CREATE INDEX CONCURRENTLY, REINDEX ... CONCURRENTLY and the like.
// It is run on a connection of its own. Its promises are those of [HTTP] and [Exec], too:
//
//   - It is not one with its record. That it begins is recorded before, its end after: if
//     the replica, the connection or the database ends in between, another attempt runs
//     it again, though it may have been done. So it happens at least once, and must bear
//     being done twice.
//   - A run that fails may have done part of it. CREATE INDEX CONCURRENTLY leaves an
//     invalid index behind; write the statement so that it can be repeated.
//   - A dry run does nothing, and says so.
//   - It is broken off at the timeout, when the run is cancelled, and when the replica
//     leaves or can no longer prove that it is alive.
//
// At most one session of a database runs a job's statement at a time, whatever the
// replicas believe: the session holds a lock in the job's name. HTTP and Exec have no
// such lock: a replica that was cut off may still be at it while another begins.
func SQLOutsideTransaction(config SQLOutsideConfig) (jobs.Job, error) {
	s, err := newStatement(outsideField, config.Statement, config.Definition, ownArguments()...)
	if err != nil {
		return nil, err
	}
	s.target = "statement"
	if err := errors.Join(s.checkSession(), checkParameters(config.Definition, s)); err != nil {
		return nil, err
	}
	return &outside{
		definition: labelled(config.Definition, "SQL outside a transaction: not one with its record, may be done twice"),
		target:     s.target,
		dry:        "run the statement, which cannot be rolled back",
		do:         func(ctx context.Context, run *jobs.Run) (outcome, error) { return s.runOutside(ctx, run) },
		check: func(ctx context.Context, run *jobs.Run) error {
			if config.Unchecked {
				return nil
			}
			return s.check(ctx, run)
		},
	}, nil
}

// runOutside runs the statement on a connection of its own.
func (s *statement) runOutside(ctx context.Context, run *jobs.Run) (_ outcome, err error) {
	conn, err := run.Connect(ctx)
	if err != nil {
		return outcome{}, err
	}
	defer func() {
		closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closeCtx) // the socket is closed in any case
	}()
	tag, err := s.exec(ctx, conn, run)
	if err != nil {
		return outcome{}, err
	}
	if tag.RowsAffected() > 0 {
		return outcome{target: jobs.Target{Rows: tag.RowsAffected()}, message: tag.String()}, nil
	}
	return outcome{target: jobs.Target{Note: tag.String()}, message: fmt.Sprintf("%s was run", tag)}, nil
}
