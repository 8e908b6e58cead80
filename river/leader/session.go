package leader

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/scheduler/internal/connection"
	"github.com/systempromptio/scheduler/sql"
)

const (
	// prepareTimeout bounds what is done on a new session before it waits for the
	// lock: some twenty round trips.
	prepareTimeout = 10 * time.Second

	// closeTimeout bounds the goodbye to the server; the socket is closed after it
	// in any case.
	closeTimeout = time.Second

	// lockWait is the server-side bound in wait_for_leader_lock().
	lockWait = 900 * time.Millisecond
)

// sessionSettings make the server give up a session that nobody is behind. Only
// idle_session_timeout decides how fast a frozen or cut-off leader is replaced;
// the others close the gaps in which a session is not idle. Where a server
// refuses one, the others still hold.
func sessionSettings() []sql.Setting {
	return []sql.Setting{
		{Name: "idle_session_timeout", Value: "2s"},
		{Name: "idle_in_transaction_session_timeout", Value: "2s"},
		{Name: "statement_timeout", Value: "5s"},
		// Shorter than a heartbeat's deadline: the leader must hear that somebody has
		// locked a table, not lose its session over it.
		{Name: "lock_timeout", Value: "400ms"},
		// The same few statements all the time: a plan made once is a millisecond less
		// in a take-over.
		{Name: "plan_cache_mode", Value: "force_generic_plan"},
		{Name: "client_connection_check_interval", Value: "1s"},
		{Name: "tcp_keepalives_idle", Value: "1"},
		{Name: "tcp_keepalives_interval", Value: "1"},
		{Name: "tcp_keepalives_count", Value: "1"},
		{Name: "tcp_user_timeout", Value: "2000"},
	}
}

// applicationName is what the view replicas takes the replica's id from.
func applicationName(replicaID string) string { return "scheduler/" + replicaID }

// session is the lock session: one connection, used by one goroutine at a time.
type session struct {
	conn       *pgx.Conn
	statements *sql.Statements
	// notified is set by the connection's handler when a notification arrives.
	notified *atomic.Bool
	// roundTrip is what one took when the session was opened.
	roundTrip time.Duration
}

// connect opens a session with its own settings. Settings that the server refuses
// are returned, not fatal.
func connect(ctx context.Context, source connection.Source, statements *sql.Statements, replicaID string) (*session, []error, error) {
	config, err := source.Config(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("connect the lock session: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, connection.Timeout(config)+prepareTimeout)
	defer cancel()
	s := &session{statements: statements, notified: new(atomic.Bool)}
	config.RuntimeParams["application_name"] = applicationName(replicaID)
	config.OnNotification = func(*pgconn.PgConn, *pgconn.Notification) { s.notified.Store(true) }
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, nil, fmt.Errorf("connect the lock session: %w", err)
	}
	s.conn = conn
	refused, err := statements.SetSettingsSeparately(ctx, conn, sessionSettings()...)
	began := time.Now()
	if err == nil {
		// A leader must hear at once what is asked of it; until then it does no harm.
		err = statements.ListenWake(ctx, conn)
	}
	s.roundTrip = time.Since(began)
	if err != nil {
		s.close(ctx)
		return nil, nil, fmt.Errorf("prepare the lock session: %w", err)
	}
	return s, refused, nil
}

// prepare prepares what a new leader runs before it enqueues, while the replica
// still waits: a take-over has no time for it. From far away, only what has a
// deadline.
func (s *session) prepare(ctx context.Context) error {
	names := []string{"wait_for_leader_lock", "begin_term", "heartbeat", "release_leader_lock"}
	if s.roundTrip <= rehearseWithin {
		names = append(names, termStatements()...)
	}
	return s.statements.Prepare(ctx, s.conn, names...)
}

func termStatements() []string {
	return []string{
		"jobs_settled", "declare_job", "unregister_jobs", "reread_problems", "end_disabled", "request_bootstrap",
		"jobs_to_plan", "due_jobs", "insert_ticks", "advance_jobs", "requested_runs", "job_for_run", "accept_run", "notify_insert",
	}
}

// release gives up the leader's lock, and keeps the session with its presence lock.
// Closing the session would do the same, but a new one takes too long to be there for
// the runs that are still to finish.
func (s *session) release(ctx context.Context) error {
	ctx, cancel := withoutCancel(ctx, HeartbeatTimeoutDefault)
	defer cancel()
	return s.statements.ReleaseLeaderLock(ctx, s.conn)
}

// close says goodbye.
func (s *session) close(ctx context.Context) {
	ctx, cancel := withoutCancel(ctx, closeTimeout)
	defer cancel()
	// The socket is closed even if the goodbye fails, and then the server notices.
	_ = s.conn.Close(ctx)
}

// wait sleeps until a notification arrives or the time is over.
func (s *session) wait(ctx context.Context, d time.Duration) (notified bool, err error) {
	if s.notified.Swap(false) {
		return true, nil
	}
	if d <= 0 {
		return false, nil
	}
	waitCtx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	err = s.conn.PgConn().WaitForNotification(waitCtx)
	if err == nil {
		s.notified.Store(false)
		return true, nil
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if errors.Is(err, context.DeadlineExceeded) && !s.conn.IsClosed() {
		return false, nil
	}
	return false, fmt.Errorf("wait for a notification: %w", err)
}
