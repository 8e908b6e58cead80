package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/integration/fleet"
)

const terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename IN ('app', 'scheduler_serve') AND pid <> pg_backend_pid()"

func serverFaults() []fault {
	return []fault{
		{name: "storm", about: "all sessions terminated, every 100 ms", short: true, leads: true, inject: storm},
		{name: "pg-fast-restart", about: "fast shutdown of Postgres, and restart", leads: true, inject: restart((*fleet.Server).StopFast)},
		{name: "pg-immediate-restart", about: "immediate shutdown of Postgres, and restart", leads: true, inject: restart((*fleet.Server).StopImmediate)},
		{name: "pg-crash", about: "SIGKILL of Postgres, and restart", short: true, leads: true, inject: restart((*fleet.Server).Crash)},
		{name: "pg-pause", about: "Postgres frozen", leads: true, inject: pausePostgres},
		{name: "failover", about: "the primary dies, an asynchronous standby takes over", short: true, leads: true, inject: failover(false)},
		{name: "failover-sync", about: "the primary dies, a synchronous standby takes over", leads: true, inject: failover(true)},
		{name: "failover-keep-leader", about: "failover while the leader still reaches the old primary", short: true, leads: true, inject: failoverKeep(true)},
		{name: "failover-keep-worker", about: "failover while another replica still reaches the old primary", leads: true, inject: failoverKeep(false)},
		{name: "disk-full", about: "the server's disk is full", leads: true, inject: diskFull},
	}
}

func storm(ctx context.Context, s *step) error {
	d := 30 * time.Second
	if s.config.short {
		d = 5 * time.Second
	}
	return s.storm(ctx, d)
}

func (s *step) storm(ctx context.Context, d time.Duration) error {
	for end := time.Now().Add(d); time.Now().Before(end); {
		// In a mixture Postgres may be away.
		_ = s.exec(ctx, terminate)
		s.struck(ctx)
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// restart stops the primary, and starts it again soon.
func restart(stop func(s *fleet.Server, ctx context.Context) error) func(ctx context.Context, s *step) error {
	return func(ctx context.Context, s *step) error {
		server := s.fleet.Primary()
		err := stop(server, ctx)
		s.struck(ctx)
		if err == nil {
			err = pause(ctx, s.between(0, 4*time.Second))
		}
		return errors.Join(err, tidy(ctx, server.Start))
	}
}

func pausePostgres(ctx context.Context, s *step) error {
	server := s.fleet.Primary()
	err := server.Pause(ctx)
	s.struck(ctx)
	if err == nil {
		err = pause(ctx, s.between(time.Second, 8*time.Second))
	}
	s.possible()
	return errors.Join(err, tidy(ctx, server.Unpause))
}

// failover lets the standby take over. What a synchronous one has confirmed must
// be there after it.
func failover(synchronous bool) func(ctx context.Context, s *step) error {
	return func(ctx context.Context, s *step) error {
		if synchronous {
			if err := s.fleet.SetSynchronous(ctx, true); err != nil {
				return err
			}
		}
		before, err := s.newestHit(ctx)
		if err != nil {
			return err
		}
		if err := s.fleet.Failover(ctx, nil); err != nil {
			return err
		}
		s.struck(ctx)
		after, err := s.newestHit(ctx)
		if synchronous && err == nil && after < before {
			err = fmt.Errorf("run %d had its effect before the failover to a synchronous standby, the newest after it is %d", before, after)
		}
		return errors.Join(err, s.rebuild(ctx))
	}
}

// newestHit is the newest run of each_second that has had its effect.
func (s *step) newestHit(ctx context.Context) (run int64, err error) {
	err = until(ctx, joinLimit, "read the newest hit", func(ctx context.Context) (bool, error) {
		run, err = ask[int64](ctx, s.admin, "SELECT coalesce(max(run_id), 0) FROM hits")
		return err == nil, err
	})
	return run, err
}

// rebuild makes the old primary a standby of the new one, and commits without
// waiting for it.
func (s *step) rebuild(ctx context.Context) error {
	return tidy(ctx, func(ctx context.Context) error {
		return errors.Join(s.fleet.Rebuild(ctx), s.fleet.SetSynchronous(ctx, false))
	})
}

// failoverKeep is a failover in which the old primary lives on for one replica.
func failoverKeep(leader bool) func(ctx context.Context, s *step) error {
	return func(ctx context.Context, s *step) error {
		keep, err := s.leader(ctx)
		if err == nil && !leader {
			var workers []*member
			if workers, err = s.workers(ctx); err == nil {
				keep = workers[s.number(len(workers))]
			}
		}
		if err != nil {
			return err
		}
		if err := s.fleet.Failover(ctx, keep.Replica); err != nil {
			return err
		}
		s.struck(ctx)
		err = pause(ctx, s.between(2*time.Second, 8*time.Second))
		return errors.Join(err, s.rebuild(ctx))
	}
}

func diskFull(ctx context.Context, s *step) error {
	server := s.fleet.Primary()
	err := server.FillDisk(ctx)
	s.struck(ctx)
	if err == nil {
		err = pause(ctx, s.between(3*time.Second, 10*time.Second))
	}
	return errors.Join(err, tidy(ctx, server.FreeDisk))
}

// terminateSome ends about half of the sessions of the application and the
// replicas, so that new ones come under what was just set.
func (s *step) terminateSome(ctx context.Context) error {
	pids, err := askAll[int](ctx, s.admin, "SELECT pid FROM pg_stat_activity WHERE usename IN ('app', 'scheduler_serve') ORDER BY backend_start, pid")
	if err != nil {
		return err
	}
	var some []int
	for _, pid := range pids {
		if s.number(2) == 0 {
			some = append(some, pid)
		}
	}
	return s.exec(ctx, "SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", some)
}

func askAll[T any](ctx context.Context, db querier, statement string) ([]T, error) {
	rows, err := db.Query(ctx, statement)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}
