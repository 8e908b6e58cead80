-- The views and functions for people, as the command line and the library use
-- them.

-- name: list_jobs
SELECT j.job_name, j.state, j.schedule, j.timezone, j.next_run, j.last_run, j.last_status,
       extract(epoch FROM j.last_duration)::double precision AS last_duration, j.last_rows, j.last_error, j.run_count, j.dry_run,
       j.paused_at, j.paused_by, j.paused_reason, j.problem, s.problem AS schedule_problem, j.description, j.parameters,
       s.overlap, s.catch_up, s.catch_up_limit, extract(epoch FROM s.catch_up_max_age)::double precision AS catch_up_max_age,
       extract(epoch FROM s.timeout)::double precision AS timeout, s.max_attempts, s.registered, s.enabled, s.last_tick, s.parameter_specs,
       s.schedule_override, s.schedule AS declared_schedule, j.dry_run_until
FROM scheduler.jobs j
JOIN scheduler.scheduled_jobs s USING (job_name)
WHERE @job_name = '' OR j.job_name = @job_name
ORDER BY j.job_name

-- name: list_runs
SELECT id, job_name, tick, trigger, status, reason, attempt, replica_id, started_at, finished_at, extract(epoch FROM duration)::double precision AS duration,
       rows_affected, dry_run, targets, message, error, missed_count, last_missed_tick, requested_by, parameters, river_job_id, leader_epoch, backfill_id,
       progress_done, progress_total, rows_per_second, seconds_left, progress_message
FROM scheduler.runs
WHERE (@job_name = '' OR job_name = @job_name) AND (@status = '' OR status = @status) AND (@backfill_id = 0 OR backfill_id = @backfill_id) AND id < @before
LIMIT @max

-- name: ended_runs
-- Those that have ended since a time, in that order, without those that are known.
SELECT id, job_name, tick, trigger, status, reason, attempt, replica_id, started_at, finished_at, extract(epoch FROM duration)::double precision AS duration,
       rows_affected, dry_run, targets, message, error, missed_count, last_missed_tick, requested_by, parameters, river_job_id, leader_epoch, backfill_id,
       progress_done, progress_total, rows_per_second, seconds_left, progress_message
FROM scheduler.runs
WHERE finished_at >= @since AND (@job_name = '' OR job_name = @job_name) AND id <> ALL (@known::bigint[])
ORDER BY finished_at, id
LIMIT @max

-- name: get_run
SELECT r.id, r.job_name, r.tick, r.trigger, r.status, r.reason, r.attempt, r.replica_id, r.started_at, r.finished_at, extract(epoch FROM r.duration)::double precision AS duration,
       r.rows_affected, r.dry_run, r.targets, r.message, r.error, r.missed_count, r.last_missed_tick, r.requested_by, r.parameters, r.river_job_id, r.leader_epoch, r.backfill_id,
       r.progress_done, r.progress_total, r.rows_per_second, r.seconds_left, r.progress_message,
       r.progress
FROM scheduler.runs r
WHERE r.id = @id

-- name: list_log
SELECT attempt, replica_id, at, level, message, attributes
FROM scheduler.run_logs
WHERE run_id = @run_id
ORDER BY chunk_id, n

-- name: get_leader
SELECT replica_id, epoch, backend_pid, acquired_at FROM scheduler.leader

-- name: list_replicas
SELECT replica_id, backend_pid, connected_at, client_addr, is_leader, running FROM scheduler.replicas ORDER BY connected_at

-- name: act_as
-- For this transaction: what is asked for in it is recorded as asked for by this application.
SELECT set_config('application_name', @actor, true)

-- name: run_now
SELECT scheduler.run_now(@job_name, @parameters, @dry_run)

-- name: run_at
SELECT scheduler.run_at(@job_name, @at, @parameters, @dry_run)

-- name: cancel_run
SELECT scheduler.cancel_run(@id, @reason)

-- name: pause_job
SELECT scheduler.pause_job(@job_name, @reason, @cancel_running)

-- name: resume_job
SELECT scheduler.resume_job(@job_name)

-- name: pause_scheduler
SELECT scheduler.pause_scheduler(@reason, @cancel_running)

-- name: resume_scheduler
SELECT scheduler.resume_scheduler()

-- name: get_scheduler_state
SELECT paused_at, paused_by, paused_reason, disabled_at FROM scheduler.scheduler_state

-- name: list_rollouts
SELECT job_name, dry_run_from, dry_run_until, dry_runs, blocked, failed, last_run, target, min_rows, max_rows, last_rows
FROM scheduler.rollout
WHERE @job_name = '' OR job_name = @job_name

-- name: end_dry_run
SELECT scheduler.end_dry_run(@job_name)

-- name: reschedule_job
SELECT scheduler.reschedule_job(@job_name, @schedule)

-- name: backfill
SELECT scheduler.backfill(@job_name, @from_tick, @to_tick, @run_limit, @again, @parameters, @dry_run)

-- name: list_backfills
SELECT id, job_name, from_tick, to_tick, run_limit, again, dry_run, requested_by, requested_at, decided_at, status,
       runs, left_out, remaining, waiting, working, success, failed, cancelled, skipped, error, blocked
FROM scheduler.backfills
WHERE @id::bigint = 0 OR id = @id::bigint
LIMIT @max

-- name: cancel_backfill
SELECT scheduler.cancel_backfill(@id, @reason)

-- name: agenda_jobs
-- now() is the same for all rows: one look at the database's clock.
SELECT job_name, schedule, timezone, next_run, now() AS now FROM scheduler.jobs WHERE next_run IS NOT NULL ORDER BY job_name

-- name: agenda_runs
SELECT run_at, job_name, status, trigger, tick, run_id, requested_by, paused
FROM scheduler.agenda
WHERE run_id IS NOT NULL AND (run_at IS NULL OR run_at <= now() + @within::interval)

-- name: clock
SELECT clock_timestamp()
