package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/systempromptio/scheduler/integration/fleet"
)

// cuts are what may happen to a replica's network.
var cuts = []fleet.Cut{fleet.Blackhole, fleet.CutOut, fleet.CutIn, fleet.Loss, fleet.Reset, fleet.Latency}

func networkFaults() []fault {
	var list []fault
	for _, cut := range cuts {
		name := "net-" + strings.ToLower(strings.ReplaceAll(cut.String(), " ", "-"))
		list = append(list,
			fault{
				name: name + "-leader", about: "the leader's network: " + cut.String(), leads: true, short: cut == fleet.Blackhole || cut == fleet.Reset,
				inject: func(ctx context.Context, s *step) error {
					leads, err := s.leader(ctx)
					if err == nil && cut == fleet.Latency {
						leads, err = s.proxiedLeader(ctx)
					}
					if err != nil {
						return err
					}
					return s.cut(ctx, cut, s.cutTime(), leads)
				},
			},
			fault{
				name: name + "-worker", about: "the network of one that does not lead: " + cut.String(), short: cut == fleet.CutIn,
				inject: func(ctx context.Context, s *step) error {
					workers, err := s.workers(ctx)
					if err == nil && cut == fleet.Latency {
						workers, err = s.proxiedWorkers(ctx)
					}
					if err != nil {
						return err
					}
					return s.cut(ctx, cut, s.cutTime(), workers[s.number(len(workers))])
				},
			},
			fault{
				name: name + "-all", about: "the network of all replicas: " + cut.String(), leads: true,
				inject: func(ctx context.Context, s *step) error {
					if cut == fleet.Latency {
						if err := s.proxyAll(ctx); err != nil {
							return err
						}
					}
					return s.cut(ctx, cut, s.cutTime(), s.alive()...)
				},
			})
	}
	return list
}

// cutTime is how long a network is cut: some shorter than what makes a session
// lost, most longer.
func (s *step) cutTime() time.Duration {
	if s.config.short {
		return 4 * time.Second
	}
	return s.between(time.Second, 12*time.Second)
}

// cut cuts replicas off and heals them.
func (s *step) cut(ctx context.Context, cut fleet.Cut, d time.Duration, members ...*member) error {
	all := len(members) == len(s.alive())
	err := each(members, func(m *member) error { return m.Cut(ctx, cut) })
	s.struck(ctx)
	if err == nil {
		err = pause(ctx, d)
	}
	if all && cut != fleet.Loss && cut != fleet.Latency {
		s.possible() // nobody could lead until now
	}
	return errors.Join(err, s.heal(ctx, members...))
}

// heal takes back what was cut; who has ended needs none.
func (s *step) heal(ctx context.Context, members ...*member) error {
	return each(members, func(m *member) error {
		err := tidy(ctx, m.Heal)
		if exited(m) {
			return nil
		}
		return err
	})
}

// proxiedWorkers are those whose network can be made slow, and that do not lead.
func (s *step) proxiedWorkers(ctx context.Context) ([]*member, error) {
	if err := s.proxyAll(ctx); err != nil {
		return nil, err
	}
	return s.workers(ctx)
}

func (s *step) proxiedLeader(ctx context.Context) (*member, error) {
	if err := s.proxyAll(ctx); err != nil {
		return nil, err
	}
	return s.leader(ctx)
}

// proxyAll replaces the replicas that do not go through the proxy.
func (s *step) proxyAll(ctx context.Context) error {
	var fresh []*member
	for _, m := range s.alive() {
		if m.options.Proxied {
			continue
		}
		if err := s.kill(m); err != nil {
			return err
		}
		n, err := s.start(ctx, fleet.ReplicaOptions{Proxied: true})
		if err != nil {
			return err
		}
		fresh = append(fresh, n)
	}
	for _, m := range fresh {
		if err := s.joined(ctx, m); err != nil {
			return fmt.Errorf("through the proxy: %w", err)
		}
	}
	return nil
}
