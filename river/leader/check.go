package leader

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/sql"
)

// ErrPooled: what was connected to is a pooler that gives each statement another
// session, such as PgBouncer with pool_mode = transaction.
var ErrPooled = errors.New("not a session of its own: a pooler in transaction or statement mode is in between")

// checkRounds is how often the proof is repeated behind a pooler: with traffic of
// others in the pool, one round may by chance meet the same server twice.
const checkRounds = 5

// CheckSession proves that a connection is really a session: a lock taken in one
// statement is still there, under the same backend, in the next one, even if
// another client asks in between. The error wraps [ErrPooled].
func CheckSession(ctx context.Context, config *pgx.ConnConfig, statements *sql.Statements) error {
	// Through a pooler in transaction mode, prepared statements may not be there.
	config = config.Copy()
	config.DefaultQueryExecMode = pgx.QueryExecModeExec

	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer closeQuietly(ctx, conn)

	pid, err := statements.ProbeLock(ctx, conn)
	if err != nil {
		return err
	}
	if conn.PgConn().PID() == uint32(pid) {
		// The server itself has answered: poolers invent the process id that they
		// tell their clients.
		return nil
	}
	other, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("connect a second time: %w", err)
	}
	defer closeQuietly(ctx, other)
	for range checkRounds {
		if err := checkRound(ctx, conn, other, statements, pid); err != nil {
			return err
		}
	}
	return nil
}

// checkRound lets the other client hold a server connection, in a transaction,
// while the first one asks for its lock.
func checkRound(ctx context.Context, conn, other *pgx.Conn, statements *sql.Statements, pid int32) error {
	return pgx.BeginFunc(ctx, other, func(tx pgx.Tx) error {
		otherPID, err := statements.BackendPID(ctx, tx)
		if err != nil {
			return err
		}
		held, nowPID, err := statements.ProbeHeld(ctx, conn)
		if err != nil {
			return err
		}
		if otherPID == pid || nowPID != pid || !held {
			return ErrPooled
		}
		return nil
	})
}

func closeQuietly(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := withoutCancel(ctx, closeTimeout)
	defer cancel()
	_ = conn.Close(ctx)
}
