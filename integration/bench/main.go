// Command bench measures what the scheduler costs and how fast it takes over, on
// a server of its own in a container. It prints figures and asserts nothing.
//
//	go run ./integration/bench            everything
//	go run ./integration/bench failover   or: rest, noop
//	go run ./integration/bench cleanup    not part of everything: it takes a while
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

const replicaEnv = "SCHEDULER_BENCH_REPLICA_URL"

const replicaIDEnv = "SCHEDULER_BENCH_REPLICA_ID"

func main() { os.Exit(mainCode()) }

func mainCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch url := os.Getenv(replicaEnv); {
	case url != "" && os.Getenv(rivalEnv) != "":
		err = runRival(ctx, url)
	case url != "" && os.Getenv(cleanerEnv) != "":
		err = runCleaner(ctx, url)
	case url != "":
		err = runReplica(ctx, url)
	case len(os.Args) > 1 && os.Args[1] == "cleanup":
		err = runCleanup(ctx, os.Args[2:])
	default:
		err = run(ctx, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, names []string) (err error) {
	server, err := testdb.Run(ctx, testdb.Options{Args: []string{
		"-c", "shared_preload_libraries=pg_stat_statements", "-c", "shared_buffers=256MB",
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close(context.WithoutCancel(ctx))) }()

	fmt.Printf("%s/%s, %d cores, %s\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	for _, part := range []struct {
		name    string
		measure func(ctx context.Context, db *database) error
	}{
		{"failover", failover}, {"rest", rest}, {"noop", noop},
	} {
		if len(names) > 0 && !slices.Contains(names, part.name) {
			continue
		}
		db, err := newDatabase(ctx, server, "bench_"+part.name)
		if err != nil {
			return err
		}
		err = part.measure(ctx, db)
		db.pool.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// database is a migrated database with a pool on it.
type database struct {
	url  string
	pool *pgxpool.Pool
}

func newDatabase(ctx context.Context, server *testdb.Server, name string) (*database, error) {
	conn, err := pgx.Connect(ctx, server.URL("postgres"))
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+name)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return nil, err
	}
	url := server.DirectURL(ctx, name)
	if _, err := scheduler.MigrateUp(ctx, scheduler.MigrateConfig{DatabaseURL: url, Logger: quiet()}); err != nil {
		return nil, err
	}
	return openDatabase(ctx, url)
}

func openDatabase(ctx context.Context, url string) (*database, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	return &database{url: url, pool: pool}, nil
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// runReplica is the life of a replica process.
func runReplica(ctx context.Context, url string) error {
	s, err := scheduler.New(scheduler.Config{
		DatabaseURL: url, ReplicaID: os.Getenv(replicaIDEnv), Registry: registry(), BootstrapJobs: []string{}, Logger: quiet(),
	})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

func registry() *jobs.Registry {
	r := &jobs.Registry{}
	err := r.Add(jobs.Func(jobs.Definition{Name: "noop", Schedule: "@yearly", Overlap: jobs.OverlapAllow},
		func(context.Context, *jobs.Run) (jobs.Result, error) { return jobs.Result{}, nil }))
	if err != nil {
		panic(err)
	}
	return r
}

// processes are a number of replica processes.
type processes struct {
	db       *database
	env      []string
	replicas map[string]*exec.Cmd
	started  int
}

func newProcesses(db *database, env ...string) *processes {
	return &processes{db: db, env: env, replicas: make(map[string]*exec.Cmd)}
}

func (f *processes) start() error {
	f.started++
	id := fmt.Sprintf("bench-%d-%d", os.Getpid(), f.started)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), replicaEnv+"="+f.db.url, replicaIDEnv+"="+id)
	cmd.Env = append(cmd.Env, f.env...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	f.replicas[id] = cmd
	return nil
}

func (f *processes) kill(id string) {
	cmd := f.replicas[id]
	delete(f.replicas, id)
	_ = cmd.Process.Kill() // it may have ended by itself
	_ = cmd.Wait()         // killed
}

func (f *processes) end() {
	for id := range f.replicas {
		f.kill(id)
	}
}

// newFleet starts n replicas and waits until all are there and one leads.
func newFleet(ctx context.Context, db *database, n int) (*processes, error) {
	f := newProcesses(db)
	for range n {
		if err := f.start(); err != nil {
			f.end()
			return nil, err
		}
	}
	if err := f.wait(ctx, n); err != nil {
		f.end()
		return nil, err
	}
	return f, nil
}

func (f *processes) wait(ctx context.Context, n int) error { return waitReady(ctx, f.db, n) }

// waitReady waits until n replicas are there, one leads, and nothing is under way.
func waitReady(ctx context.Context, db *database, n int) error {
	return until(ctx, time.Minute, func() (bool, error) {
		var ready bool
		err := db.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM scheduler.replicas) = $1 AND EXISTS (SELECT FROM scheduler.leader)
			AND EXISTS (SELECT FROM scheduler.jobs WHERE next_run IS NOT NULL)
			AND NOT EXISTS (SELECT FROM scheduler.job_runs WHERE job_name = 'noop' AND finished_at IS NULL)`, n).Scan(&ready)
		return ready, err
	})
}

// until asks again and again until ok, for at most limit.
func until(ctx context.Context, limit time.Duration, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		done, err := ok()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// quantile of sorted values.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
