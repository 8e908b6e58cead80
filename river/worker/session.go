package worker

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/sql"
)

// session is what a job may change of a connection that others use after it: settings, by
// SET without LOCAL, and advisory locks that are not a transaction's. Not looked at are
// transactions of run.Beginner, and sessions behind a pooler in transaction mode, which
// are nobody's.
type session struct {
	statements *sql.Statements
	logger     *slog.Logger
	// before is what was in force before; after, what is when the transaction commits, and
	// its locks are released by then; nil if it does not.
	before, after []string
	isCommitted   bool
	// isShared: the application uses the connection, too, and may set it up otherwise
	// each time that it is taken.
	isShared bool
}

// sessionKey is where a connection keeps what is in force where nobody has changed it.
const sessionKey = "scheduler.session"

// look reads what is in force: once for each connection, or each time if it is shared.
func (s *session) look(ctx context.Context, conn *pgx.Conn) error {
	data := conn.PgConn().CustomData()
	if known, ok := data[sessionKey].([]string); ok && !s.isShared {
		s.before = known
		return nil
	}
	values, err := s.statements.SessionSettings(ctx, conn)
	if err != nil {
		return err
	}
	data[sessionKey], s.before = values, values
	return nil
}

// stored is told what is in force at the end of the job's transaction.
func (s *session) stored(values []string) {
	if s != nil {
		s.after = values
	}
}

// commits is told that the transaction will be committed.
func (s *session) commits() {
	if s != nil {
		s.isCommitted = true
	}
}

// tidyTimeout bounds the tidying up of a session, which else is closed.
const tidyTimeout = time.Second

// tidy puts back what the job has changed. Most have changed nothing, and that costs
// nothing; after a failure, settings are as before, and only locks may be left.
func (s *session) tidy(ctx context.Context, conn *pgx.Conn) {
	if conn.IsClosed() || s.isCommitted && slices.Equal(s.before, s.after) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tidyTimeout)
	defer cancel()
	var values []string
	if s.isCommitted {
		values = s.before // what was set with SET LOCAL is as it was by now
	}
	changed, found, err := s.statements.TidySession(ctx, conn, values, s.isShared)
	if err != nil {
		_ = conn.Close(ctx) // the pool makes another
		return
	}
	if changed > 0 {
		s.logger.WarnContext(ctx, "the job has changed settings of its session, which others use after it; they are set back: use SET LOCAL", slog.Int64("settings", changed))
	} else if s.isCommitted {
		conn.PgConn().CustomData()[sessionKey] = found // the server's configuration may have been loaded anew
	}
}
