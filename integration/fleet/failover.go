package fleet

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// SetSynchronous makes every commit on the primary wait for the standby, or no
// longer. It returns when the standby is synchronous, or is not. After Failover the
// new primary is asynchronous.
func (f *Fleet) SetSynchronous(ctx context.Context, on bool) error {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	primary, standby := f.Primary(), f.Standby()
	value, state := "", "async"
	if on {
		if standby == nil {
			return errors.New("fleet: make the standby synchronous: there is none; call Rebuild first")
		}
		value, state = standby.name, "sync"
	}
	err := primary.exec(ctx, maintenance, "ALTER SYSTEM SET synchronous_standby_names = '"+value+"'")
	if err == nil {
		err = primary.exec(ctx, maintenance, "SELECT pg_reload_conf()")
	}
	if err == nil && standby != nil {
		err = primary.process().until(ctx, "calls the standby "+state, func(ctx context.Context) error {
			return primary.expect(ctx, "SELECT coalesce(string_agg(sync_state, ' '), 'none') FROM pg_stat_replication", state)
		})
	}
	if err != nil {
		return fmt.Errorf("fleet: set synchronous replication: %w", err)
	}
	return nil
}

// expect asks the server for one text.
func (s *Server) expect(ctx context.Context, query, want string) error {
	return s.connect(ctx, maintenance, func(conn *pgx.Conn) error {
		var got string
		if err := conn.QueryRow(ctx, query).Scan(&got); err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	})
}

// Failover promotes the standby, and URL leads there from then on. Without keep the
// old primary is crashed first. With keep it goes on, and every other replica is cut
// from it; keep itself reaches both. There is no standby until [Fleet.Rebuild].
func (f *Fleet) Failover(ctx context.Context, keep *Replica) error {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	defer f.engine.Close()
	if err := f.failover(ctx, keep); err != nil {
		return fmt.Errorf("fleet: fail over: %w", err)
	}
	return nil
}

func (f *Fleet) failover(ctx context.Context, keep *Replica) error {
	primary, standby := f.Primary(), f.Standby()
	if standby == nil {
		return errors.New("there is no standby: call Rebuild first, or make the fleet with one")
	}
	if keep == nil {
		if err := primary.process().end(ctx, syscall.SIGKILL); err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.former, f.kept = primary, keep
	f.mu.Unlock()
	if err := f.applyAllRules(ctx); err != nil {
		return err
	}
	if err := standby.exec(ctx, maintenance, "SELECT pg_promote()"); err != nil {
		return err
	}
	err := standby.process().until(ctx, "is a primary", func(ctx context.Context) error {
		return standby.expect(ctx, "SELECT pg_is_in_recovery()::text", "false")
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.primary, f.standby = standby, nil
	return nil
}

// lostTo is the server that a replica must not reach; nil if it may reach all.
func (f *Fleet) lostTo(r *Replica) *Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kept == nil || f.kept == r {
		return nil
	}
	return f.former
}

// applyAllRules brings the rules of all replicas up to date.
func (f *Fleet) applyAllRules(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, r := range f.Replicas() {
		group.Go(func() error { return r.applyRules(ctx) })
	}
	return group.Wait()
}

// Rebuild ends the old primary if it still runs, copies the new one to it, starts it
// as a standby, and lets every replica reach it. Without a failover before it does
// nothing.
func (f *Fleet) Rebuild(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	defer f.engine.Close()
	f.mu.Lock()
	former, primary := f.former, f.primary
	f.mu.Unlock()
	if former == nil {
		return nil
	}
	if err := former.rebuild(ctx, primary); err != nil {
		return fmt.Errorf("fleet: rebuild server %s: %w", former.name, err)
	}
	f.mu.Lock()
	f.standby, f.former, f.kept = former, nil, nil
	f.mu.Unlock()
	if err := f.applyAllRules(ctx); err != nil {
		return fmt.Errorf("fleet: let the replicas reach server %s: %w", former.name, err)
	}
	return nil
}

func (s *Server) rebuild(ctx context.Context, primary *Server) error {
	if err := s.process().end(ctx, syscall.SIGKILL); err != nil {
		return err
	}
	text, err := s.process().log(ctx)
	if err != nil {
		return err
	}
	if err := s.fleet.remove(ctx, s.process()); err != nil {
		return err
	}
	s.fleet.mu.Lock()
	s.oldLog += text
	s.fleet.mu.Unlock()
	if _, err := s.host.exec(ctx, `find "$1" -mindepth 1 -delete`, diskFolder); err != nil {
		return err
	}
	s.filled = false
	return s.runStandby(ctx, primary)
}
