package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/fleet"
)

const (
	kills    = 200
	freezes  = 10
	stops    = 50
	cuts     = 5
	replicas = 3
)

// failover measures, for each way in which a leader can go, the time until the next
// one has enqueued a run that was asked for in that moment; and the same of River's
// own periodic jobs, in the same run.
func failover(ctx context.Context, db *database) error {
	rivals, err := rivalFailover(ctx, db)
	if err != nil {
		return err
	}
	f, err := newFleet(ctx, db, replicas)
	if err != nil {
		return err
	}
	defer f.end()
	fmt.Printf("\nfailover: %d replicas; from the fault to the next leader's enqueue of a run that is asked for at once\n", replicas)
	const ms = time.Millisecond
	for _, way := range []struct {
		name   string
		rounds int
		signal syscall.Signal
		asks   []time.Duration
	}{
		{"killed", kills, syscall.SIGKILL, []time.Duration{0}},
		{"frozen", freezes, syscall.SIGSTOP, []time.Duration{0}},
		{"asked to leave", stops, syscall.SIGTERM, []time.Duration{2 * ms, 6 * ms, 10 * ms, 20 * ms, 50 * ms}},
	} {
		took, err := f.takeOvers(ctx, way.rounds, way.signal, way.asks)
		if err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
		report("scheduler, leader "+way.name, took)
		if rival := rivals[way.signal]; len(rival) > 0 {
			report("River, leader "+way.name, rival)
			fmt.Printf("  %-44s %.0f times as long (p50)\n", "River to scheduler:", quantile(rival, half).Seconds()/quantile(took, half).Seconds())
		}
	}
	took, err := cutOff(ctx)
	if err != nil {
		return fmt.Errorf("cut off: %w", err)
	}
	report("scheduler, leader cut off (packets dropped)", took)
	return nil
}

// takeOvers lets the leader go, again and again, and each time starts another
// replica.
func (f *processes) takeOvers(ctx context.Context, rounds int, signal syscall.Signal, asks []time.Duration) ([]time.Duration, error) {
	var took []time.Duration
	for range rounds {
		leader, epoch, err := f.db.leader(ctx)
		if err != nil {
			return nil, err
		}
		// The server runs on this machine: its clock is ours.
		struck := time.Now()
		if err := f.replicas[leader].Process.Signal(signal); err != nil {
			return nil, err
		}
		d, err := f.db.takeOver(ctx, struck, epoch, asks...)
		if err != nil {
			return nil, err
		}
		took = append(took, d)
		f.kill(leader)
		if err := f.start(); err != nil {
			return nil, err
		}
		if err := f.wait(ctx, replicas); err != nil {
			return nil, err
		}
	}
	slices.Sort(took)
	return took, nil
}

// takeOver asks for runs, at some times after the fault, and waits until the leader of a
// later term has enqueued one of them. A leader that was asked to leave may still
// enqueue the first.
func (db *database) takeOver(ctx context.Context, struck time.Time, epoch int64, asks ...time.Duration) (took time.Duration, err error) {
	var first int64
	err = until(ctx, time.Minute, func() (bool, error) {
		for len(asks) > 0 && time.Since(struck) >= asks[0] {
			asks = asks[1:]
			var run int64
			if err := db.pool.QueryRow(ctx, "SELECT scheduler.run_now('noop')").Scan(&run); err != nil {
				return false, err
			}
			first = cmp.Or(first, run)
		}
		var enqueued *time.Time
		err := db.pool.QueryRow(ctx, "SELECT min(enqueued_at) FROM scheduler.job_runs WHERE id >= $1 AND leader_epoch > $2", first, epoch).Scan(&enqueued)
		if err != nil || enqueued == nil {
			return false, err
		}
		took = enqueued.Sub(struck)
		return true, nil
	})
	return took, err
}

// leader is who leads now, and in which term.
func (db *database) leader(ctx context.Context) (id string, epoch int64, err error) {
	err = db.pool.QueryRow(ctx, "SELECT replica_id, epoch FROM scheduler.leader").Scan(&id, &epoch)
	return id, epoch, err
}

// cutOff measures the same where every packet between the leader and the server is
// dropped.
func cutOff(ctx context.Context) (took []time.Duration, err error) {
	f, err := fleet.New(ctx, fleet.Options{NoStandby: true})
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := f.Close(context.WithoutCancel(ctx)); err == nil {
			err = closeErr
		}
	}()
	if _, err := scheduler.MigrateUp(ctx, scheduler.MigrateConfig{DatabaseURL: f.AppURL(), Logger: quiet()}); err != nil {
		return nil, err
	}
	if err := f.MakeRoles(ctx); err != nil {
		return nil, err
	}
	db, err := openDatabase(ctx, f.URL())
	if err != nil {
		return nil, err
	}
	defer db.pool.Close()
	if _, err := db.pool.Exec(ctx, "SET ROLE app; "+fleet.Tables); err != nil {
		return nil, err
	}
	members := make(map[string]*fleet.Replica)
	for i := range replicas {
		id := fmt.Sprintf("cut-%d", i)
		if members[id], err = f.StartReplica(ctx, fleet.ReplicaOptions{ID: id}); err != nil {
			return nil, err
		}
	}
	for range cuts {
		if err := waitReady(ctx, db, replicas); err != nil {
			return nil, err
		}
		leader, epoch, err := db.leader(ctx)
		if err != nil {
			return nil, err
		}
		struck := time.Now()
		if err := members[leader].Cut(ctx, fleet.Blackhole); err != nil {
			return nil, err
		}
		d, err := db.takeOver(ctx, struck, epoch, 0)
		if err != nil {
			return nil, err
		}
		took = append(took, d)
		if err := members[leader].Heal(ctx); err != nil {
			return nil, err
		}
	}
	slices.Sort(took)
	return took, nil
}

func report(what string, sorted []time.Duration) {
	fmt.Printf("  %-44s p50 %9v   p99 %9v   max %9v   (%d times)\n", what+":", quantile(sorted, half).Round(100*time.Microsecond),
		quantile(sorted, tail).Round(100*time.Microsecond), sorted[len(sorted)-1].Round(100*time.Microsecond), len(sorted))
}

const (
	half = 0.5
	tail = 0.99
)
