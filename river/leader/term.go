package leader

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/sql"
)

// Session is the part of the lock session that a term needs. The elector brings
// the real one; tests may bring their own.
type Session interface {
	sql.Querier
	sql.Batcher
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Term is one period of leadership. Its methods run on the lock session and must
// not be called concurrently. After an error that is no refusal by the server
// (see [Term.Lost]) the term is over.
type Term struct {
	// Number grows with every term of the fleet.
	Number int64

	session    Session
	statements *sql.Statements
	waitFunc   func(ctx context.Context, d time.Duration) (bool, error)
	lostFunc   func() bool
	wellFunc   func(ctx context.Context)
	timeout    time.Duration

	// began is on the monotonic clock; so is clockAt, when the database's clock
	// said clock. At first it said first.
	began   time.Time
	first   time.Time
	clock   time.Time
	clockAt time.Time
}

// txTimeout bounds a transaction of the leader. It is longer than the heartbeat's
// deadline, since a burst of ticks takes its time, and a dozen round trips to a
// server far away do. The server ends a session that is idle in its transaction by
// itself, the kernel one whose server does not acknowledge.
const txTimeout = 15 * time.Second

// withoutCancel bounds a statement on the lock session by time alone. The
// statements are short; cancelling one would write an error to the server's log
// each time that a replica leaves.
func withoutCancel(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), timeout)
}

// Now estimates the database's clock, from the last time that the database told
// it. Good for sleeping; what is due, the database decides.
func (t *Term) Now() time.Time { return t.clock.Add(time.Since(t.clockAt)) }

// Saw tells the term what the database's clock said just now.
func (t *Term) Saw(databaseTime time.Time) {
	t.clock, t.clockAt = databaseTime, time.Now()
	if t.first.IsZero() {
		t.first = databaseTime
	}
}

// BeganAt is when the term began, by the database's clock at that time.
func (t *Term) BeganAt() time.Time { return t.first }

// Elapsed is how long the term has lasted, on a clock that nobody sets.
func (t *Term) Elapsed() time.Duration { return time.Since(t.began) }

// Lost says that the session is gone and the term with it.
func (t *Term) Lost() bool { return t.lostFunc() }

// Heartbeat proves that the session lives, and reads what the leader acts on. If the
// answer does not come within the heartbeat's deadline, the term is over. An error
// of the server, such as a lock on a table, proves that the session lives, too.
func (t *Term) Heartbeat(ctx context.Context) (sql.Pulse, error) {
	beatCtx, cancel := withoutCancel(ctx, t.timeout)
	defer cancel()
	pulse, err := t.statements.Heartbeat(beatCtx, t.session)
	if err != nil {
		return sql.Pulse{}, err
	}
	t.wellFunc(ctx)
	t.Saw(pulse.Now)
	return pulse, nil
}

// Do runs fn on the lock session, outside a transaction.
func (t *Term) Do(ctx context.Context, fn func(ctx context.Context, session Session) error) error {
	ctx, cancel := withoutCancel(ctx, txTimeout)
	defer cancel()
	if err := fn(ctx, t.session); err != nil {
		return fmt.Errorf("on the lock session: %w", err)
	}
	return nil
}

// Tx runs fn in a transaction on the lock session: what it does is fenced by the
// leader's lock. It commits if fn returns nil.
func (t *Term) Tx(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := withoutCancel(ctx, txTimeout)
	defer cancel()
	err := pgx.BeginFunc(ctx, t.session, func(tx pgx.Tx) error { return fn(ctx, tx) })
	if err != nil {
		return fmt.Errorf("transaction on the lock session: %w", err)
	}
	return nil
}

// Wait sleeps until a notification arrives or d is over, and says which.
func (t *Term) Wait(ctx context.Context, d time.Duration) (notified bool, err error) {
	return t.waitFunc(ctx, d)
}
