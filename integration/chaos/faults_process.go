package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/fleet"
)

// leaveLimit is how long a replica may take to leave: its shutdown timeout and
// some more.
const leaveLimit = 20 * time.Second

func processFaults() []fault {
	list := []fault{
		{name: "kill-leader", about: "SIGKILL of the leader", weight: 4, short: true, leads: true, inject: killLeader},
		{name: "kill-worker", about: "SIGKILL of the replica that runs mark", weight: 2, short: true, inject: killWorker},
		{name: "kill-all", about: "SIGKILL of all replicas, then new ones", leads: true, short: true, inject: killAll},
		{name: "term-leader", about: "SIGTERM of the leader", weight: 2, short: true, leads: true, inject: termLeader},
		{name: "rolling-restart", about: "SIGTERM of every replica, one after the other", short: true, inject: rollingRestart},
		{name: "kill-at-leader-statement", about: "leaders kill themselves around a statement by chance", weight: 3, short: true, inject: killAtStatement("lock", 40)},
		{name: "kill-at-worker-statement", about: "replicas kill themselves around a statement of their work by chance", weight: 3, inject: killAtStatement("pool", 300)},
		{name: "freeze-all-5s", about: "SIGSTOP of all replicas for 5 s", leads: true, inject: freezeAll},
	}
	for _, d := range []time.Duration{time.Second, 5 * time.Second, time.Minute} {
		name := fmt.Sprintf("%.0fs", d.Seconds())
		list = append(list,
			fault{
				name: "freeze-leader-" + name, about: "SIGSTOP of the leader for " + name, short: d == 5*time.Second, leads: true,
				inject: func(ctx context.Context, s *step) error {
					leads, err := s.leader(ctx)
					if err != nil {
						return err
					}
					return s.freeze(ctx, d, leads)
				},
			},
			fault{
				name: "freeze-worker-" + name, about: "SIGSTOP of the replica that runs mark for " + name, short: d == time.Second,
				inject: func(ctx context.Context, s *step) error {
					worker, err := s.marking(ctx)
					if err != nil {
						return err
					}
					return s.freeze(ctx, d, worker)
				},
			})
	}
	return list
}

func killLeader(ctx context.Context, s *step) error {
	leads, err := s.leader(ctx)
	if err != nil {
		return err
	}
	defer s.struck(ctx)
	return s.kill(leads)
}

// killAtStatement starts replicas that kill themselves around a statement by chance,
// on the connection named so, and lets some of them do it.
func killAtStatement(connection string, most int) injectFunc {
	const deaths = 3
	return func(ctx context.Context, s *step) error {
		var mortal []*member
		others := s.alive()
		for range others {
			when := []string{"before", "after"}[s.number(2)]
			env := fmt.Sprintf("SCHEDULER_FAILPOINT=%s:*:%s:%d", connection, when, 10+s.number(most))
			m, err := s.start(ctx, fleet.ReplicaOptions{Env: []string{env}})
			if err != nil {
				return err
			}
			mortal = append(mortal, s.expect(m))
		}
		err := s.end(ctx, others)
		dead := make(map[*member]bool)
		if err == nil {
			err = until(ctx, time.Minute, fmt.Sprintf("%d replicas kill themselves", deaths), func(ctx context.Context) (bool, error) {
				for _, m := range mortal {
					if place := failpointOf(ctx, m); place != "" && !dead[m] {
						dead[m] = true
						s.remark(place)
						if err := m.Kill(); err != nil {
							return false, err
						}
					}
				}
				return len(dead) >= min(deaths, len(mortal)), pause(ctx, 100*time.Millisecond)
			})
		}
		return errors.Join(err, each(mortal, s.kill))
	}
}

// failpointOf is where a replica has killed itself, or has stopped to: the first
// process of a container is not killed by its own signal. Empty: nowhere yet.
func failpointOf(ctx context.Context, m *member) string {
	for line := range strings.Lines(logTail(ctx, m)) {
		if place, ok := strings.CutPrefix(line, "failpoint: "); ok {
			return strings.TrimSpace(place)
		}
	}
	return ""
}

func killWorker(ctx context.Context, s *step) error {
	worker, err := s.marking(ctx)
	if err != nil {
		return err
	}
	return s.kill(worker)
}

func killAll(ctx context.Context, s *step) error {
	err := s.end(ctx, s.alive())
	// Nobody can lead before the new ones run.
	err = errors.Join(err, s.refill(ctx))
	s.struck(ctx)
	return err
}

// end kills replicas and waits until they have ended.
func (s *step) end(ctx context.Context, members []*member) error {
	err := each(members, s.kill)
	for _, m := range members {
		select {
		case <-m.Exited():
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
	return err
}

func termLeader(ctx context.Context, s *step) error {
	leads, err := s.leader(ctx)
	if err != nil {
		return err
	}
	if err := s.expect(leads).Signal(syscall.SIGTERM); err != nil {
		return err
	}
	s.struck(ctx)
	return s.left(ctx, leads)
}

// quit asks a replica to leave and waits for its end, however it ends; one that does
// not leave is killed.
func (s *step) quit(ctx context.Context, m *member) error {
	if err := s.expect(m).Signal(syscall.SIGTERM); err != nil && !exited(m) {
		return err
	}
	limit := time.NewTimer(leaveLimit)
	defer limit.Stop()
	select {
	case <-m.Exited():
		return nil
	case <-limit.C:
		return m.Kill()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// left waits until a replica that was asked to has left, in peace.
func (s *step) left(ctx context.Context, m *member) error {
	limit := time.NewTimer(leaveLimit)
	defer limit.Stop()
	select {
	case <-m.Exited():
	case <-limit.C:
		return fmt.Errorf("replica %s has not left %v after SIGTERM", m.ID, leaveLimit)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// Runs that others have to go on with are no fault of it, and it says so.
	if code := m.ExitCode(); code != 0 && !strings.Contains(logTail(ctx, m), scheduler.ErrRunsLeft.Error()) {
		return fmt.Errorf("replica %s has left with exit code %d after SIGTERM, want 0", m.ID, code)
	}
	return nil
}

func rollingRestart(ctx context.Context, s *step) error { return s.roll(ctx, fleet.ReplicaOptions{}) }

// roll replaces every replica, one after the other, and waits for each new one.
func (s *step) roll(ctx context.Context, o fleet.ReplicaOptions) error {
	for _, old := range s.alive() {
		if err := s.expect(old).Signal(syscall.SIGTERM); err != nil {
			return err
		}
		if err := s.left(ctx, old); err != nil {
			return err
		}
		if err := s.startJoined(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func (s *step) startJoined(ctx context.Context, o fleet.ReplicaOptions) error {
	m, err := s.start(ctx, o)
	if err != nil {
		return err
	}
	return s.joined(ctx, m)
}

func freezeAll(ctx context.Context, s *step) error {
	return s.freeze(ctx, 5*time.Second, s.alive()...)
}

// freeze stops replicas and lets them go on.
func (s *step) freeze(ctx context.Context, d time.Duration, members ...*member) error {
	var errs []error
	for _, m := range members {
		errs = append(errs, m.Signal(syscall.SIGSTOP))
	}
	s.struck(ctx)
	errs = append(errs, pause(ctx, d))
	if len(members) == len(s.alive()) {
		s.possible() // nobody could lead until now
	}
	for _, m := range members {
		if err := m.Signal(syscall.SIGCONT); err != nil && !exited(m) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// marking waits until a replica is in the middle of a run of mark; one that does
// not lead, if there is such a one within some time.
func (s *step) marking(ctx context.Context) (*member, error) {
	leads, err := s.leader(ctx)
	if err != nil {
		return nil, err
	}
	var found *member
	patience := time.Now().Add(10 * time.Second)
	err = until(ctx, joinLimit, "a replica runs mark", func(ctx context.Context) (bool, error) {
		id, err := ask[string](ctx, s.admin, "SELECT replica_id FROM scheduler.job_runs WHERE job_name = 'mark' AND status = 'running' AND rows_affected > 0")
		if err != nil {
			return false, err
		}
		s.world.mu.Lock()
		found = s.members[id]
		s.world.mu.Unlock()
		return found != nil && !exited(found) && (found != leads || time.Now().After(patience)), nil
	})
	return found, err
}

// each does something to several replicas at once.
func each(members []*member, do func(m *member) error) error {
	errs := make([]error, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() { errs[i] = do(m) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
