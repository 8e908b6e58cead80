package schedulertest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/schedulertest"
)

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
	// In a module this is func TestExpireInvitations(t *testing.T).
	_ = func(t *testing.T, pool *pgxpool.Pool) {
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
}

// What every job must stand.
func ExampleContract() {
	_ = func(t *testing.T, pool *pgxpool.Pool) {
		t.Helper()
		schedulertest.Contract(t, pool, expireInvitations, schedulertest.ContractOptions{
			Options: schedulertest.Options{SetUpFunc: invitations},
		})
	}
}

// When the job is due, over a change of the zone's clock.
func ExampleTicks() {
	_ = func(t *testing.T) {
		t.Helper()
		from := time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC)
		ticks := schedulertest.Ticks(t, expireInvitations.Definition(), from, from.AddDate(0, 0, 2))
		if len(ticks) != 2 || ticks[1].Sub(ticks[0]) != 23*time.Hour {
			t.Error(ticks)
		}
	}
}

// What becomes of ticks while nobody leads.
func ExampleNewClock() {
	_ = func(t *testing.T) {
		t.Helper()
		clock := schedulertest.NewClock(t, expireInvitations.Definition(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		for _, decision := range clock.Outage(72 * time.Hour) {
			t.Log(decision.Tick, decision.Status, decision.Reason, decision.Missed)
		}
	}
}
