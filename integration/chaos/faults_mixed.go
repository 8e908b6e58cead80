package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/systempromptio/scheduler/integration/fleet"
)

type injectFunc = func(ctx context.Context, s *step) error

func mixedFaults() []fault {
	return []fault{
		{name: "mix-kill-and-restart", about: "the leader is killed while Postgres restarts", leads: true, short: true, inject: together(restart((*fleet.Server).Crash), later(killSome))},
		{name: "mix-frozen-worker-cut-leader", about: "a worker is frozen while the leader is cut off", leads: true, inject: frozenWorkerCutLeader},
		{name: "mix-failover-and-rolling", about: "failover during a rolling restart", leads: true, inject: together(failover(false), rollQuietly)},
		{name: "mix-storm-and-kill", about: "all sessions terminated again and again, and the leader killed", leads: true, inject: together(shortStorm, later(killSome), later(killSome))},
		{name: "mix-clocks-and-crash", about: "every replica's clock is wrong while Postgres crashes", leads: true, inject: clocksAndCrash},
		{name: "mix-frozen-and-crash", about: "all replicas frozen while Postgres crashes", leads: true, inject: together(freezeAll, later(restart((*fleet.Server).Crash)))},
		{name: "mix-latency-and-kill", about: "a slow network for all, and the leader killed", leads: true, inject: latencyAndKill},
		{name: "mix-lock-and-kill", about: "the ledger is locked, and the leader killed", leads: true, inject: lockAndKill},
		{name: "mix-disk-full-and-kill", about: "the disk is full, and replicas are killed", leads: true, inject: together(diskFull, later(killSome))},
		{name: "mix-two", about: "two faults by chance, one of the replicas, one of the server", weight: 3, leads: true, inject: mixTwo},
	}
}

// together makes several faults at once.
func together(parts ...injectFunc) injectFunc {
	return func(ctx context.Context, s *step) error {
		errs := make([]error, len(parts))
		// Each draws from a source of its own: who asks first is not in the seed.
		var wg sync.WaitGroup
		for i, part := range parts {
			own := &step{world: s.world, rng: s.source(), takeOver: s.takeOver, remark: s.remark}
			wg.Go(func() { errs[i] = part(ctx, own) })
		}
		wg.Wait()
		return errors.Join(errs...)
	}
}

// aside is a part that does not hit the leader.
func aside(part injectFunc) injectFunc {
	return func(ctx context.Context, s *step) error {
		return part(ctx, &step{world: s.world, rng: s.source(), remark: s.remark})
	}
}

// source is a new source of randomness, from this one.
func (s *step) source() *rand.Rand {
	s.mu.Lock()
	defer s.mu.Unlock()
	return rand.New(rand.NewPCG(s.rng.Uint64(), s.rng.Uint64()))
}

// later begins while another fault is under way.
func later(part injectFunc) injectFunc {
	return func(ctx context.Context, s *step) error {
		if err := pause(ctx, s.between(100*time.Millisecond, 2*time.Second)); err != nil {
			return err
		}
		return part(ctx, s)
	}
}

// killSome kills who led last, and by chance another one. It does not wait for a
// leader: Postgres may be away.
func killSome(ctx context.Context, s *step) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	id, err := ask[string](ctx, s.admin, "SELECT replica_id FROM scheduler.leadership")
	alive := s.alive()
	if len(alive) == 0 {
		return nil
	}
	victim := alive[s.number(len(alive))]
	for _, m := range alive {
		if err == nil && m.ID == id {
			victim = m
		}
	}
	defer s.struck(ctx)
	return s.kill(victim)
}

// rollQuietly is a rolling restart in which nothing is expected of the replicas:
// the database may be away when they leave and when they start.
func rollQuietly(ctx context.Context, s *step) error {
	for _, old := range s.alive() {
		if err := s.quit(ctx, old); err != nil {
			return err
		}
		if _, err := s.start(ctx, fleet.ReplicaOptions{}); err != nil {
			return err
		}
		if err := pause(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func frozenWorkerCutLeader(ctx context.Context, s *step) error {
	leads, err := s.leader(ctx)
	if err != nil {
		return err
	}
	worker, err := s.marking(ctx)
	if err != nil {
		return err
	}
	return together(
		func(ctx context.Context, s *step) error { return s.cut(ctx, fleet.Blackhole, s.cutTime(), leads) },
		aside(func(ctx context.Context, s *step) error { return s.freeze(ctx, 5*time.Second, worker) }),
	)(ctx, s)
}

func shortStorm(ctx context.Context, s *step) error { return s.storm(ctx, 5*time.Second) }

func clocksAndCrash(ctx context.Context, s *step) error {
	err := s.wrongClocks(ctx)
	if err == nil {
		err = restart((*fleet.Server).Crash)(ctx, s)
	}
	if err == nil {
		err = s.takenOver(ctx)
	}
	return errors.Join(err, s.endWrongClocks())
}

func latencyAndKill(ctx context.Context, s *step) error {
	if err := s.proxyAll(ctx); err != nil {
		return err
	}
	members := s.alive()
	err := each(members, func(m *member) error { return m.Cut(ctx, fleet.Latency) })
	if err == nil {
		err = killLeader(ctx, s)
	}
	if err == nil {
		err = pause(ctx, s.cutTime())
	}
	return errors.Join(err, s.heal(ctx, members...))
}

func lockAndKill(ctx context.Context, s *step) error {
	leads, err := s.leader(ctx)
	if err != nil {
		return err
	}
	return together(
		func(ctx context.Context, s *step) error { return s.lock(ctx, "scheduler.job_runs", 5*time.Second) },
		later(func(ctx context.Context, s *step) error {
			defer s.struck(ctx)
			return s.kill(leads)
		}),
	)(ctx, s)
}

// part is a fault that may be half of mix-two.
type part struct {
	name   string
	inject injectFunc
}

// mixTwo takes one fault of the replicas and one of the server. Neither may wait
// for what the other takes away.
func mixTwo(ctx context.Context, s *step) error {
	ofReplicas := []part{
		{"kill", later(killSome)},
		{"freeze one", later(freezeOne)},
		{"freeze all", freezeAll},
		{"cut one", cutOne},
		{"cut all", cutAll},
		{"rolling restart", rollQuietly},
	}
	ofServer := []part{
		{"storm", shortStorm},
		{"fast restart", restart((*fleet.Server).StopFast)},
		{"immediate restart", restart((*fleet.Server).StopImmediate)},
		{"crash", restart((*fleet.Server).Crash)},
		{"pause", pausePostgres},
		{"failover", failover(false)},
		{"disk full", diskFull},
		{"read-only", readOnlySystem},
		{"slots taken", slotsTaken},
		{"statement timeout", timeoutSetting("statement_timeout", 5, 200)},
		{"lock", lockSome},
	}
	one, other := ofReplicas[s.number(len(ofReplicas))], ofServer[s.number(len(ofServer))]
	s.remark(one.name + ", " + other.name)
	return together(one.inject, other.inject)(ctx, s)
}

func freezeOne(ctx context.Context, s *step) error {
	alive := s.alive()
	return s.freeze(ctx, s.between(time.Second, 6*time.Second), alive[s.number(len(alive))])
}

func cutOne(ctx context.Context, s *step) error {
	alive := s.alive()
	return s.cut(ctx, s.straightCut(), s.cutTime(), alive[s.number(len(alive))])
}

func cutAll(ctx context.Context, s *step) error {
	return s.cut(ctx, s.straightCut(), s.cutTime(), s.alive()...)
}

// straightCut is one that needs no proxy.
func (s *step) straightCut() fleet.Cut {
	cut := cuts[s.number(len(cuts)-1)]
	s.remark(cut.String())
	return cut
}

func lockSome(ctx context.Context, s *step) error {
	table := lockable[s.number(len(lockable))]
	s.remark(table)
	return s.lock(ctx, table, s.between(3*time.Second, 10*time.Second))
}
