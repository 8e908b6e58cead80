package schedulertest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/schedulertest"
)

// test is the test that an example shows: in a module it is a function of its own, such as
// TestExpireInvitations(t *testing.T). TestExamples runs it.
var test func(t *testing.T, pool *pgxpool.Pool)

// expireInvitations is the job under test.
var expireInvitations = jobs.Func(jobs.Definition{
	Name:     "expire_invitations",
	Schedule: "0 4 * * *",
	TimeZone: "Europe/Berlin",
	Parameters: []jobs.Parameter{
		{Name: "grace_days", Type: jobs.TypeInteger, Default: 0, Minimum: jobs.Bound(0), Maximum: jobs.Bound(365)},
	},
}, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
	tag, err := run.Tx.Exec(ctx, "DELETE FROM invitations WHERE expires_at < $1",
		run.Now.AddDate(0, 0, -int(run.Parameters.Int("grace_days"))))
	return jobs.Result{RowsAffected: tag.RowsAffected()}, err
})

// invitations makes what the job is to find: two that have expired, and one that has not.
func invitations(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `
		CREATE TABLE IF NOT EXISTS invitations (email text, expires_at timestamptz NOT NULL);
		INSERT INTO invitations VALUES ('a@example.com', now() - interval '1 hour'),
			('b@example.com', now() - interval '9 days'), ('c@example.com', now() + interval '1 hour')`)
	return err
}

// One run, with parameters of the test's choosing; all of it is rolled back.
func ExampleRunOnce() {
	test = func(t *testing.T, pool *pgxpool.Pool) {
		t.Helper()
		result := schedulertest.RunOnce(t, pool, expireInvitations, schedulertest.Options{
			Parameters: map[string]any{"grace_days": 7},
			SetUpFunc:  invitations,
			CheckFunc: func(ctx context.Context, tx pgx.Tx, _ *schedulertest.Result) error {
				var left int
				if err := tx.QueryRow(ctx, "SELECT count(*) FROM invitations").Scan(&left); err != nil {
					return err
				}
				if left != 2 {
					return fmt.Errorf("%d invitations are left", left)
				}
				return nil
			},
		})
		if result.Err != nil || result.RowsAffected != 1 {
			t.Errorf("%d rows: %v", result.RowsAffected, result.Err)
		}
	}
	// Output:
}

// What a job must not do is in the result, or is its error.
func ExampleResult() {
	test = func(t *testing.T, pool *pgxpool.Pool) {
		t.Helper()
		impatient := jobs.Func(jobs.Definition{Name: "impatient", Schedule: "@daily"}, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			return jobs.Result{}, run.Tx.Commit(ctx)
		})
		result := schedulertest.RunOnce(t, pool, impatient, schedulertest.Options{})
		if !errors.Is(result.Err, jobs.ErrTxOfRun) || len(result.Misuse) != 1 {
			t.Error(result.Err, result.Misuse)
		}

		clumsy := jobs.Func(jobs.Definition{Name: "clumsy", Schedule: "@daily"}, func(context.Context, *jobs.Run) (jobs.Result, error) {
			panic("oh no")
		})
		result = schedulertest.RunOnce(t, pool, clumsy, schedulertest.Options{})
		var panicked *schedulertest.PanicError
		if !errors.As(result.Err, &panicked) || panicked.Value != "oh no" {
			t.Error(result.Err)
		}

		// A test has one connection, on which a younger transaction ends before an older one.
		crossed := jobs.Func(jobs.Definition{Name: "crossed", Schedule: "@daily"}, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			older, err := run.Beginner.Begin(ctx)
			if err != nil {
				return jobs.Result{}, err
			}
			younger, err := run.Beginner.Begin(ctx)
			if err != nil {
				return jobs.Result{}, err
			}
			return jobs.Result{}, errors.Join(older.Rollback(ctx), younger.Rollback(ctx))
		})
		result = schedulertest.RunOnce(t, pool, crossed, schedulertest.Options{})
		if !errors.Is(result.Err, schedulertest.ErrOrder) {
			t.Error(result.Err)
		}
	}
	// Output:
}

// What every job must stand.
func ExampleContract() {
	test = func(t *testing.T, pool *pgxpool.Pool) {
		t.Helper()
		schedulertest.Contract(t, pool, expireInvitations, schedulertest.ContractOptions{
			Options:    schedulertest.Options{SetUpFunc: invitations},
			StopWithin: 2 * schedulertest.StopWithinDefault, // for a slow machine
		})
	}
	// Output:
}

// When the job is due, over a change of the zone's clock.
func ExampleTicks() {
	test = func(t *testing.T, _ *pgxpool.Pool) {
		t.Helper()
		from := time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC)
		ticks := schedulertest.Ticks(t, expireInvitations.Definition(), from, from.AddDate(0, 0, 2))
		if len(ticks) != 2 || ticks[1].Sub(ticks[0]) != 23*time.Hour {
			t.Error(ticks)
		}
	}
	// Output:
}

// What becomes of ticks while a run takes long, and while nobody leads.
func ExampleNewClock() {
	test = func(t *testing.T, _ *pgxpool.Pool) {
		t.Helper()
		clock := schedulertest.NewClock(t, expireInvitations.Definition(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		clock.RunsTake(30 * time.Hour)
		var statuses []jobs.Status
		for _, decision := range clock.Advance(48 * time.Hour) {
			statuses = append(statuses, decision.Status)
		}
		// The second tick comes while the run of the first goes on.
		if !slices.Equal(statuses, []jobs.Status{jobs.StatusPending, jobs.StatusSkipped}) {
			t.Error(statuses)
		}
		for _, decision := range clock.Outage(72 * time.Hour) {
			t.Log(decision.Tick, decision.Status, decision.Reason, decision.Missed)
		}
	}
	// Output:
}

// TestExamples runs what the examples show.
func TestExamples(t *testing.T) {
	t.Parallel()
	pool := testdb.New(t).Pool(t)
	for name, example := range map[string]func(){
		"RunOnce": ExampleRunOnce, "Result": ExampleResult, "Contract": ExampleContract, "Ticks": ExampleTicks, "NewClock": ExampleNewClock,
	} {
		t.Run(name, func(t *testing.T) {
			example()
			test(t, pool)
		})
	}
}
