package integration

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/sql"
)

// manyJobs are 300 jobs with 100,000 runs within 100 days.
const manyJobs = `
SET session_replication_role = replica;
INSERT INTO scheduler.job_definitions (job_name, description, schedule, timezone, timeout, max_attempts, next_run)
SELECT format('tenant_%s_sync', lpad(n::text, 3, '0')), 'Synchronizes a tenant.', n % 60 || ' */6 * * *', 'Europe/Berlin', '1 hour', 3, now() + interval '2 days' FROM generate_series(1, 296) n;
INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, attempt, replica_id, leader_epoch, started_at, finished_at, rows_affected, reason, error, missed_count, last_missed_tick)
SELECT format('tenant_%s_sync', lpad((1 + n % 296)::text, 3, '0')), at, 'schedule', status, 1, 'replica-1', 1, CASE WHEN status <> 'missed' THEN at END, at + make_interval(secs => n % 500), CASE WHEN status = 'success' THEN n % 9999 END,
    CASE WHEN status = 'missed' THEN 'outage' END, CASE WHEN status = 'failed' THEN 'no connection to the tenant' END, CASE WHEN status = 'missed' THEN 1 END, CASE WHEN status = 'missed' THEN at END
FROM (SELECT n, now() - interval '10 minutes' - (100000 - n) * interval '86.4 seconds' AS at, CASE WHEN n % 97 = 0 THEN 'failed' WHEN n % 501 = 0 THEN 'missed' ELSE 'success' END AS status FROM generate_series(1, 100000) n) v;
RESET session_replication_role;
ANALYZE scheduler.job_definitions, scheduler.job_runs;
`

// A large installation: what the overview costs the database, the network and whoever
// looks at it.
func TestPageOfManyJobs(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	shell := shellOf(t, db)
	_, address := shell.serveHTTP(t, db, "--config=yearly.yaml", "--bootstrap-jobs=")
	require.NoError(t, execute(t.Context(), db.URL, manyJobs))
	require.Equal(t, 100_000, scalar[int](t, db, "SELECT count(*)::int FROM scheduler.job_runs"))

	for range 2 {
		start := time.Now()
		answer, err := http.Get(address)
		require.NoError(t, err)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, http.StatusOK, answer.StatusCode)
		require.Less(t, len(body), 1_000_000)
		t.Logf("the overview: %d bytes in %s", len(body), time.Since(start))
	}

	p := openTab(t, address)
	p.open("/")
	require.Equal(t, 300, look[int](p, `document.querySelectorAll("#jobs tbody tr").length`))
	require.Equal(t, 296, look[int](p, `document.querySelectorAll("#jobs .strip").length`))
	p.reads("#fleet", `(?s)To look at: (\S+ \(failed\)[;.]\s+)+Leader.*300 jobs, `)
	p.audit()
	p.photograph("many", true)
	unmarked := p.mark()
	p.fill("#filter", "tenant_04")
	p.reads("#found", `^10 of 300 jobs found\.`)

	// What changes is sent, and not the rest.
	exec1(t, db, "SELECT scheduler.pause_job('tenant_042_sync', 'moves house')")
	p.reads("#job-tenant_042_sync", `paused`)
	exec1(t, db, "SELECT scheduler.pause_job('tenant_200_sync', 'moves house')")
	see(p, true, `document.querySelector("#job-tenant_200_sync").textContent.includes("paused")`)
	require.Equal(t, 10, look[int](p, `[...document.querySelectorAll("#jobs tbody tr")].filter((r) => r.checkVisibility()).length`), "what is new stays filtered")
	unmarked()
	p.mu.Lock()
	sent := 0
	for _, event := range p.events {
		sent += len(event.Data)
	}
	p.mu.Unlock()
	require.Positive(t, sent)
	require.Less(t, sent, 20_000, "of the stream")
	t.Logf("two jobs of 300 have changed: %d bytes in %d events", sent, len(p.events))
}

// The statements of the pages find what they show by indexes.
func TestPageStatementsReadByIndexes(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	require.NoError(t, execute(t.Context(), db.URL, manyJobs))
	statements, now := sql.For("scheduler"), time.Now()
	for name, test := range map[string]struct {
		args pgx.NamedArgs
		// most is how many rows of the ledger a node may read.
		most float64
	}{
		// Fifty of each job.
		"list_history":   {pgx.NamedArgs{"job_name": "", "max": 50}, 300*50 + 500},
		"list_jobs":      {pgx.NamedArgs{"job_name": ""}, 1000},
		"list_working":   {pgx.NamedArgs{"max": 50}, 100},
		"list_incidents": {pgx.NamedArgs{"job_name": "", "since": now.AddDate(0, 0, -1), "max": 20}, 2000},
		"list_runs":      {pgx.NamedArgs{"job_name": "tenant_042_sync", "status": "", "backfill_id": 0, "before": int64(1) << 62, "max": 50}, 100},
		"readiness":      {pgx.NamedArgs{}, 10},
		"list_replicas":  {pgx.NamedArgs{}, 10},
		// A month of a hundred days.
		"rows_by_day": {pgx.NamedArgs{"job_name": "", "since": now.AddDate(0, 0, -30)}, 35_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen []explained
			require.NoError(t, pgx.BeginFunc(t.Context(), db.Conn(t), func(tx pgx.Tx) error {
				rows, err := explainingTx{Tx: tx, seen: &seen}.Query(t.Context(), statements.Text(name), test.args)
				if err != nil {
					return err
				}
				rows.Close()
				return rows.Err()
			}))
			for _, e := range seen {
				for _, node := range e.nodes {
					if read := (node.Rows + node.Removed) * node.Loops; node.Relation == "job_runs" && (node.Type == "Seq Scan" || read > test.most) {
						t.Errorf("%s of %s (%s) reads %v rows", node.Type, node.Relation, node.Index, read)
					}
				}
			}
		})
	}
}

func TestPageOfRiver(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	shell := shellOf(t, db)
	_, address := shell.serveHTTP(t, db, "--config=yearly.yaml", "--bootstrap-jobs=")
	shell.succeed(t, "run", "cleanup_empty_contexts", "--wait")
	p := openTab(t, address)
	p.open("/river/")
	p.reads("body", `Completed`)
	p.open("/river/jobs?state=completed")
	p.reads("main", `cleanup_empty_contexts`)
	p.photograph("river", false)
	p.open("/runs/1")
	p.press("#run-rest > p > a")
	p.reads("main", `cleanup_empty_contexts`)
	require.Equal(t, fmt.Sprintf("/river/jobs/%d", scalar[int64](t, db, "SELECT river_job_id FROM scheduler.runs WHERE id = 1")), p.path())
}
