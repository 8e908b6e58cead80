package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/systempromptio/scheduler"
)

// healthz says that the process serves requests, whatever its database does.
func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte("ok\n")) // whoever asked may have gone
}

// readiness is the answer of /readyz. It is for everybody, so it names no host, no user
// and no job.
type readiness struct {
	Ready bool `json:"ready"`
	// What is looked at, in this order: ok, or what is wrong. Empty where that cannot be
	// known because of what is wrong before.
	Database string `json:"database"`
	Schema   string `json:"schema,omitempty"`
	Leader   string `json:"leader,omitempty"`
	Ticks    string `json:"ticks,omitempty"`
}

// readyInterval is how old the answer of /readyz may be: many may ask.
const readyInterval = 500 * time.Millisecond

// readyz says whether schedules are kept.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	state, err := s.ready.get(r.Context(), func(ctx context.Context) (readiness, time.Duration, error) {
		err := s.source.probed(ctx, func(ctx context.Context, probe *scheduler.Client) error { return probe.Ready(ctx) })
		if err != nil {
			s.config.Logger.DebugContext(ctx, "not ready", slog.Any("error", err))
		}
		return readinessOf(err), readyInterval, nil
	})
	if err != nil {
		state = readinessOf(err)
	}
	w.Header().Set("Cache-Control", "no-store")
	status := http.StatusOK
	if !state.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, state)
}

func readinessOf(err error) readiness {
	const ok = "ok"
	switch {
	case err == nil:
		return readiness{Ready: true, Database: ok, Schema: ok, Leader: ok, Ticks: ok}
	case errors.Is(err, scheduler.ErrSchema):
		return readiness{Database: ok, Schema: "missing, old, or newer than this version knows; see the log, or: scheduler migrate status"}
	case errors.Is(err, scheduler.ErrNoLeader):
		return readiness{Database: ok, Schema: ok, Leader: scheduler.ErrNoLeader.Error()}
	case errors.Is(err, scheduler.ErrOverdue):
		return readiness{Database: ok, Schema: ok, Leader: ok, Ticks: fmt.Sprintf("overdue by more than %v", scheduler.OverdueDefault)}
	}
	return readiness{Database: "cannot be used; see the log, or: scheduler doctor"}
}
