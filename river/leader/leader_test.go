package leader_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/systempromptio/scheduler/river/leader"
	"github.com/systempromptio/scheduler/sql"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := leader.Config{Statements: sql.For("scheduler"), ReplicaID: "r", Logger: slog.New(slog.DiscardHandler)}
	if _, err := leader.New(good); err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(*leader.Config){
		"Statements": func(c *leader.Config) { c.Statements = nil },
		"ReplicaID":  func(c *leader.Config) { c.ReplicaID = strings.Repeat("x", leader.ReplicaIDMax+1) },
		"Logger":     func(c *leader.Config) { c.Logger = nil },
	} {
		config := good
		change(&config)
		if _, err := leader.New(config); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("got %v, want an error that names %s", err, field)
		}
	}
}

func TestPresenceIsNotHeldBeforeTheSession(t *testing.T) {
	t.Parallel()
	elector, err := leader.New(leader.Config{
		Statements: sql.For("scheduler"), ReplicaID: "r", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := elector.Presence().Held(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("before there is a session, presence is held (%v)", err)
	}
}

// A static elector lets a leader's work be tested without a database.
func TestStaticLeads(t *testing.T) {
	t.Parallel()
	wake := make(chan struct{}, 1)
	static := &leader.Static{Number: 7, Wake: wake}
	if held, err := static.Presence().Held(t.Context()); err != nil || held.Err() != nil {
		t.Error("presence is not held")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var led int64
	static.Run(ctx, func(ctx context.Context, term *leader.Term) error {
		led = term.Number
		wake <- struct{}{}
		if notified, err := term.Wait(ctx, time.Hour); !notified || err != nil {
			t.Errorf("woken, Wait gave %v, %v", notified, err)
		}
		if notified, err := term.Wait(ctx, time.Microsecond); notified || err != nil {
			t.Errorf("after its time, Wait gave %v, %v", notified, err)
		}
		cancel()
		_, err := term.Wait(ctx, time.Hour)
		return err
	})
	if led != 7 {
		t.Errorf("led term %d, want 7", led)
	}
}
