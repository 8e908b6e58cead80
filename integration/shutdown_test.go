package integration

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// slowBatches takes its time over each batch, and tells when it is in one.
type slowBatches struct{ in chan int }

func (slowBatches) Definition() jobs.Definition {
	return jobs.Definition{Name: "slow_batches", Schedule: "@yearly", MaxAttempts: 1}
}

func (b slowBatches) Start(_ context.Context, run *jobs.Run) (jobs.Batches, error) {
	return &slowBatch{sweepBatches: sweepBatches{run: run}, in: b.in}, nil
}

type slowBatch struct {
	sweepBatches

	in chan int
	n  int
}

func (b *slowBatch) Next(ctx context.Context, batch *jobs.Batch) (bool, error) {
	done, err := b.sweepBatches.Next(ctx, batch)
	if err != nil {
		return false, err
	}
	b.n++
	b.in <- b.n
	_, err = batch.Tx.Exec(ctx, "SELECT pg_sleep(1)")
	return done, err
}

// A run that has batches is stopped at the end of one: nothing that was done is
// undone, and whoever goes on does not do it again.
func TestShutdownAtABatchsEnd(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	exec1(t, db, "INSERT INTO sweep_rows SELECT g FROM generate_series(1, 1000) g")
	in := make(chan int, 100)
	registry := testRegistry()
	require.NoError(t, registry.Add(slowBatches{in}))
	s, err := scheduler.New(scheduler.Config{DatabaseURL: testdb.ServeURL(db.URL), Registry: registry, ShutdownTimeout: 100 * time.Millisecond, Logger: discard()})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs)")
	run := scalar[int64](t, db, "SELECT scheduler.run_now('slow_batches')")
	for <-in != 3 { //nolint:revive // until it is in its third batch
	}
	cancel()
	require.ErrorIs(t, <-done, scheduler.ErrRunsLeft)
	if got := scalar[string](t, db, "SELECT format('%s %s %s %s', status, attempt, rows_affected, details -> 'batches') FROM scheduler.job_runs WHERE id = $1", run); got != "pending 0 60 3" {
		t.Errorf("after the third batch the run is %q", got)
	}
	if n := scalar[int64](t, db, "SELECT count(*) FROM sweep_audit"); n != 3*sweepBatch {
		t.Errorf("%d rows are changed, want those of three batches", n)
	}
}

// A replica that was let finish says so.
func TestShutdownWithNothingLeft(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	s, err := scheduler.New(scheduler.Config{DatabaseURL: testdb.ServeURL(db.URL), Registry: testRegistry(), Logger: discard()})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	cancel()
	require.NoError(t, <-done)
}

// The program's exit code tells a replica whose runs have finished from one that had
// to leave some; a second signal is told by TestCLISecondSignalEndsAtOnce.
func TestCLIExitCodeOfAReplica(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	shell := shellOf(t, db)
	replica := shell.serve(t, db, "--config=yearly.yaml", "--bootstrap-jobs=", "--shutdown-timeout=300ms")
	conn := db.Conn(t)
	_, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE user_sessions IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	shell.succeed(t, "run", "cleanup_inactive_sessions")
	waitValue(t, db, waitCLI, "running", "SELECT status FROM scheduler.runs WHERE id = 1")
	replica.signal(t, syscall.SIGTERM)
	require.Equal(t, 3, replica.code(t))
	require.Contains(t, replica.stderr.String(), "scheduler: not every run had finished within the shutdown timeout")
	waitValue(t, db, waitCLI, "pending", "SELECT status FROM scheduler.runs WHERE id = 1")
	_, err = conn.Exec(t.Context(), "COMMIT")
	require.NoError(t, err)
	replica = shell.serve(t, db, "--config=yearly.yaml", "--bootstrap-jobs=")
	waitValue(t, db, waitCLI, "success", "SELECT status FROM scheduler.runs WHERE id = 1")
	replica.signal(t, syscall.SIGTERM)
	require.Equal(t, 0, replica.code(t))
}

// locker changes a row, and in its first attempt does not come back from that.
func locker(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
	tag, err := run.Tx.Exec(ctx, "UPDATE sweep_rows SET swept_by = $1 WHERE id = 1", run.ID)
	if err == nil && run.Attempt == 1 {
		<-ctx.Done()
		err = errors.New("the first attempt is not let finish")
	}
	return jobs.Result{RowsAffected: tag.RowsAffected()}, err
}

// A frozen replica's transaction holds its locks for as long as Postgres lets it. The
// leader ends it before it gives the run to others.
func TestFrozenReplicasLocks(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	exec1(t, db, "INSERT INTO sweep_rows VALUES (1)")
	replicas := map[string]*replica{"cold-0": startReplica(t, db, "cold-0"), "cold-1": startReplica(t, db, "cold-1")}
	waitValue(t, db, waitRun, int64(2), "SELECT count(*) FROM scheduler.replicas")
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs WHERE job_name = 'locker')")
	run := scalar[int64](t, db, "SELECT scheduler.run_now('locker')")
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'idle in transaction' AND query LIKE 'UPDATE sweep_rows%')")
	frozen := replicas[scalar[string](t, db, "SELECT replica_id FROM scheduler.job_runs WHERE id = $1", run)]
	require.NoError(t, frozen.cmd.Process.Signal(syscall.SIGSTOP))
	begin := time.Now()
	// Left alone, that transaction lasts a minute.
	waitStatus(t, db, run, jobs.StatusSuccess)
	t.Logf("another replica was done after %v", time.Since(begin).Round(time.Millisecond))
	require.NoError(t, frozen.cmd.Process.Signal(syscall.SIGCONT))
	waitValue(t, db, waitRun, int64(2), "SELECT count(*) FROM scheduler.replicas")
	testdb.WaitFor(t, "the zombie says that its run is lost", waitRun, func(context.Context) (bool, any, error) {
		log := frozen.log(t)
		return strings.Contains(log, "the run is in other hands"), log, nil
	})
	frozen.stop(t)
	require.NotRegexp(t, "(?s)run_id=[0-9]+.*in other hands.*in other hands", frozen.log(t), "a zombie says so once")
	if n := scalar[int64](t, db, "SELECT count(*) FROM sweep_audit"); n != 1 {
		t.Errorf("the row was changed %d times", n)
	}
}

// River elects no leader of its own among our clients: its rescuer, which would
// discard runs of kinds that it does not know, runs nowhere.
func TestRiverElectsNobody(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	few := &jobs.Registry{}
	require.NoError(t, few.Add(jobs.Func(jobs.Definition{Name: "each_second", Schedule: "* * * * * *"}, hit)))
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "knows-all"})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs WHERE job_name = 'endless')")
	run := scalar[int64](t, db, "SELECT scheduler.run_now('endless')")
	waitStatus(t, db, run, jobs.StatusRunning)
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "knows-little", Registry: few})
	waitValue(t, db, waitRun, int64(2), "SELECT count(*) FROM scheduler.replicas")
	waitValue(t, db, waitRun, true, "SELECT count(*) >= 8 FROM hits")
	if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.river_leader"); n != 0 {
		t.Errorf("River has elected %d leaders", n)
	}
	if got := scalar[string](t, db, "SELECT status || ' ' || attempt || ' ' || replica_id FROM scheduler.runs WHERE id = $1", run); got != "running 1 knows-all" {
		t.Errorf("the run that is alive and long is %q", got)
	}
}
