package leader

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/systempromptio/scheduler/internal/connection"
	"github.com/systempromptio/scheduler/internal/metrics"
	"github.com/systempromptio/scheduler/sql"
)

const (
	// HeartbeatIntervalDefault is how often a leader proves that it lives.
	HeartbeatIntervalDefault = 500 * time.Millisecond

	// HeartbeatTimeoutDefault bounds a heartbeat. Interval and timeout together
	// must stay below the session's idle_session_timeout of 2 s.
	HeartbeatTimeoutDefault = time.Second

	// rehearseWithin is the round trip up to which a rehearsal pays. A server that is
	// farther away is better not kept waiting with dozens of them.
	rehearseWithin = 50 * time.Millisecond
)

// LeadFunc is what a leader does in its term. It returns when ctx ends or when
// the term is lost.
type LeadFunc func(ctx context.Context, term *Term) error

// Config configures an [Elector].
type Config struct {
	// Source says how to connect the lock session. Required. It must lead to a
	// real session: see [CheckSession].
	Source connection.Source

	// Statements are the statements for the scheduler's schema. Required.
	Statements *sql.Statements

	// ReplicaID identifies this process start. Required, at most 46 characters,
	// since it travels in application_name.
	ReplicaID string

	// RehearseFunc is called on each new session before it waits for the lock, so
	// that what a leader does first is planned and cached on both sides when a
	// take-over has no time for it. Its failure is logged and does no harm. Nil
	// rehearses nothing.
	RehearseFunc func(ctx context.Context, session Session) error

	// LostFunc is called when the lock session was lost, and again when it is back:
	// other connections of the replica may lead to a server that is gone, or is not
	// the primary any more. Nil does nothing.
	LostFunc func()

	// Metrics is told of terms, and of the lock session. Nil is told nothing.
	Metrics *metrics.Metrics

	// Logger is required.
	Logger *slog.Logger
}

// ReplicaIDMax is the length up to which the server keeps a replica's id in
// application_name: 63 bytes with the longest of our prefixes, "scheduler worker ".
const ReplicaIDMax = 46

// ReplicaIDAllows says whether an id may have this character. The server keeps
// only printable ASCII in application_name.
func ReplicaIDAllows(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)
}

// CheckReplicaID says what is wrong with a replica's id.
func CheckReplicaID(id string) error {
	if id == "" || len(id) > ReplicaIDMax || strings.ContainsFunc(id, func(r rune) bool { return !ReplicaIDAllows(r) }) {
		return fmt.Errorf("ReplicaID %q: must be 1 to %d letters, digits, dots, underscores or dashes", id, ReplicaIDMax)
	}
	return nil
}

// Elector takes part in the election for one replica.
type Elector struct {
	config   Config
	presence *Presence
	outage   *connection.Outage
	joined   bool
	// kept is the session of a replica that leaves: it has given up the leader's lock.
	kept *session
}

// New checks the configuration. It does not connect.
func New(config Config) (*Elector, error) {
	switch {
	case config.Statements == nil:
		return nil, errors.New("leader: Statements is required")
	case config.Logger == nil:
		return nil, errors.New("leader: Logger is required")
	}
	if err := CheckReplicaID(config.ReplicaID); err != nil {
		return nil, fmt.Errorf("leader: %w", err)
	}
	return &Elector{config: config, presence: newPresence(config.Metrics), outage: &connection.Outage{
		Logger:   config.Logger,
		LostText: "the lock session is lost; runs of this replica are interrupted, connecting again until it is back",
		BackText: "the lock session is back",
	}}, nil
}

// Presence tells whether this replica can prove that it is alive.
func (e *Elector) Presence() *Presence { return e.presence }

// Run takes part in the election until ctx ends, and calls lead in each term that
// this replica wins. It reconnects for ever, with one line in the log when the
// session is lost and one when it is back. When it returns, another replica leads.
// The session is kept for the presence lock: call [Elector.HoldPresence] next.
func (e *Elector) Run(ctx context.Context, lead LeadFunc) {
	e.keepSession(ctx, func(ctx context.Context, s *session) error { return e.participate(ctx, s, lead) })
}

// HoldPresence keeps the presence lock, and nothing else, until ctx ends: for a
// replica that leaves and still finishes its runs. When it returns, the session is
// closed.
func (e *Elector) HoldPresence(ctx context.Context) {
	defer e.presence.lost()
	if s := e.kept; s != nil {
		e.kept = nil
		err := e.hold(ctx, s)
		s.close(ctx)
		if ctx.Err() != nil {
			return
		}
		e.presence.lost()
		e.config.Metrics.Lost(metrics.ConnectionLock)
		e.outage.Lost(ctx, err)
	}
	e.keepSession(ctx, e.hold)
	if e.kept != nil {
		e.kept.close(ctx)
		e.kept = nil
	}
}

// keepSession opens a session and uses it, again and again until ctx ends.
func (e *Elector) keepSession(ctx context.Context, use func(ctx context.Context, s *session) error) {
	var backoff connection.Backoff
	for ctx.Err() == nil {
		s, err := e.open(ctx)
		if err == nil {
			began := time.Now()
			err = use(ctx, s)
			if ctx.Err() != nil && !s.conn.IsClosed() && s.release(ctx) == nil {
				e.kept = s
				return
			}
			e.presence.lost()
			s.close(ctx)
			if ctx.Err() == nil {
				e.config.Metrics.Lost(metrics.ConnectionLock)
			}
			if time.Since(began) > connection.Quiet {
				backoff.Reset()
			}
		}
		if ctx.Err() != nil {
			return
		}
		e.presence.lost()
		e.outage.Lost(ctx, err)
		if e.config.LostFunc != nil {
			e.config.LostFunc()
		}
		backoff.Wait(ctx)
	}
}

// hold proves again and again that the session lives.
func (e *Elector) hold(ctx context.Context, s *session) error {
	for ctx.Err() == nil {
		beatCtx, cancel := withoutCancel(ctx, HeartbeatTimeoutDefault)
		_, err := e.config.Statements.BackendPID(beatCtx, s.conn)
		cancel()
		if err != nil {
			return fmt.Errorf("keep the presence lock: %w", err)
		}
		e.outage.Well(ctx)
		sleep(ctx, HeartbeatIntervalDefault)
	}
	return nil
}

// open connects a session and takes the presence lock.
func (e *Elector) open(ctx context.Context) (*session, error) {
	s, refused, err := connect(ctx, e.config.Source, e.config.Statements, e.config.ReplicaID)
	if err != nil {
		return nil, err
	}
	if !e.joined {
		for _, err := range refused {
			e.config.Logger.WarnContext(ctx, "the server refuses a setting of the lock session; a dead leader may be noticed later", slog.Any("error", err))
		}
	}
	openCtx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	state, err := e.config.Statements.DatabaseState(openCtx, s.conn)
	switch {
	case err != nil:
	case state.InRecovery:
		err = errors.New("the server is a standby; waiting for the primary")
	case state.ReadOnly:
		err = errors.New("the database is read-only (default_transaction_read_only); waiting until it is not")
	default:
		err = e.config.Statements.JoinFleet(openCtx, s.conn, !e.joined)
	}
	if err == nil {
		// What else connected meanwhile may have found another server.
		if e.joined && e.config.LostFunc != nil {
			e.config.LostFunc()
		}
		e.joined = true
		e.presence.gained(ctx)
		err = s.prepare(openCtx)
	}
	if err != nil {
		e.presence.lost()
		s.close(ctx)
		return nil, err
	}
	return s, nil
}

// participate waits for the leader's lock and leads one term. It returns when the
// session must be given up, which includes the end of a term.
func (e *Elector) participate(ctx context.Context, s *session, lead LeadFunc) error {
	if err := e.rehearse(ctx, s); err != nil {
		return err
	}
	for {
		waitCtx, cancel := withoutCancel(ctx, lockWait+HeartbeatTimeoutDefault)
		acquired, err := e.config.Statements.WaitForLeaderLock(waitCtx, s.conn)
		cancel()
		if err != nil || ctx.Err() != nil {
			return err
		}
		if acquired {
			return e.leadTerm(ctx, s, lead)
		}
		e.outage.Well(ctx)
	}
}

// rehearse fails only if the session is lost by it.
func (e *Elector) rehearse(ctx context.Context, s *session) error {
	if e.config.RehearseFunc == nil || s.roundTrip > rehearseWithin {
		return nil
	}
	rehearseCtx, cancel := withoutCancel(ctx, prepareTimeout)
	defer cancel()
	err := e.config.RehearseFunc(rehearseCtx, s.conn)
	if err == nil {
		err = s.release(rehearseCtx) // of nothing, yet
	}
	if err != nil && !s.conn.IsClosed() {
		e.config.Logger.DebugContext(ctx, "the rehearsal failed; a take-over will be slower", slog.Any("error", err))
		return nil
	}
	return err
}

func (e *Elector) leadTerm(ctx context.Context, s *session, lead LeadFunc) error {
	term := &Term{
		session:    s.conn,
		statements: e.config.Statements,
		waitFunc:   s.wait,
		lostFunc:   s.conn.IsClosed,
		wellFunc:   func(ctx context.Context) { e.outage.Well(ctx) },
		timeout:    HeartbeatTimeoutDefault,
		began:      time.Now(),
	}
	if err := e.begin(ctx, s, term); err != nil || ctx.Err() != nil {
		return err
	}
	termCtx, endTerm := context.WithCancel(ctx)
	defer endTerm()
	e.config.Metrics.TermBegan(term.Number)
	defer e.config.Metrics.TermEnded()
	e.config.Logger.InfoContext(ctx, "leading", slog.Int64("term", term.Number))
	err := lead(termCtx, term)
	if ctx.Err() != nil {
		e.config.Logger.InfoContext(ctx, "leaving the leadership", slog.Int64("term", term.Number))
		return nil
	}
	if err == nil {
		err = errors.New("the leader's work returned")
	}
	return fmt.Errorf("term %d ended: %w", term.Number, err)
}

// begin records the term. What would hold up any replica, such as somebody's lock on
// the table, is waited for: the runs of this one would be interrupted for nothing.
// Whatever else is refused, another replica may be allowed.
func (e *Elector) begin(ctx context.Context, s *session, term *Term) error {
	var backoff connection.Backoff
	for said := false; ctx.Err() == nil; said = true {
		beginCtx, cancel := withoutCancel(ctx, HeartbeatTimeoutDefault)
		number, now, err := e.config.Statements.BeginTerm(beginCtx, s.conn, e.config.ReplicaID)
		cancel()
		if err == nil {
			term.Number = number
			term.Saw(now)
			return nil
		}
		if s.conn.IsClosed() || !connection.IsHeldUp(err) {
			return err
		}
		if !said {
			e.config.Logger.WarnContext(ctx, "elected, but the term cannot be begun yet; trying again, nothing is enqueued meanwhile", slog.Any("error", err))
		}
		backoff.Wait(ctx)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
