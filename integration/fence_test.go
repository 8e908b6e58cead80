package integration

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// steal gives a run's River row to another replica, as the leader does with the
// runs of one that it takes for dead, and that other one then works it.
const steal = `
UPDATE scheduler.river_job SET attempt = attempt + 1, attempted_by = array_append(attempted_by, 'thief')
WHERE id = (SELECT river_job_id FROM scheduler.job_runs WHERE id = $1)`

func stealRun(ctx context.Context, run *jobs.Run) error {
	return pgx.BeginFunc(ctx, run.Beginner, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, steal, run.ID)
		return err
	})
}

// zombies are jobs whose attempt is lost while they work, by how they end.
func zombies(t *testing.T) *jobs.Registry {
	t.Helper()
	zombie := func(name string, end func() error) jobs.Job {
		return jobs.Func(jobs.Definition{Name: name, Schedule: "@yearly"}, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			result, err := hit(ctx, run)
			if err == nil {
				err = stealRun(ctx, run)
			}
			if err != nil {
				return jobs.Result{}, err
			}
			return result, end()
		})
	}
	registry := &jobs.Registry{}
	err := registry.Add(
		zombie("ends_well", func() error { return nil }),
		zombie("ends_badly", func() error { return errors.New("too late to fail") }),
		zombie("ends_for_good", func() error { return jobs.Permanent(errors.New("too late to give up")) }),
		zombie("panics", func() error { panic("too late to panic") }),
		stolenBatches{},
	)
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

// stolenBatches loses its attempt after its second batch.
type stolenBatches struct{}

func (stolenBatches) Definition() jobs.Definition {
	return jobs.Definition{Name: "batches", Schedule: "@yearly"}
}

func (stolenBatches) Start(_ context.Context, run *jobs.Run) (jobs.Batches, error) {
	return &stolenBatch{sweepBatches: sweepBatches{run: run}}, nil
}

type stolenBatch struct {
	sweepBatches
	prepared int
}

func (b *stolenBatch) Prepare(ctx context.Context) error {
	b.prepared++
	if b.prepared == 3 {
		return stealRun(ctx, b.run)
	}
	return nil
}

// present makes it look as if a replica of that name were alive.
func present(t *testing.T, db *testdb.DB, replica string) {
	t.Helper()
	conn := db.Conn(t)
	for _, statement := range []string{"SET application_name = 'scheduler/" + replica + "'", "SELECT scheduler.join_fleet(false)"} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLostAttemptsChangeNothing(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	present(t, db, "thief")
	exec1(t, db, "INSERT INTO sweep_rows SELECT g FROM generate_series(1, 1000) g")
	log := &lines{}
	registry := zombies(t)
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, Registry: registry, Logger: slog.New(slog.NewTextHandler(log, nil))})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs)")
	for n, job := range registry.List() {
		name := job.Definition().Name
		run := scalar[int64](t, db, "SELECT scheduler.run_now($1)", name)
		testdb.WaitFor(t, name+" notices that its attempt is lost", waitRun, func(context.Context) (bool, any, error) {
			told := strings.Count(log.String(), "in other hands")
			return told == n+1, told, nil
		})
		if got := scalar[string](t, db, `SELECT state || ' ' || attempt || ' ' || attempted_by[2] || ' ' || coalesce(array_length(errors, 1), 0)
			FROM scheduler.river_job WHERE id = (SELECT river_job_id FROM scheduler.job_runs WHERE id = $1)`, run); got != "running 2 thief 0" {
			t.Errorf("%s: after the lost attempt the successor's row is %q, want it untouched", name, got)
		}
		if got := scalar[string](t, db, "SELECT status FROM scheduler.runs WHERE id = $1", run); got != "running" {
			t.Errorf("%s: the ledger says %q", name, got)
		}
	}
	if n := scalar[int64](t, db, "SELECT count(*) FROM hits"); n != 0 {
		t.Errorf("lost attempts left %d effects", n)
	}
	if n := scalar[int64](t, db, "SELECT count(*) FROM sweep_audit"); n != 2*sweepBatch {
		t.Errorf("the batches changed %d rows, want the %d of the two before the attempt was lost", n, 2*sweepBatch)
	}
}

func TestLostPresenceGivesRunsBack(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	log := &lines{}
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, Logger: slog.New(slog.NewTextHandler(log, nil))})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs)")
	run := scalar[int64](t, db, "SELECT scheduler.run_now('endless')")
	waitStatus(t, db, run, jobs.StatusRunning)
	epoch := scalar[int64](t, db, "SELECT epoch FROM scheduler.leader")
	exec1(t, db, "SELECT pg_terminate_backend(backend_pid) FROM scheduler.replicas")
	testdb.WaitFor(t, "the run is given back", waitRun, func(context.Context) (bool, any, error) {
		text := log.String()
		return strings.Contains(text, "given back"), text, nil
	})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.leader WHERE epoch > $1)", epoch)
	waitStatus(t, db, run, jobs.StatusRunning)
	// The interruption is not the job's fault.
	if got := scalar[int](t, db, "SELECT attempt FROM scheduler.runs WHERE id = $1", run); got != 1 {
		t.Errorf("the run is at attempt %d, want 1", got)
	}
}

func TestShutdownGivesRunsBack(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	stop := runScheduler(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "leaver", ShutdownTimeout: 10 * time.Second})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs)")
	run := scalar[int64](t, db, "SELECT scheduler.run_now('endless')")
	waitStatus(t, db, run, jobs.StatusRunning)
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "stayer"})
	waitValue(t, db, waitRun, int64(2), "SELECT count(*) FROM scheduler.replicas")
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	// Leadership goes first, while the run still goes on.
	waitValue(t, db, waitRun, "stayer", "SELECT replica_id FROM scheduler.leader")
	if got := scalar[string](t, db, "SELECT status || ' ' || replica_id FROM scheduler.runs WHERE id = $1", run); got != "running leaver" {
		t.Errorf("right after leadership was given away the run is %q", got)
	}
	<-stopped
	waitValue(t, db, waitRun, "running stayer", "SELECT status || ' ' || replica_id FROM scheduler.runs WHERE id = $1", run)
	if got := scalar[int](t, db, "SELECT attempt FROM scheduler.runs WHERE id = $1", run); got != 1 {
		t.Errorf("the run is at attempt %d, want 1", got)
	}
}

func TestOutageIsOneRowOfMissedTicks(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	stop := runScheduler(t, scheduler.Config{DatabaseURL: db.URL})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	begin := scalar[time.Time](t, db, "SELECT min(tick) FROM scheduler.job_runs")
	stop()
	left := scalar[time.Time](t, db, "SELECT max(tick) FROM scheduler.job_runs")
	waitValue(t, db, waitRun, true, "SELECT clock_timestamp() > $1::timestamptz + interval '5 seconds'", left)
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL})
	waitValue(t, db, waitRun, true, "SELECT count(*) >= 2 FROM hits WHERE tick > $1", left)
	if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.runs WHERE status = 'missed'"); n != 1 {
		t.Errorf("the outage left %d rows of missed ticks, want 1", n)
	}
	if !scalar[bool](t, db, `SELECT tick = $1::timestamptz + interval '1 second' AND missed_count >= 3
		AND missed_count = 1 + extract(epoch FROM last_missed_tick - tick)::bigint
		AND EXISTS (SELECT FROM hits WHERE hits.tick = last_missed_tick + interval '1 second')
		FROM scheduler.runs WHERE status = 'missed'`, left) {
		t.Error("the row of missed ticks does not stand for all of the outage but its newest tick, which was run")
	}
	if n := scalar[int64](t, db, ticksUndecided, begin); n != 0 {
		t.Errorf("%d seconds are not decided exactly once", n)
	}
}
