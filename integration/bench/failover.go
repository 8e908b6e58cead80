package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const kills = 20

// failover measures the time from SIGKILL of the leader until the next leader has
// enqueued a run that was asked for in that moment.
func failover(ctx context.Context, db *database) error {
	f, err := newFleet(ctx, db, 3)
	if err != nil {
		return err
	}
	defer f.end()
	var took, elected []time.Duration
	for range kills {
		var leader string
		if err := db.pool.QueryRow(ctx, "SELECT replica_id FROM scheduler.leader").Scan(&leader); err != nil {
			return err
		}
		// The server runs on this machine: its clock is ours.
		killed := time.Now()
		f.kill(leader)
		var run int64
		if err := db.pool.QueryRow(ctx, "SELECT scheduler.run_now('noop')").Scan(&run); err != nil {
			return err
		}
		var enqueued *time.Time
		err := until(ctx, 30*time.Second, func() (bool, error) {
			err := db.pool.QueryRow(ctx, "SELECT enqueued_at FROM scheduler.job_runs WHERE id = $1", run).Scan(&enqueued)
			return enqueued != nil, err
		})
		if err != nil {
			return err
		}
		took = append(took, enqueued.Sub(killed))
		var acquired time.Time
		if err := db.pool.QueryRow(ctx, "SELECT acquired_at FROM scheduler.leadership").Scan(&acquired); err != nil {
			return err
		}
		elected = append(elected, acquired.Sub(killed))
		if err := f.start(); err != nil {
			return err
		}
		if err := f.wait(ctx, 3); err != nil {
			return err
		}
		if err := until(ctx, 30*time.Second, func() (bool, error) {
			var ended bool
			err := db.pool.QueryRow(ctx, "SELECT finished_at IS NOT NULL FROM scheduler.job_runs WHERE id = $1", run).Scan(&ended)
			return ended, err
		}); err != nil {
			return err
		}
	}
	fmt.Printf("\nfailover: SIGKILL of the leader, 3 replicas, %d kills\n", kills)
	report("to the next leader's election", elected)
	report("to the next leader's enqueue", took)
	return nil
}

func report(what string, times []time.Duration) {
	slices.Sort(times)
	fmt.Printf("  %s: p50 %v   p90 %v   max %v\n", what, quantile(times, 0.5).Round(100*time.Microsecond),
		quantile(times, 0.9).Round(100*time.Microsecond), times[len(times)-1].Round(100*time.Microsecond))
}
