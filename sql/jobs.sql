-- Job definitions and their ticks. All of this is the leader's, on its lock
-- session.

-- name: jobs_settled
SELECT NOT EXISTS (
        SELECT FROM unnest(@job_names::text[], @declared::jsonb[]) AS w (job_name, declared)
        LEFT JOIN scheduler.job_definitions d ON d.job_name = w.job_name AND d.registered AND d.declared = w.declared
        WHERE d.job_name IS NULL)
   AND NOT EXISTS (
        SELECT FROM scheduler.job_definitions
        WHERE problem IS NOT NULL OR registered AND NOT job_name = ANY(@job_names::text[]))
   AND NOT EXISTS (SELECT FROM scheduler.scheduler_state WHERE disabled_at IS NOT NULL)
   AND NOT EXISTS (SELECT FROM scheduler.leadership WHERE bootstrap_due)

-- name: declare_job
-- Writes what a deployment declares, unless the last one declared the same: then
-- what was changed by SQL since stays. What operators set is never touched.
INSERT INTO scheduler.job_definitions AS d
    (job_name, description, schedule, timezone, enabled, overlap, catch_up, catch_up_limit, catch_up_max_age, timeout, max_attempts, dry_run,
     parameters, parameter_specs, declared, dry_run_from, dry_run_until, dry_run_end_told)
SELECT @job_name::text, @description::text, @schedule::text, @timezone::text, @enabled::boolean, @overlap::text, @catch_up::text,
       @catch_up_limit::integer, @catch_up_max_age::interval, @timeout::interval, @max_attempts::integer, @dry_run::boolean,
       @parameters::jsonb, @parameter_specs::jsonb, @declared::jsonb,
       CASE WHEN @dry_run_for::interval IS NOT NULL THEN now() END, now() + @dry_run_for::interval, @dry_run_for::interval IS NULL
-- Asked before the row is locked: an operator's open transaction on a job must
-- not hold up a leader that has nothing to write.
WHERE NOT EXISTS (SELECT FROM scheduler.job_definitions s WHERE s.job_name = @job_name::text AND s.registered AND s.declared = @declared::jsonb)
ON CONFLICT (job_name) DO UPDATE SET
    description = excluded.description, schedule = excluded.schedule, timezone = excluded.timezone,
    enabled = excluded.enabled, overlap = excluded.overlap, catch_up = excluded.catch_up,
    catch_up_limit = excluded.catch_up_limit, catch_up_max_age = excluded.catch_up_max_age,
    timeout = excluded.timeout, max_attempts = excluded.max_attempts, dry_run = excluded.dry_run,
    parameters = excluded.parameters, parameter_specs = excluded.parameter_specs,
    declared = excluded.declared, registered = true,
    -- A rollout begins when the job is first declared with one, and not again unless it
    -- was declared without one. One that somebody has ended stays ended.
    dry_run_from = CASE WHEN @dry_run_for::interval IS NOT NULL THEN coalesce(d.dry_run_from, now()) END,
    dry_run_until = CASE WHEN @dry_run_for::interval IS NULL THEN NULL
                         WHEN d.dry_run_ended_by IS NOT NULL THEN d.dry_run_until
                         ELSE coalesce(d.dry_run_from, now()) + @dry_run_for::interval END,
    dry_run_ended_by = CASE WHEN @dry_run_for::interval IS NOT NULL THEN d.dry_run_ended_by END,
    dry_run_end_told = d.dry_run_end_told
        AND (@dry_run_for::interval IS NULL OR d.dry_run_ended_by IS NOT NULL OR coalesce(d.dry_run_from, now()) + @dry_run_for::interval <= now())

-- name: end_rollouts
-- Those that the leader has not told of yet. A job that somebody has locked is told of
-- later.
UPDATE scheduler.job_definitions d SET dry_run_end_told = true
FROM (
    SELECT id FROM scheduler.job_definitions
    WHERE NOT dry_run_end_told AND (dry_run_until IS NULL OR dry_run_until <= now())
    ORDER BY job_name
    FOR NO KEY UPDATE SKIP LOCKED
) over
WHERE d.id = over.id
RETURNING d.job_name, d.dry_run_until AS ended_at, coalesce(d.dry_run_ended_by, '') AS ended_by

-- name: unregister_jobs
UPDATE scheduler.job_definitions SET registered = false
WHERE registered AND NOT job_name = ANY(@job_names::text[])
RETURNING job_name

-- name: reread_problems
-- A new leader may be able to read what the last one could not. An empty span makes
-- it look, without a lock on the job.
INSERT INTO scheduler.undecided_spans (job_name, schedule, timezone, after, up_to, reason, dry_run, was_active, has_ticks)
SELECT job_name, scheduler.schedule_in_force(d), scheduler.timezone_in_force(d), now(), now(), 'reread', dry_run, false, false
FROM scheduler.job_definitions d
WHERE problem IS NOT NULL

-- name: begin_disabled
INSERT INTO scheduler.scheduler_state (disabled_at) VALUES (clock_timestamp())
ON CONFLICT (singleton) DO UPDATE SET disabled_at = coalesce(scheduler_state.disabled_at, excluded.disabled_at)

-- name: end_disabled
-- Nothing has piled up while the scheduler was disabled: what its jobs would have
-- had to do is missed.
WITH ended AS (
    UPDATE scheduler.scheduler_state SET disabled_at = NULL WHERE disabled_at IS NOT NULL RETURNING true
), rested AS (
    SELECT d.id FROM scheduler.job_definitions d
    WHERE d.next_run IS NULL AND d.enabled AND d.registered AND d.paused_at IS NULL AND EXISTS (SELECT FROM ended)
    ORDER BY d.job_name
    FOR NO KEY UPDATE SKIP LOCKED
), closed AS (
    INSERT INTO scheduler.undecided_spans (job_name, schedule, timezone, after, up_to, reason, dry_run, was_active)
    SELECT d.job_name, scheduler.schedule_in_force(d), scheduler.timezone_in_force(d), d.plan_from, clock_timestamp(), 'scheduler_disabled', d.dry_run, false
    FROM scheduler.job_definitions d JOIN rested USING (id)
    RETURNING job_name, up_to
)
UPDATE scheduler.job_definitions d SET plan_from = c.up_to FROM closed c WHERE d.job_name = c.job_name

-- name: jobs_to_plan
-- Those that may run and have no next run, and those that were changed.
SELECT job_name, schedule, schedule_override, timezone, good_schedule, good_timezone, plan_from, next_run,
       enabled AND registered AND paused_at IS NULL AS active, problem IS NOT NULL AS has_problem
FROM scheduler.job_definitions
WHERE NOT @disabled AND next_run IS NULL AND enabled AND registered AND paused_at IS NULL AND problem IS NULL
   OR job_name IN (SELECT job_name FROM scheduler.undecided_spans)
ORDER BY job_name
LIMIT @max
FOR NO KEY UPDATE SKIP LOCKED

-- name: plan_jobs
UPDATE scheduler.job_definitions d
SET next_run = p.next_run, problem = nullif(p.problem, ''),
    good_schedule = coalesce(p.good_schedule, d.good_schedule), good_timezone = coalesce(p.good_timezone, d.good_timezone)
FROM unnest(@job_names::text[], @next_runs::timestamptz[], @problems::text[], @good_schedules::text[], @good_timezones::text[])
     AS p (job_name, next_run, problem, good_schedule, good_timezone)
WHERE d.job_name = p.job_name

-- name: planned_jobs
-- All jobs whose next run is to come, with the instant after which it must be the
-- first tick: where the clock was set back, the last tick that is decided.
SELECT job_name, scheduler.schedule_in_force(d) AS schedule, scheduler.timezone_in_force(d) AS timezone,
       next_run, greatest(now(), last_tick) AS after
FROM scheduler.job_definitions d
WHERE next_run > now()

-- name: correct_plans
UPDATE scheduler.job_definitions d SET next_run = p.next_run
FROM unnest(@job_names::text[], @was::timestamptz[], @next_runs::timestamptz[]) AS p (job_name, was, next_run)
WHERE d.job_name = p.job_name AND d.next_run = p.was

-- name: undecided_spans
SELECT id, job_name, schedule, timezone, after, up_to, reason, dry_run, was_active
FROM scheduler.undecided_spans
WHERE job_name = ANY(@job_names::text[])
ORDER BY id

-- name: delete_spans
DELETE FROM scheduler.undecided_spans WHERE id = ANY(@ids::bigint[])

-- name: unplan_jobs
-- A disabled scheduler plans nothing. What was due already is accounted for.
WITH unplanned AS (
    UPDATE scheduler.job_definitions d SET next_run = NULL, plan_from = clock_timestamp()
    FROM (SELECT id, next_run FROM scheduler.job_definitions WHERE next_run IS NOT NULL ORDER BY job_name FOR NO KEY UPDATE SKIP LOCKED) was
    WHERE d.id = was.id
    RETURNING d.job_name, scheduler.schedule_in_force(d) AS schedule, scheduler.timezone_in_force(d) AS timezone, was.next_run, d.plan_from, d.dry_run
)
INSERT INTO scheduler.undecided_spans (job_name, schedule, timezone, after, up_to, reason, dry_run, was_active)
SELECT job_name, schedule, timezone, next_run - interval '1 microsecond', plan_from, 'scheduler_disabled', dry_run, true
FROM unplanned WHERE next_run <= plan_from

-- name: due_jobs
-- Oldest first, a chunk at a time. SKIP LOCKED: an operator's open transaction
-- on one job must not hold up the others. now(), since a volatile clock would
-- keep the index from being used. Unfinished and queued are what the overlap
-- policies ask about.
SELECT d.job_name, scheduler.schedule_in_force(d) AS schedule, scheduler.timezone_in_force(d) AS timezone,
       d.overlap, d.catch_up, d.catch_up_limit, d.catch_up_max_age, d.timeout, d.max_attempts,
       d.dry_run OR coalesce(d.dry_run_until > now(), false) AS dry_run, d.parameters, d.next_run, now() AS now, d.paused_at IS NOT NULL AS paused, d.enabled,
       EXISTS (SELECT FROM scheduler.job_runs r
               WHERE r.job_name = d.job_name AND r.status IN ('pending', 'running', 'retrying')) AS unfinished,
       EXISTS (SELECT FROM scheduler.job_runs r
               WHERE r.job_name = d.job_name AND r.status = 'waiting' AND r.reason = 'queued') AS queued
FROM scheduler.job_definitions d
WHERE d.next_run <= now()
ORDER BY d.next_run, d.job_name
LIMIT @max
FOR NO KEY UPDATE OF d SKIP LOCKED

-- name: job_for_run
-- The statement that has read the run has locked the job with it.
SELECT d.job_name, scheduler.schedule_in_force(d) AS schedule, scheduler.timezone_in_force(d) AS timezone,
       d.overlap, d.catch_up, d.catch_up_limit, d.catch_up_max_age, d.timeout, d.max_attempts,
       d.dry_run, d.parameters, d.next_run, clock_timestamp() AS now, d.paused_at IS NOT NULL AS paused, d.enabled,
       EXISTS (SELECT FROM scheduler.job_runs r
               WHERE r.job_name = d.job_name AND r.status IN ('pending', 'running', 'retrying')) AS unfinished,
       EXISTS (SELECT FROM scheduler.job_runs r
               WHERE r.job_name = d.job_name AND r.status = 'waiting' AND r.reason = 'queued') AS queued
FROM scheduler.job_definitions d
WHERE d.job_name = @job_name AND d.registered

-- name: advance_jobs
UPDATE scheduler.job_definitions d
SET next_run = a.next_run, last_tick = coalesce(a.last_tick, d.last_tick), enqueued_count = d.enqueued_count + a.enqueued,
    plan_from = CASE WHEN a.next_run IS NULL THEN now() ELSE d.plan_from END,
    problem = CASE WHEN a.problem <> '' THEN a.problem ELSE d.problem END
FROM unnest(@job_names::text[], @next_runs::timestamptz[], @last_ticks::timestamptz[], @enqueued::bigint[], @problems::text[])
     AS a (job_name, next_run, last_tick, enqueued, problem)
WHERE d.job_name = a.job_name

-- name: announce_job
-- A job that no leader has declared: it is not registered, so nothing is enqueued for it.
-- The declaration that brings it replaces all but what operators set.
INSERT INTO scheduler.job_definitions (job_name, schedule, schedule_override, timeout, max_attempts, registered)
VALUES (@job_name, @schedule, @schedule, interval '1 hour', 1, false)
ON CONFLICT (job_name) DO NOTHING
