-- Job definitions and their ticks. All of this is the leader's, on its lock
-- session.

-- name: declare_job
-- Writes what a deployment declares, unless the last one declared the same: then
-- what was changed by SQL since stays. What operators set is never touched.
INSERT INTO scheduler.job_definitions AS d
    (job_name, description, schedule, timezone, enabled, overlap, catch_up, timeout, max_attempts, dry_run, parameters, parameter_specs, declared)
SELECT @job_name::text, @description::text, @schedule::text, @timezone::text, @enabled::boolean, @overlap::text, @catch_up::text, @timeout::interval,
       @max_attempts::integer, @dry_run::boolean, @parameters::jsonb, @parameter_specs::jsonb, @declared::jsonb
-- Asked before the row is locked: an operator's open transaction on a job must
-- not hold up a leader that has nothing to write.
WHERE NOT EXISTS (SELECT FROM scheduler.job_definitions s WHERE s.job_name = @job_name::text AND s.registered AND s.declared = @declared::jsonb)
ON CONFLICT (job_name) DO UPDATE SET
    description = excluded.description, schedule = excluded.schedule, timezone = excluded.timezone,
    enabled = excluded.enabled, overlap = excluded.overlap, catch_up = excluded.catch_up,
    timeout = excluded.timeout, max_attempts = excluded.max_attempts, dry_run = excluded.dry_run,
    parameters = excluded.parameters, parameter_specs = excluded.parameter_specs,
    declared = excluded.declared, registered = true

-- name: unregister_jobs
UPDATE scheduler.job_definitions SET registered = false
WHERE registered AND NOT job_name = ANY(@job_names::text[])
RETURNING job_name

-- name: clear_problems
-- A new leader may be able to read what the last one could not.
UPDATE scheduler.job_definitions SET problem = NULL WHERE next_run IS NULL AND problem IS NOT NULL

-- name: unplanned_jobs
SELECT job_name, schedule, schedule_override, timezone, clock_timestamp() AS now
FROM scheduler.job_definitions
WHERE next_run IS NULL AND enabled AND registered AND paused_at IS NULL AND problem IS NULL
ORDER BY job_name
FOR NO KEY UPDATE SKIP LOCKED

-- name: plan_job
UPDATE scheduler.job_definitions SET next_run = @next_run, problem = @problem
WHERE job_name = @job_name

-- name: unplan_jobs
-- A disabled scheduler plans nothing.
UPDATE scheduler.job_definitions SET next_run = NULL WHERE next_run IS NOT NULL

-- name: due_jobs
-- Oldest first, a chunk at a time. SKIP LOCKED: an operator's open transaction
-- on one job must not hold up the others. now(), since a volatile clock would
-- keep the index from being used. Unfinished is what the overlap policy asks about.
SELECT d.job_name, d.schedule, d.schedule_override, d.timezone, d.overlap, d.catch_up, d.timeout, d.max_attempts,
       d.dry_run, d.parameters, d.next_run, now() AS now, d.paused_at IS NOT NULL AS paused,
       EXISTS (SELECT FROM scheduler.job_runs r
               WHERE r.job_name = d.job_name AND r.status IN ('pending', 'running', 'retrying')) AS unfinished
FROM scheduler.job_definitions d
WHERE d.next_run <= now()
ORDER BY d.next_run, d.job_name
LIMIT @max
FOR NO KEY UPDATE OF d SKIP LOCKED

-- name: job_for_run
SELECT d.job_name, d.schedule, d.schedule_override, d.timezone, d.overlap, d.catch_up, d.timeout, d.max_attempts,
       d.dry_run, d.parameters, d.next_run, clock_timestamp() AS now, d.paused_at IS NOT NULL AS paused,
       EXISTS (SELECT FROM scheduler.job_runs r
               WHERE r.job_name = d.job_name AND r.status IN ('pending', 'running', 'retrying')) AS unfinished
FROM scheduler.job_definitions d
WHERE d.job_name = @job_name AND d.registered
FOR NO KEY UPDATE OF d SKIP LOCKED

-- name: is_registered
SELECT EXISTS (SELECT FROM scheduler.job_definitions WHERE job_name = @job_name AND registered)

-- name: advance_jobs
UPDATE scheduler.job_definitions d
SET next_run = a.next_run, last_tick = coalesce(a.last_tick, d.last_tick), enqueued_count = d.enqueued_count + a.enqueued,
    problem = CASE WHEN a.problem <> '' THEN a.problem ELSE d.problem END
FROM unnest(@job_names::text[], @next_runs::timestamptz[], @last_ticks::timestamptz[], @enqueued::bigint[], @problems::text[])
     AS a (job_name, next_run, last_tick, enqueued, problem)
WHERE d.job_name = a.job_name
