-- The lock session: proof, presence, election, heartbeat.

-- name: backend_pid
SELECT pg_backend_pid()

-- name: set_settings
SELECT set_config(name, value, false) FROM unnest(@names::text[], @values::text[]) AS s (name, value)

-- name: probe_lock
-- A lock of the session's own that nobody waits for, taken in one statement and
-- looked for in the next: only a real session still has it.
SELECT pg_try_advisory_lock_shared(7235005, 0), pg_backend_pid()

-- name: probe_held
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 7235005 AND objid = 0 AND objsubid = 2
      AND granted AND pid = pg_backend_pid()
), pg_backend_pid()

-- name: take_mark
SELECT pg_try_advisory_lock(7235005, @mark::integer)

-- name: see_mark
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 7235005 AND objid = @mark::integer::oid AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)

-- name: listen_wake
LISTEN "scheduler.scheduler_wake"

-- name: join_fleet
SELECT scheduler.join_fleet(@is_start)

-- name: wait_for_leader_lock
SELECT scheduler.wait_for_leader_lock()

-- name: release_leader_lock
-- Session locks stack: asked again until there is no row. Asked only where the lock
-- is held: the server warns in its log otherwise.
SELECT pg_advisory_unlock(7235001, scheduler.lock_key())
FROM pg_locks
WHERE locktype = 'advisory' AND classid = 7235001 AND objid = (SELECT scheduler.lock_key()::oid) AND objsubid = 2 AND granted
  AND pid = pg_backend_pid() AND database = (SELECT oid FROM pg_database WHERE datname = current_database())

-- name: plan_anew
-- For a statement whose plan depends on its arguments, on a session that plans once.
SET LOCAL plan_cache_mode = force_custom_plan

-- name: begin_term
UPDATE scheduler.leadership
SET epoch = epoch + 1, replica_id = @replica_id, backend_pid = pg_backend_pid(), acquired_at = clock_timestamp()
RETURNING epoch, clock_timestamp()

-- name: heartbeat
-- All that the leader has to know, in one statement on its own session: the
-- clock, who is alive, who has runs, and what there is to do. NOTIFY only makes
-- it sooner: what a lost notification asked for is found here.
SELECT now() AS now,
       ARRAY(SELECT replica_id FROM scheduler.replicas WHERE replica_id IS NOT NULL) AS alive,
       ARRAY(SELECT DISTINCT attempted_by[array_upper(attempted_by, 1)]
             FROM scheduler.river_job WHERE state = 'running' AND attempted_by IS NOT NULL) AS working,
       EXISTS (SELECT FROM scheduler.river_job
               WHERE state IN ('retryable', 'scheduled') AND scheduled_at <= now()) AS promotable,
       least((SELECT min(next_run) FROM scheduler.job_definitions WHERE next_run IS NOT NULL),
             (SELECT min(tick) FROM scheduler.job_runs WHERE status = 'scheduled' AND tick > now())) AS nearest,
       EXISTS (SELECT FROM scheduler.job_definitions
               WHERE next_run IS NULL AND enabled AND registered AND paused_at IS NULL AND problem IS NULL) AS unplanned,
       EXISTS (SELECT FROM scheduler.undecided_spans) AS undecided,
       EXISTS (SELECT FROM scheduler.job_runs WHERE status = 'requested')
       OR EXISTS (SELECT FROM scheduler.job_runs WHERE status = 'scheduled' AND tick <= now()) AS requested,
       EXISTS (SELECT FROM scheduler.job_runs WHERE status = 'waiting') AS waiting,
       EXISTS (SELECT FROM scheduler.backfill_requests WHERE decided_at IS NULL) AS backfill,
       EXISTS (SELECT FROM scheduler.job_definitions
               WHERE NOT dry_run_end_told AND (dry_run_until IS NULL OR dry_run_until <= now())) AS rollout_over
