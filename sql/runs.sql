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

-- name: last_decided
-- The newest tick that is decided in a stretch of time.
SELECT max(coalesce(last_missed_tick, tick)) FROM scheduler.job_runs
WHERE job_name = @job_name AND trigger = 'schedule' AND tick BETWEEN @first_tick AND @last_tick

-- name: requested_runs
-- What was asked for, and the one-off runs whose time has come. Their jobs are locked
-- with them: those of a job that somebody else has locked must not take the places
-- of others.
SELECT r.id, r.job_name, r.tick, r.trigger, '' AS reason, r.parameters, r.dry_run
FROM scheduler.job_runs r JOIN scheduler.job_definitions d ON d.job_name = r.job_name
WHERE r.status = 'requested' OR r.status = 'scheduled' AND r.tick <= now()
ORDER BY r.tick, r.id
LIMIT @max
FOR NO KEY UPDATE OF r, d SKIP LOCKED

-- name: waiting_runs
-- The first of each job's line whose turn has come; all of it where runs may
-- overlap. Jobs that have a line are found by steps through its index.
SELECT w.id, w.job_name, w.tick, w.trigger, w.reason, w.parameters, w.dry_run
FROM scheduler.job_runs w JOIN scheduler.job_definitions j ON j.job_name = w.job_name
WHERE w.status = 'waiting' AND w.id = ANY (ARRAY(
    WITH RECURSIVE line (job_name) AS (
        (SELECT r.job_name FROM scheduler.job_runs r WHERE r.status = 'waiting' ORDER BY r.job_name LIMIT 1)
        UNION ALL
        SELECT (SELECT r.job_name FROM scheduler.job_runs r WHERE r.status = 'waiting' AND r.job_name > line.job_name ORDER BY r.job_name LIMIT 1)
        FROM line WHERE line.job_name IS NOT NULL
    )
    SELECT first.id
    FROM line
    JOIN scheduler.job_definitions d ON d.job_name = line.job_name
    CROSS JOIN LATERAL (
        SELECT r.id, r.reason FROM scheduler.job_runs r
        WHERE r.status = 'waiting' AND r.job_name = line.job_name
        ORDER BY (r.reason IS DISTINCT FROM 'queued'), r.tick, r.id
        LIMIT CASE WHEN d.overlap = 'allow' THEN @max ELSE 1 END
    ) first
    -- A line waits for the end of a pause, too.
    WHERE (d.paused_at IS NULL OR first.reason = 'queued')
      AND (d.overlap = 'allow' OR d.overlap = 'cancel' AND first.reason = 'queued'
           OR NOT EXISTS (SELECT FROM scheduler.job_runs u WHERE u.job_name = line.job_name AND u.status IN ('pending', 'running', 'retrying')))))
ORDER BY w.tick, w.id
LIMIT @max
FOR NO KEY UPDATE OF w, j SKIP LOCKED

-- name: request_bootstrap
-- Once for each start of a fleet.
WITH due AS (
    UPDATE scheduler.leadership SET bootstrap_due = false WHERE bootstrap_due RETURNING true
)
INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, dry_run)
SELECT d.job_name, clock_timestamp(), 'bootstrap', 'requested', d.dry_run OR coalesce(d.dry_run_until > now(), false)
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

-- name: put_in_line
-- The job's parameters are asked for again when its turn comes.
UPDATE scheduler.job_runs
SET status = 'waiting', reason = 'queued', parameters = CASE WHEN trigger = 'schedule' THEN '{}' ELSE parameters END
WHERE id = ANY(@ids::bigint[])

-- name: supersede_queued
-- Newer runs take the places of those that overlap put in line. One that somebody
-- has locked is decided when it is free.
UPDATE scheduler.job_runs SET status = 'skipped', reason = 'superseded', finished_at = clock_timestamp()
WHERE id IN (
    SELECT id FROM scheduler.job_runs
    WHERE status = 'waiting' AND reason = 'queued' AND job_name = ANY(@job_names::text[]) AND NOT id = ANY(@ids::bigint[])
    FOR NO KEY UPDATE SKIP LOCKED)

-- name: mark_superseded
UPDATE scheduler.job_runs SET reason = 'superseded' WHERE id = ANY(@ids::bigint[])

-- name: mark_stopped
-- What was asked to stop for the sake of a run that now begins.
UPDATE scheduler.job_runs r SET reason = 'superseded'
FROM scheduler.job_runs w
WHERE w.id = @id AND r.job_name = w.job_name AND r.id <> w.id AND r.status = 'cancelled' AND r.finished_at >= w.created_at
  AND (r.reason IS NULL OR r.reason IN ('queued', 'catch_up', 'backfill'))

-- name: refuse_run
UPDATE scheduler.job_runs
SET status = @status, reason = @reason, error = @error, leader_epoch = @leader_epoch, finished_at = clock_timestamp()
WHERE id = @id

-- name: run_state
SELECT r.details, coalesce(r.started_at, clock_timestamp()) AS started_at, clock_timestamp() AS now
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
-- What a job leaves in the session, which is used by others after it: see session_settings.
RETURNING ARRAY(SELECT current_setting(s.name) FROM unnest(@settings::text[]) WITH ORDINALITY s (name, n) ORDER BY s.n) AS settings,
          pg_advisory_unlock_all()::text AS unlocked

-- name: triggers_on
-- Where a job has turned them off for a bulk load.
SET LOCAL session_replication_role = 'origin'

-- name: session_settings
SELECT ARRAY(SELECT current_setting(s.name) FROM unnest(@settings::text[]) WITH ORDINALITY s (name, n) ORDER BY s.n) AS settings

-- name: tidy_session
-- Sets back what differs, and releases the locks that would outlive all transactions. What
-- is as it was is not set: that may need a privilege. On connections of our own, what a job
-- has set can be told from what has changed with the server's configuration, and stays so
-- (the role is not among pg_settings).
SELECT pg_advisory_unlock_all()::text AS unlocked, (
    SELECT count(set_config(s.name, s.value, false))
    FROM unnest(@settings::text[], @values::text[]) s (name, value)
    WHERE s.value <> current_setting(s.name)
      AND (@shared::boolean OR NOT EXISTS (SELECT FROM pg_settings g WHERE g.name = s.name AND g.source <> 'session'))) AS changed,
    ARRAY(SELECT current_setting(s.name) FROM unnest(@settings::text[]) WITH ORDINALITY s (name, n) ORDER BY s.n) AS before

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

-- name: transaction_name
-- With begin_run and begin_batch, on a pool that is shared with the application: by the
-- name the leader finds what a replica that is gone has left open (terminate_workers).
SET LOCAL application_name = 'scheduler worker {replica_id}'

-- name: transaction_settings
-- With it: the server ends a transaction that nobody is behind any more.
SET LOCAL client_connection_check_interval = '1s'; SET LOCAL tcp_keepalives_idle = 2; SET LOCAL tcp_keepalives_interval = 1;
SET LOCAL tcp_keepalives_count = 3; SET LOCAL tcp_user_timeout = 4000

-- name: pending_backfill
SELECT b.id, b.job_name, b.from_tick, b.to_tick, b.run_limit, b.again, b.parameters, b.dry_run
FROM scheduler.backfill_requests b JOIN scheduler.job_definitions d ON d.job_name = b.job_name
WHERE b.decided_at IS NULL
ORDER BY b.id
LIMIT 1
FOR NO KEY UPDATE OF b, d SKIP LOCKED

-- name: taken_ticks
-- Those that have succeeded, or will be run anyway. A dry run does not stand for a
-- real one.
SELECT t.tick FROM unnest(@ticks::timestamptz[]) AS t (tick)
WHERE EXISTS (
    SELECT FROM scheduler.job_runs r
    WHERE r.job_name = @job_name AND r.tick = t.tick AND r.trigger = 'schedule'
      AND (r.status IN ('waiting', 'pending', 'running', 'retrying') OR NOT @again AND r.status = 'success') AND (@dry_run OR NOT r.dry_run))
   OR EXISTS (
    SELECT FROM scheduler.job_runs r
    WHERE r.job_name = @job_name AND r.tick = t.tick AND r.backfill_id IS NOT NULL
      AND (r.status IN ('waiting', 'pending', 'running', 'retrying') OR NOT @again AND r.status = 'success') AND (@dry_run OR NOT r.dry_run))

-- name: insert_backfill
INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, reason, leader_epoch, requested_by, parameters, dry_run, backfill_id)
SELECT b.job_name, t.tick, 'backfill', 'waiting', 'backfill', @leader_epoch, b.requested_by, b.parameters, b.dry_run, b.id
FROM scheduler.backfill_requests b CROSS JOIN unnest(@ticks::timestamptz[]) WITH ORDINALITY AS t (tick, n)
WHERE b.id = @id
ORDER BY t.n

-- name: decide_backfill
UPDATE scheduler.backfill_requests
SET decided_at = clock_timestamp(), left_out = @left_out, remaining = @remaining, error = @error
WHERE id = @id

-- name: store_log
INSERT INTO scheduler.run_log_chunks (run_id, attempt, replica_id, lines) VALUES (@run_id, @attempt, @replica_id, @lines::jsonb)

-- name: take_job_lock
-- Held by the session in which a job works outside any transaction. Asked again and
-- again rather than waited for: who waits keeps VACUUM from cleaning up.
SELECT pg_try_advisory_lock(7235006, hashtext(@scheduler_schema::text || '.' || @job_name::text))
