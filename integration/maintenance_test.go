package integration

import (
	"testing"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// What River's own leader would do, ours does, once a minute: old rows are
// deleted, and what no replica works on is handed to one that does.
func TestRiversMaintenance(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{ReplicaID: "keeper"})
	old := scalar[int64](t, db, "SELECT scheduler.run_now('yearly_hit')")
	waitStatus(t, db, old, jobs.StatusSuccess)
	exec1(t, db, "UPDATE scheduler.river_job SET finalized_at = now() - interval '25 hours' WHERE id = (SELECT river_job_id FROM scheduler.runs WHERE id = $1)", old)

	// A row that names a living replica which knows nothing of it, as when the
	// answer to its fetch was lost.
	forgotten := scalar[int64](t, db, `INSERT INTO scheduler.job_runs (job_name, tick, trigger, status) VALUES ('fails_once', now(), 'manual', 'pending') RETURNING id`)
	exec1(t, db, `INSERT INTO scheduler.river_job (args, kind, max_attempts, state, attempt, attempted_by, attempted_at)
		VALUES (jsonb_build_object('run_id', $1::bigint, 'tick', now(), 'timeout', 1000000000), 'fails_once', 5, 'running', 1, '{keeper}', now() - interval '2 minutes')`, forgotten)

	waitValue(t, db, 2*time.Minute, int64(0), "SELECT count(*) FROM scheduler.river_job WHERE id = (SELECT river_job_id FROM scheduler.runs WHERE id = $1)", old)
	waitValue(t, db, 2*time.Minute, "success", "SELECT status FROM scheduler.runs WHERE id = $1", forgotten)
	if got := scalar[string](t, db, "SELECT status FROM scheduler.runs WHERE id = $1", old); got != "success" {
		t.Errorf("after River's row was deleted the ledger says %q", got)
	}
}
