package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

const restTime = 20 * time.Second

// rest measures what a replica costs that has nothing to do.
func rest(ctx context.Context, db *database) error {
	f, err := newFleet(ctx, db, 3)
	if err != nil {
		return err
	}
	defer f.end()
	if _, err := db.pool.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements"); err != nil {
		return err
	}
	// Let the burst of the start pass, and idle connections close.
	if err := pause(ctx, 35*time.Second); err != nil {
		return err
	}
	const count = `SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements
		WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND query NOT LIKE '%pg_stat_statements%'`
	var before, after, connections int64
	if err := db.pool.QueryRow(ctx, count).Scan(&before); err != nil {
		return err
	}
	begin := time.Now()
	if err := pause(ctx, restTime); err != nil {
		return err
	}
	if err := db.pool.QueryRow(ctx, count).Scan(&after); err != nil {
		return err
	}
	elapsed := time.Since(begin).Seconds()
	if err := db.pool.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'scheduler%'`).Scan(&connections); err != nil {
		return err
	}
	fmt.Printf("\nat rest: 3 replicas, %v\n", restTime)
	fmt.Printf("  %.2f statements/s and %.1f connections a replica, on average\n", float64(after-before)/elapsed/3, float64(connections)/3)
	for id, cmd := range f.replicas {
		fmt.Printf("  %s: resident memory %s\n", id, memory(cmd.Process.Pid, "VmRSS"))
	}
	return nil
}

// memory reads a field of a process's status, such as VmRSS, on Linux.
func memory(pid int, field string) string {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
