package main

import (
	"context"
	"errors"
	"time"

	"github.com/systempromptio/scheduler/integration/fleet"
)

// wrong is by how much a replica's clock may be wrong.
var wrong = []time.Duration{time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour}

func clockFaults() []fault {
	return []fault{
		{name: "clock-of-replica", about: "a new replica's clock is wrong by an hour or a day", inject: clockOfReplica},
		{name: "clock-of-all", about: "every replica's clock is wrong, and the leader is killed twice", leads: true, inject: clockOfAll},
		{name: "pg-clock-hour", about: "the database's clock is set forward by an hour", needs: "-clock", leads: true, inject: setClock(time.Hour, time.Hour)},
		{name: "pg-clock-day", about: "the database's clock is set forward by a day", needs: "-clock", leads: true, inject: setClock(24*time.Hour, 24*time.Hour)},
		{name: "pg-clock-back", about: "the database's clock is set back by some seconds", needs: "-clock", weight: 2, inject: setClock(-5*time.Second, -2*time.Second)},
	}
}

func clockOfReplica(ctx context.Context, s *step) error {
	workers, err := s.workers(ctx)
	if err != nil {
		return err
	}
	if err := s.kill(workers[s.number(len(workers))]); err != nil {
		return err
	}
	if err := s.startJoined(ctx, fleet.ReplicaOptions{ClockOffset: wrong[s.number(len(wrong))]}); err != nil {
		return err
	}
	return pause(ctx, s.between(3*time.Second, 6*time.Second))
}

// clockOfAll: whoever leads has a wrong clock, and another one than the leader
// before.
func clockOfAll(ctx context.Context, s *step) error {
	err := s.wrongClocks(ctx)
	for range 2 {
		if err == nil {
			err = pause(ctx, s.between(2*time.Second, 4*time.Second))
		}
		if err == nil {
			err = killLeader(ctx, s)
		}
		if err == nil {
			err = s.takenOver(ctx)
		}
	}
	return errors.Join(err, s.endWrongClocks())
}

// wrongClocks replaces every replica by one whose clock is wrong.
func (s *step) wrongClocks(ctx context.Context) error {
	var fresh []*member
	for i, old := range s.alive() {
		if err := s.kill(old); err != nil {
			return err
		}
		m, err := s.start(ctx, fleet.ReplicaOptions{ClockOffset: wrong[i%len(wrong)]})
		if err != nil {
			return err
		}
		fresh = append(fresh, m)
	}
	for _, m := range fresh {
		if err := s.joined(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// endWrongClocks kills those whose clock is wrong.
func (s *step) endWrongClocks() error {
	var errs []error
	for _, m := range s.alive() {
		if m.options.ClockOffset != 0 {
			errs = append(errs, s.kill(m))
		}
	}
	return errors.Join(errs...)
}

// setClock sets the database's clock, from where it is. It never goes back by
// more than seconds: the job rests until the clock has passed its last tick.
func setClock(low, high time.Duration) func(ctx context.Context, s *step) error {
	return func(ctx context.Context, s *step) error {
		offset := s.clockOffset() + s.between(low, high)
		if err := s.fleet.SetClock(ctx, offset); err != nil {
			return err
		}
		s.world.mu.Lock()
		s.clock = offset
		s.world.mu.Unlock()
		s.struck(ctx)
		return nil
	}
}

// clockOffset is by how much the database's clock is ahead.
func (w *world) clockOffset() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}
