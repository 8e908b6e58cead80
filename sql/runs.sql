-- The ledger.

-- name: insert_ticks
-- One row for every tick decided. A tick that is in the ledger already (the
-- clock was set back, a primary failed over) is not decided again.
INSERT INTO scheduler.job_runs
    (job_name, tick, trigger, status, reason, leader_epoch, parameters, dry_run, finished_at, missed_count, last_missed_tick)
SELECT t.job_name, t.tick, 'schedule', t.status, nullif(t.reason, ''), @leader_epoch, t.parameters, t.dry_run,
       CASE WHEN t.status IN ('skipped', 'missed') THEN clock_timestamp() END,
       nullif(t.missed_count, 0), t.last_missed_tick
FROM unnest(@job_names::text[], @ticks::timestamptz[], @statuses::text[], @reasons::text[], @parameters::jsonb[], @dry_runs::boolean[],
            @missed_counts::bigint[], @last_missed_ticks::timestamptz[])
     AS t (job_name, tick, status, reason, parameters, dry_run, missed_count, last_missed_tick)
ON CONFLICT (job_name, tick) WHERE trigger = 'schedule' DO NOTHING
RETURNING id, job_name, tick, status

-- name: requested_runs
SELECT id, job_name, tick, trigger, parameters, dry_run
FROM scheduler.job_runs
WHERE status = 'requested'
ORDER BY id
LIMIT @max
FOR NO KEY UPDATE SKIP LOCKED

-- name: request_bootstrap
-- Once for each start of a fleet.
WITH due AS (
    UPDATE scheduler.leadership SET bootstrap_due = false WHERE bootstrap_due RETURNING true
)
INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, dry_run)
SELECT d.job_name, clock_timestamp(), 'bootstrap', 'requested', d.dry_run
FROM scheduler.job_definitions d
WHERE d.job_name = ANY(@job_names::text[]) AND d.registered AND d.enabled AND d.paused_at IS NULL AND EXISTS (SELECT FROM due)
ORDER BY array_position(@job_names::text[], d.job_name)

-- name: accept_run
WITH counted AS (
    UPDATE scheduler.job_definitions SET enqueued_count = enqueued_count + 1 WHERE job_name = @job_name
)
UPDATE scheduler.job_runs
SET status = 'pending', leader_epoch = @leader_epoch, parameters = @parameters
WHERE id = @id

-- name: refuse_run
UPDATE scheduler.job_runs
SET status = @status, reason = @reason, error = @error, leader_epoch = @leader_epoch, finished_at = clock_timestamp()
WHERE id = @id

-- name: run_state
SELECT r.details, clock_timestamp() AS now
FROM scheduler.job_runs r
JOIN scheduler.river_job j ON j.id = @river_job_id
WHERE r.id = @run_id AND j.state = 'running' AND j.attempt = @attempt
  AND j.attempted_by[array_upper(j.attempted_by, 1)] = @replica_id AND j.attempted_at = @attempted_at

-- name: store_progress
-- Fenced like everything that a run commits: see the statement fence.
WITH fenced AS (
    SELECT FROM scheduler.river_job j
    WHERE j.id = @river_job_id AND j.state = 'running' AND j.attempt = @attempt
      AND j.attempted_by[array_upper(j.attempted_by, 1)] = @replica_id AND j.attempted_at = @attempted_at
    FOR NO KEY UPDATE
)
UPDATE scheduler.job_runs SET rows_affected = @rows_affected, details = @details
WHERE id = @run_id AND EXISTS (SELECT FROM fenced)

-- name: report_progress
-- Only shown to people: written beside the run's own transaction.
UPDATE scheduler.job_runs SET details = jsonb_set(details, '{progress}', @progress::jsonb)
WHERE id = @run_id AND status = 'running'

-- name: begin_run
-- A run in one transaction may think between its statements, but not for ever.
BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '1min'

-- name: begin_batch
-- The locks of a replica that is frozen or cut off must be gone when the leader
-- hands its run to others.
BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '3s'
