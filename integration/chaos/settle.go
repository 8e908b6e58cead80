package main

import (
	"context"
	_ "embed" // settle.sql, stuck.sql
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// settleLimit is how long everything may take to be in order again.
	settleLimit = time.Minute
	// orphanLimit is how long a run may stay with a replica that is gone.
	orphanLimit = 10 * time.Second
	// freshTick is how old the newest decision may be.
	freshTick = 3 * time.Second
)

//go:embed settle.sql
var settleStatement string

//go:embed stuck.sql
var stuckStatement string

// state is what settle looks at.
type state struct {
	Leader    string
	Replicas  []string
	NewestAge float64  // of the newest decision of each_second, in seconds
	Succeeded bool     // a tick after the fault's end has been run
	Old       int64    // runs that should have ended
	Orphans   []string // runs with replicas that are gone
	MarkRun   int64    // the run of mark that is under way, if it is old
	MarkRows  int64
}

func readState(ctx context.Context, db querier, healed time.Time) (state, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	rows, err := db.Query(ctx, settleStatement, healed)
	if err != nil {
		return state{}, err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[state])
}

// settling is one wait for order.
type settling struct {
	w       *world
	healed  time.Time
	orphans map[string]time.Time // since when they were seen
	found   []violation
	markRun int64
	rows    int64
}

// settle waits until everything is in order after a fault, and returns what did
// not come into order in time.
func (w *world) settle(ctx context.Context) ([]violation, error) {
	s := &settling{w: w, orphans: make(map[string]time.Time), markRun: -1}
	err := until(ctx, settleLimit, "settle", func(ctx context.Context) (bool, error) {
		if err := w.refill(ctx); err != nil {
			return false, err
		}
		return s.look(ctx)
	})
	if err != nil && gone(ctx, err) {
		return s.found, err
	}
	if err != nil {
		s.found = append(s.found, violation{Kind: "unsettled", Key: time.Now().String(), N: 1, Detail: err.Error()})
	}
	stuck, err := readStuck(ctx, w.admin)
	return append(s.found, stuck...), err
}

func (s *settling) look(ctx context.Context) (bool, error) {
	if s.healed.IsZero() {
		healed, err := ask[time.Time](ctx, s.w.admin, "SELECT clock_timestamp()")
		if err != nil {
			return false, err
		}
		s.healed = healed
	}
	now, err := readState(ctx, s.w.admin, s.healed)
	if err != nil {
		return false, err
	}
	s.w.saw(now.Replicas)
	s.orphaned(now.Orphans)
	if s.markRun == -1 {
		s.markRun, s.rows = now.MarkRun, now.MarkRows
	}
	if reason := s.missing(now); reason != "" {
		return false, errors.New(reason)
	}
	return true, nil
}

// missing says what is not in order yet; empty: nothing.
func (s *settling) missing(now state) string {
	var missing []string
	want := s.w.ids()
	if now.Leader == "" {
		missing = append(missing, "nobody leads")
	}
	if !slices.Equal(now.Replicas, want) {
		missing = append(missing, fmt.Sprintf("the replicas %v are there, want %v", now.Replicas, want))
	}
	if now.NewestAge > freshTick.Seconds() || now.NewestAge < -1 {
		missing = append(missing, fmt.Sprintf("the newest decision of each_second is %.1f s old", now.NewestAge))
	}
	if !now.Succeeded {
		missing = append(missing, "no tick after the fault has been run")
	}
	if now.Old > 0 {
		missing = append(missing, fmt.Sprintf("%d runs have not ended", now.Old))
	}
	if len(now.Orphans) > 0 {
		missing = append(missing, fmt.Sprintf("runs of replicas that are gone: %v", now.Orphans))
	}
	if s.markRun != 0 && now.MarkRun == s.markRun && now.MarkRows == s.rows {
		missing = append(missing, fmt.Sprintf("run %d of mark does not go on", s.markRun))
	}
	return strings.Join(missing, "; ")
}

// orphaned notes the runs that stay with a replica that is gone.
func (s *settling) orphaned(now []string) {
	maps.DeleteFunc(s.orphans, func(orphan string, _ time.Time) bool { return !slices.Contains(now, orphan) })
	for _, orphan := range now {
		if _, known := s.orphans[orphan]; !known {
			s.orphans[orphan] = time.Now()
		}
		if time.Since(s.orphans[orphan]) > orphanLimit {
			s.found = append(s.found, violation{Kind: "orphan", Key: orphan, N: 1, Detail: fmt.Sprintf("%s: its replica has been gone for more than %v", orphan, orphanLimit)})
		}
	}
}

// saw notes which replicas have joined.
func (w *world) saw(ids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		if m := w.members[id]; m != nil {
			m.joined = true
		}
	}
}

// ids are those of the replicas whose process runs, sorted.
func (w *world) ids() []string {
	var ids []string
	for _, m := range w.alive() {
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	return ids
}

// readStuck lists the runs that hang.
func readStuck(ctx context.Context, db querier) ([]violation, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	rows, err := db.Query(ctx, stuckStatement)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[violation])
}
