package integration

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// soon is when something has happened at once, on a machine that is busy. The
// clocks of these tests are wrong by much more.
const soon = 3 * time.Second

// clockRegistry is testRegistry with further jobs, about whose times the tests of
// the database's clock ask.
func clockRegistry(t *testing.T) *jobs.Registry {
	t.Helper()
	nothing := func(context.Context, *jobs.Run) (jobs.Result, error) { return jobs.Result{}, nil }
	failFirst := func(_ context.Context, run *jobs.Run) (jobs.Result, error) {
		if run.Attempt == 1 {
			return jobs.Result{}, errors.New("the first attempt fails")
		}
		return jobs.Result{}, nil
	}
	registry := testRegistry()
	err := registry.Add(
		jobs.Func(jobs.Definition{Name: "each_minute", Schedule: "* * * * *"}, nothing),
		jobs.Func(jobs.Definition{Name: "each_hour", Schedule: "@hourly"}, nothing),
		jobs.Func(jobs.Definition{
			Name: "retries_later", Schedule: "@yearly", MaxAttempts: 2,
			BackoffFunc: func(int) time.Duration { return 2 * time.Second },
		}, failFirst),
		jobs.Func(jobs.Definition{Name: "retries_by_default", Schedule: "@yearly", MaxAttempts: 2}, failFirst),
	)
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

// startTwo runs two replicas; stop ends them.
func startTwo(t *testing.T, db *testdb.DB) (stop func()) {
	t.Helper()
	var stops []func()
	for _, id := range []string{"one", "other"} {
		logger := slog.New(slog.NewTextHandler(logWriter{t}, nil)).With(slog.String("replica", id))
		stops = append(stops, runScheduler(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: id, Registry: clockRegistry(t), Logger: logger}))
	}
	waitValue(t, db, waitRun, int64(2), "SELECT count(*) FROM scheduler.replicas")
	waitValue(t, db, waitRun, true, "SELECT count(*) >= 3 FROM scheduler.job_runs WHERE job_name = 'each_second' AND status = 'success'")
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// databaseClock reads it.
func databaseClock(t *testing.T, db *testdb.DB) time.Time {
	t.Helper()
	return scalar[time.Time](t, db, "SELECT clock_timestamp()")
}

// goesOn expects a new run of each_second within 2 s of a moment, of a tick after
// it.
func goesOn(t *testing.T, db *testdb.DB, since time.Time) {
	t.Helper()
	const ended = "FROM scheduler.job_runs WHERE job_name = 'each_second' AND status = 'success' AND trigger = 'schedule' AND tick > $1"
	waitValue(t, db, waitRun, true, "SELECT count(*) > 0 "+ended, since)
	if took := scalar[time.Duration](t, db, "SELECT min(finished_at) - $1::timestamptz "+ended, since); took > 2*time.Second {
		t.Errorf("each_second goes on after %v, want 2 s", took)
	}
}

// oneRiverJobATick looks for runs that were enqueued twice, and for ticks of a
// job that were.
func oneRiverJobATick(t *testing.T, db *testdb.DB) {
	t.Helper()
	if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.river_job"); n < 3 {
		t.Errorf("River has %d jobs, too few to tell anything from", n)
	}
	if n := scalar[int64](t, db, `SELECT count(*) FROM (
			SELECT FROM scheduler.river_job GROUP BY kind, (args ->> 'tick')::timestamptz HAVING count(*) > 1
			UNION ALL
			SELECT FROM scheduler.river_job GROUP BY args ->> 'run_id' HAVING count(*) > 1) d`); n != 0 {
		t.Errorf("%d ticks or runs were enqueued twice", n)
	}
}

// notContiguous counts the rows of a job's ledger that do not begin where the row
// before ended, and those that count their ticks wrong.
const notContiguous = `
SELECT count(*) FROM (
    SELECT tick, coalesce(last_missed_tick, tick) AS last, coalesce(missed_count, 1) AS count,
           lag(coalesce(last_missed_tick, tick)) OVER (ORDER BY tick) AS before
    FROM scheduler.job_runs WHERE job_name = $1 AND trigger = 'schedule'
) r
WHERE tick - before <> $2::interval OR last - tick <> (count - 1) * $2::interval`

func TestDatabasesClockDecides(t *testing.T) {
	t.Parallel()
	server := testdb.Start(t, testdb.Options{Clock: true})
	for _, offset := range []time.Duration{time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour} {
		// One after the other: they share the clock.
		t.Run(offset.String(), func(t *testing.T) {
			server.SetClock(t, offset)
			db := testdb.New(t, migrated, testdb.On(server))
			begin := databaseClock(t, db)
			if apart := time.Until(begin); (apart - offset).Abs() > time.Minute {
				t.Fatalf("the database's clock is %v ahead of the replicas', want %v", apart, offset)
			}
			stop := startTwo(t, db)

			runs := make(map[string]int64)
			for _, name := range []string{"yearly_hit", "times_out", "retries_later", "retries_by_default"} {
				runs[name] = scalar[int64](t, db, "SELECT scheduler.run_now($1)", name)
			}
			for name, run := range runs {
				want := jobs.StatusSuccess
				if name == "times_out" {
					want = jobs.StatusFailed
				}
				waitStatus(t, db, run, want)
				if late := scalar[time.Duration](t, db, "SELECT started_at - tick FROM scheduler.runs WHERE id = $1", run); late < 0 || late > soon {
					t.Errorf("%s started %v after it was asked for", name, late)
				}
			}
			const timeout = 300 * time.Millisecond
			if took := scalar[time.Duration](t, db, "SELECT duration FROM scheduler.runs WHERE id = $1", runs["times_out"]); took < timeout || took > timeout+soon {
				t.Errorf("times_out took %v, want %v", took, timeout)
			}
			for name, backoff := range map[string]time.Duration{
				"retries_later":      2 * time.Second,
				"retries_by_default": 900 * time.Millisecond, // River's: 1 s, give or take a tenth
			} {
				waited := scalar[time.Duration](t, db, `
					SELECT j.attempted_at - (j.errors[1] ->> 'at')::timestamptz
					FROM scheduler.river_job j JOIN scheduler.runs r ON r.river_job_id = j.id WHERE r.id = $1 AND r.attempt = 2`, runs[name])
				// The server has read its clock a moment before it set the time of the retry.
				if waited < backoff-50*time.Millisecond || waited > backoff+soon {
					t.Errorf("%s was tried again after %v, want %v", name, waited, backoff)
				}
			}

			waitValue(t, db, waitRun, true, `
				SELECT bool_and(next_run > clock_timestamp() - interval '100 milliseconds' AND next_run <= date_trunc(unit, clock_timestamp()) + ('1 ' || unit)::interval)
				FROM scheduler.jobs JOIN (VALUES ('each_second', 'second'), ('each_minute', 'minute'), ('each_hour', 'hour')) u (job, unit) ON job = job_name`)
			waitValue(t, db, waitRun, true, "SELECT count(*) >= 6 FROM scheduler.job_runs WHERE job_name = 'each_second' AND status = 'success'")
			stop()

			if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.job_runs WHERE NOT tick BETWEEN $1 AND clock_timestamp()", begin); n != 0 {
				t.Errorf("%d ticks are not of the database's clock", n)
			}
			if n := scalar[int64](t, db, `SELECT count(*) FROM scheduler.job_runs
					WHERE trigger = 'schedule' AND started_at NOT BETWEEN tick AND tick + $1::interval`, soon); n != 0 {
				t.Errorf("%d runs did not start at their tick", n)
			}
			// River's rows are deleted by their age.
			if n := scalar[int64](t, db, `SELECT count(*) FROM scheduler.river_job j JOIN scheduler.job_runs r ON r.river_job_id = j.id
					WHERE j.finalized_at NOT BETWEEN r.finished_at - $1::interval AND r.finished_at + $1::interval`, soon); n != 0 {
				t.Errorf("%d rows of River's are finalized at a time that is not the database's", n)
			}
			checkTicks(t, db, begin)
			oneRiverJobATick(t, db)
		})
	}
}

func TestClockSetForward(t *testing.T) {
	t.Parallel()
	server := testdb.Start(t, testdb.Options{Clock: true})
	db := testdb.New(t, migrated, testdb.On(server))
	begin := databaseClock(t, db)
	stop := startTwo(t, db)
	// So that what is next now is still next when the clock is set.
	waitValue(t, db, waitRun, int64(2), "SELECT count(*) FROM scheduler.jobs WHERE job_name IN ('each_minute', 'each_hour') AND next_run > clock_timestamp() + interval '5 seconds'")
	epoch := scalar[int64](t, db, "SELECT epoch FROM scheduler.leadership")
	next := make(map[string]time.Time)
	for _, job := range []string{"each_minute", "each_hour"} {
		next[job] = scalar[time.Time](t, db, "SELECT next_run FROM scheduler.jobs WHERE job_name = $1", job)
	}

	watched := watchLeaders(t, db)
	server.SetClock(t, 24*time.Hour)
	jumped := databaseClock(t, db)
	goesOn(t, db, jumped)
	for _, job := range []string{"each_minute", "each_hour"} {
		waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.runs WHERE job_name = $1 AND status = 'success' AND tick > $2)", job, jumped.Add(-61*time.Minute))
	}
	if most, looks := watched(); most != 1 || looks < 10 {
		t.Errorf("saw up to %d leaders at once in %d looks, want 1", most, looks)
	}
	waitValue(t, db, waitRun, int64(2), "SELECT count(*) FROM scheduler.replicas")
	t.Logf("%d terms began since", scalar[int64](t, db, "SELECT epoch - $1 FROM scheduler.leadership", epoch))
	run := scalar[int64](t, db, "SELECT scheduler.run_now('yearly_hit')")
	waitStatus(t, db, run, jobs.StatusSuccess)
	stop()

	for job, expected := range map[string]struct {
		step     time.Duration
		ticks    int64 // of a day, without the one that is run
		maxFewer int64 // ticks around the jump that may be decided one by one
	}{
		"each_second": {time.Second, 24*60*60 - 1, 30},
		"each_minute": {time.Minute, 24*60 - 1, 1},
		"each_hour":   {time.Hour, 24 - 1, 1},
	} {
		var rows, missed int64
		var first, last time.Time
		err := db.Pool(t).QueryRow(t.Context(), `
			SELECT count(*), coalesce(max(missed_count), 0), coalesce(max(tick), 'epoch'), coalesce(max(last_missed_tick), 'epoch')
			FROM scheduler.runs WHERE job_name = $1 AND status = 'missed' AND last_missed_tick - tick > interval '12 hours'`, job).
			Scan(&rows, &missed, &first, &last)
		if err != nil {
			t.Fatal(err)
		}
		if rows != 1 || missed > expected.ticks+expected.maxFewer || missed < expected.ticks-expected.maxFewer || last.Sub(first) != time.Duration(missed-1)*expected.step {
			t.Errorf("%s: %d rows stand for the day, the longest for %d ticks from %v to %v, want one of about %d", job, rows, missed, first, last, expected.ticks)
		}
		if planned, ok := next[job]; ok && !first.Equal(planned) {
			t.Errorf("%s: the first tick missed is %v, want %v, which was next", job, first, planned)
		}
		if n := scalar[int64](t, db, notContiguous, job, expected.step); n != 0 {
			t.Errorf("%s: %d rows of the ledger leave a gap or overlap", job, n)
		}
	}
	checkTicks(t, db, begin)
	oneRiverJobATick(t, db)
}

func TestClockSetBack(t *testing.T) {
	t.Parallel()
	server := testdb.Start(t, testdb.Options{Clock: true})
	db := testdb.New(t, migrated, testdb.On(server))
	begin := databaseClock(t, db)
	stop := startTwo(t, db)
	epoch := scalar[int64](t, db, "SELECT epoch FROM scheduler.leadership")
	retry := scalar[int64](t, db, "SELECT scheduler.run_now('retries_later')")
	waitStatus(t, db, retry, jobs.StatusRetrying)

	server.SetClock(t, -time.Hour)
	// It waits for two seconds, not for an hour and two seconds.
	waitStatus(t, db, retry, jobs.StatusSuccess)
	back := databaseClock(t, db)
	if !back.Before(begin.Add(-30 * time.Minute)) {
		t.Fatalf("the clock says %v, the test began at %v: it was not set back", back, begin)
	}
	for range 3 {
		run := scalar[int64](t, db, "SELECT scheduler.run_now('yearly_hit')")
		waitStatus(t, db, run, jobs.StatusSuccess)
		if took := scalar[time.Duration](t, db, "SELECT finished_at - tick FROM scheduler.runs WHERE id = $1", run); took > soon {
			t.Errorf("a run asked for in the repeated hour took %v", took)
		}
	}
	// Standbys ask for the lock again and again: no statement from before the step
	// is left, which would hold up VACUUM for an hour.
	waitValue(t, db, waitRun, int64(0), `SELECT count(*) FROM pg_stat_activity
		WHERE application_name LIKE 'scheduler%' AND backend_xmin IS NOT NULL AND query_start > clock_timestamp() + interval '10 minutes'`)
	waitValue(t, db, waitRun, int64(2), "SELECT count(*) FROM scheduler.replicas")
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.leader)")
	waitValue(t, db, waitRun, true, "SELECT clock_timestamp() > $1::timestamptz + interval '5 seconds'", back)
	// The ticks of the repeated hour were decided when it was there for the first
	// time.
	if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.job_runs WHERE trigger = 'schedule' AND created_at BETWEEN $1 AND clock_timestamp()", back); n != 0 {
		t.Errorf("%d ticks were decided in the repeated hour", n)
	}
	t.Logf("%d terms began since", scalar[int64](t, db, "SELECT epoch - $1 FROM scheduler.leadership", epoch))

	server.SetClock(t, 0)
	goesOn(t, db, databaseClock(t, db))
	waitValue(t, db, waitRun, int64(2), "SELECT count(*) FROM scheduler.replicas")
	run := scalar[int64](t, db, "SELECT scheduler.run_now('yearly_hit')")
	waitStatus(t, db, run, jobs.StatusSuccess)
	stop()
	if n := scalar[int64](t, db, notContiguous, "each_second", time.Second); n != 0 {
		t.Errorf("%d rows of the ledger leave a gap or overlap", n)
	}
	if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.job_runs WHERE status IN ('requested', 'pending', 'running', 'retrying')"); n != 0 {
		t.Errorf("%d runs are left behind", n)
	}
	checkTicks(t, db, begin)
	oneRiverJobATick(t, db)
}

// A clock that is set by a few seconds, as by an NTP client that steps.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	server := testdb.Start(t, testdb.Options{Clock: true})
	db := testdb.New(t, migrated, testdb.On(server))
	begin := databaseClock(t, db)
	stop := startTwo(t, db)
	epoch := scalar[int64](t, db, "SELECT epoch FROM scheduler.leadership")

	for step := range 10 {
		offset := rand.N(3 * time.Second)
		if step%2 == 0 {
			offset = -offset
		}
		server.SetClock(t, offset)
		pause := rand.N(1500 * time.Millisecond)
		t.Logf("step %d: the clock is set to %v for %v", step+1, offset, pause)
		stepped := databaseClock(t, db)
		waitValue(t, db, waitRun, true, "SELECT clock_timestamp() >= $1::timestamptz + $2::interval", stepped, pause)
	}
	server.SetClock(t, 0)
	settled := databaseClock(t, db).Add(3 * time.Second)
	waitValue(t, db, waitRun, true, "SELECT clock_timestamp() >= $1", settled)
	goesOn(t, db, settled)
	t.Logf("%d terms began since", scalar[int64](t, db, "SELECT epoch - $1 FROM scheduler.leadership", epoch))
	stop()
	if n := scalar[int64](t, db, notContiguous, "each_second", time.Second); n != 0 {
		t.Errorf("%d rows of the ledger leave a gap or overlap", n)
	}
	if most := scalar[time.Duration](t, db, "SELECT max(tick) - min(tick) FROM scheduler.job_runs WHERE job_name = 'each_second'"); most < 10*time.Second {
		t.Errorf("the ledger has %v of ticks, want more", most)
	}
	checkTicks(t, db, begin)
	oneRiverJobATick(t, db)
}
