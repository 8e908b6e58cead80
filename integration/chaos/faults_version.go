package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/systempromptio/scheduler/integration/fleet"
)

// extraEnv makes a replica know the job extra.
const extraEnv = "SCHEDULER_REPLICA_EXTRA=1"

func versionFaults() []fault {
	return []fault{
		{name: "old-and-new", about: "replicas of an old binary beside new ones, which lead in turn", needs: "-old", weight: 2, leads: true, inject: oldAndNew},
		{name: "extra-job", about: "a job that only one replica knows, which is killed", short: true, inject: extraJob},
	}
}

// oldAndNew lets old and new replicas lead in turn.
func oldAndNew(ctx context.Context, s *step) error {
	var err error
	for i, m := range s.alive() {
		if i%2 == 0 && err == nil {
			err = errors.Join(s.kill(m), s.startJoined(ctx, fleet.ReplicaOptions{Old: true}))
		}
	}
	for range 4 {
		if err == nil {
			err = pause(ctx, s.between(time.Second, 3*time.Second))
		}
		if err == nil {
			err = s.changeBinary(ctx)
		}
	}
	for _, m := range s.alive() {
		if m.options.Old {
			err = errors.Join(err, s.kill(m))
		}
	}
	return err
}

// changeBinary kills the leader and starts one of the other binary in its place.
func (s *step) changeBinary(ctx context.Context) error {
	leads, err := s.leader(ctx)
	if err != nil {
		return err
	}
	if err := s.kill(leads); err != nil {
		return err
	}
	s.struck(ctx)
	return s.startJoined(ctx, fleet.ReplicaOptions{Old: !leads.options.Old})
}

// extraJob asks for a run of a job that one replica knows, and kills that one: the
// run waits for another that knows it.
func extraJob(ctx context.Context, s *step) error {
	knows, err := s.leadAlone(ctx, fleet.ReplicaOptions{Env: []string{extraEnv}})
	if err != nil {
		return err
	}
	err = s.refill(ctx)
	if err == nil {
		err = s.runExtra(ctx, func(context.Context) error { return nil })
	}
	if err == nil {
		err = s.runExtra(ctx, func(ctx context.Context) error {
			if err := s.kill(knows); err != nil {
				return err
			}
			// Without it nobody can do the run.
			if err := pause(ctx, s.between(time.Second, 5*time.Second)); err != nil {
				return err
			}
			return s.startJoined(ctx, fleet.ReplicaOptions{Env: []string{extraEnv}})
		})
	}
	for _, m := range s.alive() {
		if len(m.options.Env) > 0 {
			err = errors.Join(err, s.kill(m))
		}
	}
	return err
}

// leadAlone starts a replica and ends all others, so that it leads.
func (s *step) leadAlone(ctx context.Context, o fleet.ReplicaOptions) (*member, error) {
	others := s.alive()
	m, err := s.start(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := s.joined(ctx, m); err != nil {
		return nil, err
	}
	if err := s.end(ctx, others); err != nil {
		return nil, err
	}
	return m, until(ctx, joinLimit, "the job extra is known", func(ctx context.Context) (bool, error) {
		return ask[bool](ctx, s.admin, "SELECT EXISTS (SELECT FROM scheduler.jobs WHERE job_name = 'extra' AND state = 'active')")
	})
}

// runExtra asks for a run of extra, does something, and waits for the run's end: a
// leader that does not know the job may have refused it.
func (s *step) runExtra(ctx context.Context, meanwhile func(ctx context.Context) error) error {
	run, err := ask[int64](ctx, s.admin, "SELECT scheduler.run_now('extra')")
	if err != nil {
		return fmt.Errorf("ask for a run of extra: %w", err)
	}
	if err := meanwhile(ctx); err != nil {
		return err
	}
	return until(ctx, joinLimit, fmt.Sprintf("run %d of extra ends", run), func(ctx context.Context) (bool, error) {
		status, err := ask[string](ctx, s.admin, "SELECT status FROM scheduler.job_runs WHERE id = $1", run)
		if err == nil && status != "success" && status != "skipped" {
			err = fmt.Errorf("it is %s", status)
		}
		return err == nil, err
	})
}
