package integration

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// only is the tests' registry and one job more, which no other attempt follows.
func only(t *testing.T, name string, attempts int, run func(ctx context.Context, run *jobs.Run) (jobs.Result, error)) *jobs.Registry {
	t.Helper()
	registry := testRegistry()
	require.NoError(t, registry.Add(jobs.Func(jobs.Definition{Name: name, Schedule: "@yearly", MaxAttempts: attempts}, run)))
	return registry
}

// What interrupted a run before does not make its retries later.
func TestRetryAfterInterruptions(t *testing.T) {
	t.Parallel()
	left := 3
	db := started(t, scheduler.Config{Registry: only(t, "flaky", 5, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		if left--; left >= 0 {
			_, err := run.Tx.Exec(ctx, "SELECT pg_terminate_backend(pg_backend_pid())")
			return jobs.Result{}, err
		}
		return jobs.Result{}, errors.New("its own failure")
	})})
	exec1(t, db, "SELECT scheduler.run_now('flaky')")
	waitValue(t, db, waitRun, true, "SELECT errors[array_upper(errors, 1)] ->> 'error' LIKE 'its own%' FROM scheduler.river_job WHERE kind = 'flaky'")
	if !scalar[bool](t, db, "SELECT attempt = 1 AND scheduled_at < (errors[array_upper(errors, 1)] ->> 'at')::timestamptz + interval '10 seconds' FROM scheduler.river_job WHERE kind = 'flaky'") {
		t.Error("the first attempt that failed is not tried again as a first one is")
	}
}

// A deadline of the job's own is the job's own failure, though it costs a connection.
func TestOwnDeadlineCounts(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{Registry: only(t, "impatient", 1, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		_, err := run.Tx.Exec(ctx, "SELECT pg_sleep(5)")
		return jobs.Result{}, err
	})})
	run := scalar[int64](t, db, "SELECT scheduler.run_now('impatient')")
	waitStatus(t, db, run, jobs.StatusFailed)
	if scalar[bool](t, db, "SELECT metadata ? 'scheduler:interruptions' FROM scheduler.river_job WHERE kind = 'impatient'") {
		t.Error("the job's own deadline counts as an interruption")
	}
}

// A lock on our tables, and a lock_timeout on the role, do not cost a run an attempt.
func TestRoleTimeoutsAndALockedLedger(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	exec1(t, db, "ALTER DATABASE "+db.Name+" SET lock_timeout = '300ms'")
	in, goOn := make(chan struct{}, 100), make(chan struct{})
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, Registry: only(t, "once", 1, func(context.Context, *jobs.Run) (jobs.Result, error) {
		in <- struct{}{}
		<-goOn
		return jobs.Result{}, nil
	})})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	run := scalar[int64](t, db, "SELECT scheduler.run_now('once')")
	<-in
	conn := db.Conn(t)
	_, err := conn.Exec(t.Context(), "BEGIN; SET LOCAL lock_timeout = 0; LOCK TABLE scheduler.job_runs IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	close(goOn)
	waitValue(t, db, waitRun, true, "SELECT metadata ? 'scheduler:interruptions' OR clock_timestamp() > $1::timestamptz + interval '2 seconds' FROM scheduler.river_job WHERE kind = 'once'", time.Now())
	_, err = conn.Exec(t.Context(), "COMMIT")
	require.NoError(t, err)
	waitStatus(t, db, run, jobs.StatusSuccess)
}

// A replica that may not begin a term does not stand in the way of one that may.
func TestLeaderWithoutRights(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	role := "weak_" + db.Name
	exec1(t, db, "CREATE ROLE "+role+" LOGIN PASSWORD 'weak' IN ROLE pg_monitor")
	t.Cleanup(func() {
		if err := execute(context.WithoutCancel(t.Context()), db.URL, "DROP OWNED BY "+role+"; DROP ROLE "+role); err != nil {
			t.Error(err)
		}
	})
	for _, grant := range []string{"USAGE ON SCHEMA scheduler", "ALL ON ALL TABLES IN SCHEMA scheduler", "ALL ON ALL SEQUENCES IN SCHEMA scheduler", "EXECUTE ON ALL FUNCTIONS IN SCHEMA scheduler", "ALL ON hits"} {
		exec1(t, db, "GRANT "+grant+" TO "+role)
	}
	stop := runScheduler(t, scheduler.Config{
		ReplicaID: "weak", DatabaseURL: withURL(t, db.URL, func(u *url.URL, _ url.Values) { u.User = url.UserPassword(role, "weak") }), Logger: discard(),
	})
	defer stop()
	waitValue(t, db, waitRun, "weak", "SELECT replica_id FROM scheduler.leader")
	exec1(t, db, "REVOKE UPDATE ON scheduler.leadership FROM "+role)
	defer runScheduler(t, scheduler.Config{ReplicaID: "strong", DatabaseURL: db.URL, Logger: discard()})()
	waitValue(t, db, waitRun, int64(2), "SELECT count(*) FROM scheduler.replicas")
	for range 3 {
		exec1(t, db, "SELECT pg_terminate_backend(backend_pid) FROM scheduler.leader")
		begin := scalar[time.Time](t, db, "SELECT clock_timestamp()")
		waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.leader WHERE replica_id = 'strong') AND EXISTS (SELECT FROM hits WHERE tick > $1)", begin)
	}
}

// An error that Postgres cannot store as it is, is stored as it can be.
func TestErrorWithNUL(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{Registry: only(t, "garbled", 1, func(context.Context, *jobs.Run) (jobs.Result, error) {
		return jobs.Result{}, errors.New("tool said: \x00\xff, twice")
	})})
	run := scalar[int64](t, db, "SELECT scheduler.run_now('garbled')")
	waitStatus(t, db, run, jobs.StatusFailed)
	require.Equal(t, "tool said: \uFFFD, twice", scalar[string](t, db, "SELECT error FROM scheduler.runs WHERE id = $1", run))
}

// A transaction that a job forgets to end is ended for it.
func TestForgottenTransactionBesideTheRun(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	s, err := scheduler.New(scheduler.Config{DatabaseURL: testdb.ServeURL(db.URL), Logger: discard(), Registry: only(t, "leaky", 1, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		_, err := run.Beginner.Begin(ctx)
		return jobs.Result{}, err
	})})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	waitStatus(t, db, scalar[int64](t, db, "SELECT scheduler.run_now('leaky')"), jobs.StatusSuccess)
	cancel()
	require.NoError(t, <-done)
}

// A replica that leaves keeps its presence though it could not connect anew, and so
// keeps its run.
func TestLeavingWithoutANewConnection(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	goOn := make(chan struct{})
	registry := only(t, "patient", 1, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		<-goOn
		return hit(ctx, run)
	})
	s, err := scheduler.New(scheduler.Config{DatabaseURL: testdb.ServeURL(db.URL), ReplicaID: "leaver", Registry: registry, ShutdownTimeout: time.Minute, Logger: discard()})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	run := scalar[int64](t, db, "SELECT scheduler.run_now('patient')")
	waitStatus(t, db, run, jobs.StatusRunning)
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "stayer", Logger: discard()})
	waitValue(t, db, waitRun, int64(2), "SELECT count(*) FROM scheduler.replicas")
	// It has all the connections that it needs to start.
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'scheduler worker stayer' AND query LIKE 'LISTEN%')")
	another := withURL(t, db.URL, func(u *url.URL, _ url.Values) { u.Path = "/postgres" })
	require.NoError(t, execute(t.Context(), another, "ALTER DATABASE "+db.Name+" ALLOW_CONNECTIONS false"))
	cancel()
	waitValue(t, db, waitRun, "stayer", "SELECT replica_id FROM scheduler.leader")
	begin := time.Now()
	waitValue(t, db, waitRun, true, "SELECT clock_timestamp() > $1::timestamptz + interval '4 seconds'", begin)
	if got := scalar[string](t, db, "SELECT status || ' ' || replica_id FROM scheduler.runs WHERE id = $1", run); got != "running leaver" {
		t.Errorf("4 s after the replica began to leave its run is %q", got)
	}
	close(goOn)
	require.NoError(t, <-done)
	require.NoError(t, execute(t.Context(), another, "ALTER DATABASE "+db.Name+" ALLOW_CONNECTIONS true"))
	if got := scalar[string](t, db, "SELECT status || ' ' || replica_id FROM scheduler.runs WHERE id = $1", run); got != "success leaver" {
		t.Errorf("the run is %q", got)
	}
}

// When the lock session comes back, what else the replica has open is opened anew: it
// may lead to a server that is not the primary any more.
func TestListenerFollowsTheLockSession(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "follower", Logger: discard()})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	const listens = "SELECT coalesce(min(pid), 0) FROM pg_stat_activity WHERE application_name = 'scheduler worker follower' AND query ILIKE 'LISTEN%'"
	waitValue(t, db, waitRun, true, "SELECT ("+listens+") > 0")
	before := scalar[int32](t, db, listens)
	exec1(t, db, "SELECT pg_terminate_backend(backend_pid) FROM scheduler.replicas")
	waitValue(t, db, waitRun, true, "SELECT ("+listens+") NOT IN (0, $1)", before)
}

// A run whose end was committed on a primary that failed, and did not reach the standby,
// is running again after the failover. River must not complete it there, whose report
// asks only for the job's id. Its replica lives, and has noticed only that its lock
// session was lost; it gives back what it does not work on.
func TestEndOfARunLostInAFailover(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "survivor", Logger: discard()})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
	// The first end is undone by the commit that stores it.
	exec1(t, db, "CREATE SEQUENCE ends")
	exec1(t, db, `CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
		UPDATE scheduler.river_job SET state = 'running', finalized_at = NULL, attempted_at = clock_timestamp() - interval '1 minute'
		WHERE id = NEW.id AND (SELECT nextval('ends') = 1);
		RETURN NULL; END$$`)
	exec1(t, db, `CREATE CONSTRAINT TRIGGER lose AFTER UPDATE ON scheduler.river_job DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW WHEN (NEW.kind = 'yearly_hit' AND NEW.state = 'completed') EXECUTE FUNCTION lose()`)
	run := scalar[int64](t, db, "SELECT scheduler.run_now('yearly_hit')")
	waitValue(t, db, waitRun, int64(1), "SELECT count(*) FROM hits WHERE run_id = $1", run)
	// By then River would have reported it.
	waitValue(t, db, waitRun, true, "SELECT count(*) > 2 FROM hits WHERE tick > $1", scalar[time.Time](t, db, "SELECT clock_timestamp()"))
	require.Equal(t, jobs.StatusRunning, scalar[jobs.Status](t, db, "SELECT status FROM scheduler.job_runs WHERE id = $1", run))
	exec1(t, db, "SELECT pg_terminate_backend(backend_pid) FROM scheduler.replicas")
	waitStatus(t, db, run, jobs.StatusSuccess)
	require.Equal(t, int64(2), scalar[int64](t, db, "SELECT count(*) FROM hits WHERE run_id = $1", run))
}
