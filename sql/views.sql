-- The views and functions for people, as the command line and the library use
-- them.

-- name: list_jobs
SELECT j.job_name, j.state, j.schedule, j.timezone, j.next_run, j.last_run, j.last_status,
       extract(epoch FROM j.last_duration)::double precision AS last_duration, j.last_rows, j.last_error, j.run_count, j.dry_run,
       j.paused_at, j.paused_by, j.paused_reason, j.problem, j.description, j.parameters,
       s.overlap, s.catch_up, extract(epoch FROM s.timeout)::double precision AS timeout, s.max_attempts, s.registered, s.enabled, s.last_tick, d.parameter_specs
FROM scheduler.jobs j
JOIN scheduler.scheduled_jobs s USING (job_name)
JOIN scheduler.job_definitions d USING (job_name)
WHERE @job_name = '' OR j.job_name = @job_name
ORDER BY j.job_name

-- name: list_runs
SELECT id, job_name, tick, trigger, status, reason, attempt, replica_id, started_at, finished_at, extract(epoch FROM duration)::double precision AS duration,
       rows_affected, dry_run, targets, message, error, missed_count, last_missed_tick, requested_by, parameters, river_job_id, leader_epoch
FROM scheduler.runs
WHERE (@job_name = '' OR job_name = @job_name) AND (@status = '' OR status = @status)
LIMIT @max

-- name: get_run
SELECT r.id, r.job_name, r.tick, r.trigger, r.status, r.reason, r.attempt, r.replica_id, r.started_at, r.finished_at, extract(epoch FROM r.duration)::double precision AS duration,
       r.rows_affected, r.dry_run, r.targets, r.message, r.error, r.missed_count, r.last_missed_tick, r.requested_by, r.parameters, r.river_job_id, r.leader_epoch,
       d.details -> 'progress' AS progress
FROM scheduler.runs r JOIN scheduler.job_runs d USING (id)
WHERE r.id = @id

-- name: get_leader
SELECT replica_id, epoch, backend_pid, acquired_at FROM scheduler.leader

-- name: list_replicas
SELECT replica_id, backend_pid, connected_at, client_addr, is_leader, running FROM scheduler.replicas ORDER BY connected_at

-- name: run_now
SELECT scheduler.run_now(@job_name, @parameters, @dry_run)

-- name: pause_job
SELECT scheduler.pause_job(@job_name, @reason)

-- name: resume_job
SELECT scheduler.resume_job(@job_name)
