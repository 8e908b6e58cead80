package scheduler

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/sql"
)

// RunNowTx asks for a run as [Client.RunNow] does, but in the caller's transaction: if that
// is rolled back, the run was never asked for; when it commits, the leader decides about
// the run within milliseconds. The transaction must be one in the scheduler's database,
// by a role that may ask for runs. After an error it can go on, since nothing was
// recorded, unless the error is the connection's.
func (c *Client) RunNowTx(ctx context.Context, tx pgx.Tx, name string, parameters map[string]any, dryRun *bool) (id int64, err error) {
	return runNowTx(ctx, c.statements, tx, name, parameters, dryRun)
}

// RunAtTx is [Client.RunAt] in the caller's transaction: see [Client.RunNowTx].
func (c *Client) RunAtTx(ctx context.Context, tx pgx.Tx, name string, at time.Time, parameters map[string]any, dryRun *bool) (id int64, err error) {
	return runAtTx(ctx, c.statements, tx, name, at, parameters, dryRun)
}

// RunNowTx is [Client.RunNowTx]; it needs no connection but the transaction's.
func (s *Scheduler) RunNowTx(ctx context.Context, tx pgx.Tx, name string, parameters map[string]any, dryRun *bool) (id int64, err error) {
	return runNowTx(ctx, s.statements, tx, name, parameters, dryRun)
}

// RunAtTx is [Client.RunAtTx]; it needs no connection but the transaction's.
func (s *Scheduler) RunAtTx(ctx context.Context, tx pgx.Tx, name string, at time.Time, parameters map[string]any, dryRun *bool) (id int64, err error) {
	return runAtTx(ctx, s.statements, tx, name, at, parameters, dryRun)
}

func runNowTx(ctx context.Context, statements *sql.Statements, tx pgx.Tx, name string, parameters map[string]any, dryRun *bool) (id int64, err error) {
	encoded, err := encodeParameters(name, parameters)
	if err != nil {
		return 0, err
	}
	err = changeIn(ctx, statements, tx, func(db sql.Querier) (err error) {
		id, err = statements.RunNow(ctx, db, name, encoded, dryRun)
		return err
	})
	return id, err
}

func runAtTx(ctx context.Context, statements *sql.Statements, tx pgx.Tx, name string, at time.Time, parameters map[string]any, dryRun *bool) (id int64, err error) {
	encoded, err := encodeParameters(name, parameters)
	if err != nil {
		return 0, err
	}
	err = changeIn(ctx, statements, tx, func(db sql.Querier) (err error) {
		id, err = statements.RunAt(ctx, db, name, at, encoded, dryRun)
		return err
	})
	return id, err
}

// changeIn calls a function of the schema behind a savepoint of the caller's
// transaction, and leaves its application_name as it was.
func changeIn(ctx context.Context, statements *sql.Statements, tx pgx.Tx, do func(db sql.Querier) error) error {
	err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		actor, _ := ctx.Value(actorKey{}).(string)
		if actor == "" {
			return do(tx)
		}
		before := tx.Conn().PgConn().ParameterStatus("application_name")
		if err := statements.ActAs(ctx, tx, actor); err != nil {
			return err
		}
		if err := do(tx); err != nil {
			return err
		}
		return statements.ActAs(ctx, tx, before)
	})
	return translate(tx.Conn().Config().User, err)
}
