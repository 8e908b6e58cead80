package leader

import (
	"context"
	"time"

	"github.com/systempromptio/scheduler/sql"
)

// Static is an elector that always leads, for tests that have one replica or no
// database. The zero value leads term 0 without a session.
type Static struct {
	// Number is the term's number.
	Number int64
	// Session runs the term's statements; nil if the leader's work uses none.
	Session Session
	// Statements are the statements for the schema.
	Statements *sql.Statements
	// Wake ends a wait as a notification would. Nil never does.
	Wake <-chan struct{}
}

// Presence is always held.
func (*Static) Presence() *Presence {
	p := newPresence(nil)
	p.gained(context.Background()) //nolint:forbidigo // it never ends
	return p
}

// Run leads one term until ctx ends.
func (s *Static) Run(ctx context.Context, lead LeadFunc) {
	term := &Term{
		Number:     s.Number,
		session:    s.Session,
		statements: s.Statements,
		waitFunc:   s.wait,
		lostFunc:   func() bool { return false },
		wellFunc:   func(context.Context) {},
		timeout:    HeartbeatTimeoutDefault,
		began:      time.Now(),
	}
	term.Saw(time.Now())
	_ = lead(ctx, term)
}

func (s *Static) wait(ctx context.Context, d time.Duration) (bool, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-timer.C:
		return false, nil
	case <-s.Wake:
		return true, nil
	}
}
