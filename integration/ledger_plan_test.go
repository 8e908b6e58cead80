package integration

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/sql"
)

// A ledger of 300,000 ended runs and a few that have not ended, 200 jobs.
const bigLedger = `
INSERT INTO scheduler.job_definitions (job_name, schedule, timeout, max_attempts, next_run)
SELECT 'j' || n, '* * * * *', '1 hour', 5, now() + n * interval '1 minute' - interval '5 minutes' FROM generate_series(1, 200) n;
INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, started_at, finished_at, missed_count, last_missed_tick)
SELECT 'j' || n % 200 + 1, now() - n * interval '1 minute', 'schedule', CASE WHEN n % 50 = 0 THEN 'missed' WHEN n % 997 = 0 THEN 'failed' ELSE 'success' END, now(), clock_timestamp(),
       CASE WHEN n % 50 = 0 THEN 1 END, CASE WHEN n % 50 = 0 THEN now() - n * interval '1 minute' END
FROM generate_series(1, 300000) n;
INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, reason, backfill_id)
SELECT 'j' || n % 7 + 1, now() - n * interval '1 minute', 'backfill', s.status, CASE WHEN s.status = 'waiting' THEN 'backfill' END, 1
FROM generate_series(1, 1000) n, unnest(ARRAY['waiting', 'success']) s (status);
INSERT INTO scheduler.job_runs (job_name, tick, trigger, status)
SELECT 'j' || n, now() + (n - 5) * interval '1 hour', 'manual', s.status FROM generate_series(1, 10) n, unnest(ARRAY['requested', 'scheduled', 'pending', 'running', 'retrying']) s (status);
INSERT INTO scheduler.backfill_requests (job_name, from_tick, to_tick, again, parameters, dry_run) VALUES ('j1', now() - interval '1 day', now(), false, '{}', false);
INSERT INTO scheduler.river_job (args, kind, max_attempts, state, finalized_at)
SELECT '{}', 'j1', 5, 'completed', now() FROM generate_series(1, 100000) n;
`

// What the leader and the operators' views do often reads neither the ledger nor
// River's table from end to end.
func TestLedgerStatementsReadNoTableFromEndToEnd(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	exec1(t, db, bigLedger)
	exec1(t, db, "VACUUM ANALYZE scheduler.job_runs, scheduler.river_job, scheduler.job_definitions")
	statements := sql.For("scheduler")
	now := time.Now()
	one := []string{"j1"}
	for name, args := range map[string]pgx.NamedArgs{
		"heartbeat":         {},
		"due_jobs":          {"max": 500},
		"job_for_run":       {"job_name": "j1"},
		"requested_runs":    {"max": 500},
		"waiting_runs":      {"max": 500},
		"last_decided":      {"job_name": "j1", "first_tick": now.Add(-time.Hour), "last_tick": now},
		"supersede_queued":  {"job_names": one, "ids": []int64{}},
		"cancel_unfinished": {"job_names": one},
		"stop_unfinished":   {"job_names": one, "schema": "scheduler"},
		"taken_ticks":       {"job_name": "j1", "ticks": []time.Time{now, now.Add(time.Minute)}, "again": false, "dry_run": false},
		"pending_backfill":  {},
		"list_jobs":         {"job_name": ""},
		"list_backfills":    {"id": 0, "max": 50},
		"ended_runs":        {"job_name": "", "since": now, "known": []int64{1, 2, 3}, "max": 500},
		"agenda_jobs":       {},
		"agenda_runs":       {"within": time.Hour},
		// What people ask at night.
		"SELECT * FROM scheduler.jobs":                                nil,
		"SELECT * FROM scheduler.scheduled_jobs":                      nil,
		"SELECT * FROM scheduler.runs LIMIT 50":                       nil,
		"SELECT * FROM scheduler.runs WHERE id = 1234":                nil,
		"SELECT * FROM scheduler.running":                             nil,
		"SELECT * FROM scheduler.failures":                            nil,
		"SELECT * FROM scheduler.overdue":                             nil,
		"SELECT * FROM scheduler.agenda":                              nil,
		"SELECT * FROM scheduler.backfills LIMIT 50":                  nil,
		"SELECT * FROM scheduler.operations LIMIT 50":                 nil,
		"SELECT * FROM scheduler.rollout":                             nil,
		"SELECT * FROM scheduler.leader":                              nil,
		"SELECT * FROM scheduler.replicas":                            nil,
		"SELECT * FROM scheduler.runs WHERE job_name = 'j3' LIMIT 50": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := name
			if args != nil {
				text = statements.Text(name)
			}
			err := pgx.BeginFunc(t.Context(), db.Conn(t), func(tx pgx.Tx) error {
				var seen []explained
				rows, err := explainingTx{Tx: tx, seen: &seen}.Query(t.Context(), text, args)
				if err != nil {
					return err
				}
				rows.Close()
				for _, e := range seen {
					for _, node := range e.nodes {
						read := (node.Rows + node.Removed) * node.Loops
						// The jobs are few, and a view that lists them all reads them all.
						if large := node.Relation == "job_runs" || node.Relation == "river_job"; large && (node.Type == "Seq Scan" || read > 3000) {
							t.Errorf("%s of %s (%s) reads %v rows", node.Type, node.Relation, node.Index, read)
						}
					}
				}
				return rows.Err()
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
