-- River's rows, where River's own driver has no call for it.

-- name: fence
-- Locks River's row of an attempt, if the attempt is still in charge of it, and
-- so serializes with whoever hands it back. What no longer matches returns no
-- row: the attempt is lost. attempted_at tells two attempts of one replica apart
-- of which the first was given back and so left its number to the second.
SELECT j.id
FROM scheduler.river_job j
WHERE j.id = @river_job_id AND j.state = 'running' AND j.attempt = @attempt
  AND j.attempted_by[array_upper(j.attempted_by, 1)] = @replica_id AND j.attempted_at = @attempted_at
FOR NO KEY UPDATE

-- name: give_back
-- Ends an attempt through no fault of the job: the replica leaves, cannot prove any
-- more that it is alive, or has lost the database. The attempt does not count, as
-- with River's own interruption. What broke off by an error is counted apart, waits,
-- and says so.
UPDATE scheduler.river_job j
SET state = CASE WHEN j.metadata ? 'cancel_attempted_at' THEN 'cancelled'
                 WHEN @wait::interval > interval '0' THEN 'retryable'
                 ELSE 'available' END::scheduler.river_job_state,
    finalized_at = CASE WHEN j.metadata ? 'cancel_attempted_at' THEN clock_timestamp() END,
    scheduled_at = clock_timestamp() + @wait::interval,
    errors = CASE WHEN @error::text = '' THEN j.errors ELSE array_append(j.errors, jsonb_build_object(
        'at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'attempt', j.attempt, 'error', @error::text, 'trace', '')) END,
    metadata = CASE WHEN @error::text = '' THEN j.metadata ELSE jsonb_set(j.metadata, '{scheduler:interruptions}',
        to_jsonb(CASE WHEN jsonb_typeof(j.metadata -> 'scheduler:interruptions') = 'number' THEN (j.metadata ->> 'scheduler:interruptions')::numeric::integer ELSE 0 END + 1)) END,
    attempt = greatest(j.attempt - 1, 0)
WHERE j.id = @river_job_id AND j.state = 'running' AND j.attempt = @attempt
  AND j.attempted_by[array_upper(j.attempted_by, 1)] = @replica_id AND j.attempted_at = @attempted_at
RETURNING j.queue, j.state::text AS state

-- name: give_back_unknown
-- Running jobs of a replica that it does not work on: their fetch was committed, and
-- the answer lost with the connection; or their end was lost in a failover.
UPDATE scheduler.river_job j
SET state = CASE WHEN j.metadata ? 'cancel_attempted_at' THEN 'cancelled' ELSE 'available' END::scheduler.river_job_state,
    finalized_at = CASE WHEN j.metadata ? 'cancel_attempted_at' THEN clock_timestamp() END,
    scheduled_at = clock_timestamp(),
    attempt = greatest(j.attempt - 1, 0)
WHERE j.id IN (
    SELECT id FROM scheduler.river_job
    WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] = @replica_id
      AND attempted_at < clock_timestamp() - @after::interval AND NOT id = ANY(@ids::bigint[])
    FOR UPDATE SKIP LOCKED)
RETURNING j.queue, j.state::text AS state

-- name: fail_attempt
-- Ends a failed attempt: tried again after the backoff, by the database's clock,
-- or ended. River's own report would check neither attempt nor replica. River has no
-- state for what is blocked: it is discarded, and the ledger's trigger is told which
-- attempt was.
UPDATE scheduler.river_job j
SET state = CASE WHEN @cancelled OR j.metadata ? 'cancel_attempted_at' THEN 'cancelled'
                 WHEN @permanent OR @blocked OR j.attempt >= j.max_attempts THEN 'discarded'
                 ELSE 'retryable' END::scheduler.river_job_state,
    finalized_at = CASE WHEN @cancelled OR j.metadata ? 'cancel_attempted_at' OR @permanent OR @blocked OR j.attempt >= j.max_attempts THEN clock_timestamp() END,
    scheduled_at = clock_timestamp() + @backoff::interval,
    errors = array_append(j.errors, jsonb_build_object(
        'at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'attempt', j.attempt, 'error', @error::text, 'trace', @trace::text)),
    metadata = CASE WHEN @blocked THEN jsonb_set(j.metadata, '{scheduler:blocked}', to_jsonb(j.attempt)) ELSE j.metadata - 'scheduler:blocked' END
WHERE j.id = @river_job_id AND j.state = 'running' AND j.attempt = @attempt
  AND j.attempted_by[array_upper(j.attempted_by, 1)] = @replica_id AND j.attempted_at = @attempted_at
RETURNING j.queue, j.state::text AS state

-- name: hand_back
-- Gives the running jobs of dead replicas to others. SKIP LOCKED: a transaction
-- that is still alive holds its row until it has ended. The attempt stays counted,
-- so that a job that kills its worker ends; but a replica's end is not the job's
-- fault, so that of the last attempt is made up for, three times. Mirrors River's
-- rescue otherwise: cancelled if that was asked for, discarded at the end.
-- Overdue: an attempt that has outlived its own timeout by far is nobody's.
WITH lost AS (
    SELECT j.id, j.attempted_by[array_upper(j.attempted_by, 1)] AS replica_id,
           j.attempt >= j.max_attempts AND coalesce((j.metadata ->> 'river:rescue_count')::integer, 0) >= 3 AS given_up
    FROM scheduler.river_job j
    WHERE j.state = 'running'
      AND (j.attempted_by[array_upper(j.attempted_by, 1)] = ANY(@replica_ids::text[])
           AND NOT EXISTS (SELECT FROM scheduler.replicas p WHERE p.replica_id = j.attempted_by[array_upper(j.attempted_by, 1)])
           OR @overdue AND j.attempted_at < now() - interval '1 minute'
              - coalesce((j.args ->> 'timeout')::bigint, 3600000000000) / 1000 * interval '1 microsecond')
    FOR UPDATE SKIP LOCKED
)
UPDATE scheduler.river_job j
SET state = CASE WHEN j.metadata ? 'cancel_attempted_at' THEN 'cancelled'
                 WHEN lost.given_up THEN 'discarded'
                 ELSE 'available' END::scheduler.river_job_state,
    finalized_at = CASE WHEN j.metadata ? 'cancel_attempted_at' OR lost.given_up THEN clock_timestamp() END,
    scheduled_at = clock_timestamp(),
    attempt = CASE WHEN lost.given_up THEN j.attempt ELSE least(j.attempt, j.max_attempts - 1) END,
    errors = array_append(j.errors, jsonb_build_object(
        'at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'attempt', j.attempt,
        'error', format('replica %s is gone, or does not know of the run; it was %s', lost.replica_id,
            CASE WHEN j.metadata ? 'cancel_attempted_at' THEN 'cancelled' WHEN lost.given_up THEN 'given up after its last attempt' ELSE 'handed back' END),
        'trace', '')),
    metadata = jsonb_set(j.metadata, '{river:rescue_count}',
        to_jsonb(coalesce((j.metadata ->> 'river:rescue_count')::integer, 0) + 1))
FROM lost
WHERE j.id = lost.id
RETURNING j.id, j.kind, j.queue, j.state::text AS state, lost.replica_id,
          CASE WHEN jsonb_typeof(j.args -> 'run_id') = 'number' THEN (j.args ->> 'run_id')::numeric::bigint ELSE 0 END AS run_id

-- name: terminate_workers
-- Those of the same role only, as every replica's are: others may not be ended by
-- each role. Of the sessions in which jobs work outside transactions also those that
-- rest: each holds its job's lock.
SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid))
FROM pg_stat_activity a
JOIN unnest(@replica_ids::text[]) AS r (id)
  ON a.application_name = 'scheduler worker ' || r.id AND a.xact_start IS NOT NULL OR a.application_name = 'scheduler job ' || r.id
WHERE a.datname = current_database() AND a.usename = current_user
  AND NOT EXISTS (SELECT FROM scheduler.replicas p WHERE p.replica_id = r.id)

-- name: shift_waits
-- The clock was set back: what was to wait for a moment would wait for all of the
-- step as well.
UPDATE scheduler.river_job SET scheduled_at = scheduled_at - @step::interval
WHERE state IN ('available', 'retryable') AND scheduled_at > now() AND jsonb_typeof(args -> 'run_id') = 'number'

-- name: notify_insert
-- In the transaction that inserts: a notification of River's client is limited
-- to one for each queue and cooldown, and can be lost.
SELECT pg_notify(@schema || '.river_insert', json_build_object('queue', q)::text)
FROM unnest(@queues::text[]) q

-- name: cancel_unfinished
-- Cancels what is unfinished of some jobs. SKIP LOCKED: a batch that is being
-- committed is not waited for.
WITH unfinished AS (
    SELECT j.id, r.id AS run_id
    FROM scheduler.job_runs r JOIN scheduler.river_job j ON j.id = r.river_job_id
    WHERE r.job_name = ANY(@job_names::text[]) AND r.status IN ('pending', 'running', 'retrying') AND j.finalized_at IS NULL
    FOR UPDATE OF j SKIP LOCKED
)
UPDATE scheduler.river_job j SET state = 'cancelled', finalized_at = clock_timestamp()
FROM unfinished u WHERE j.id = u.id
RETURNING u.run_id

-- name: stop_unfinished
-- Asks the workers of what is still unfinished to stop, and says of which jobs
-- there is any. River's producers listen here (rivertype topic river_control).
SELECT r.job_name, pg_notify(@schema || '.river_control',
           json_build_object('action', 'cancel', 'job_id', j.id, 'queue', j.queue)::text)::text AS notified
FROM scheduler.job_runs r JOIN scheduler.river_job j ON j.id = r.river_job_id
WHERE r.job_name = ANY(@job_names::text[]) AND r.status IN ('pending', 'running', 'retrying')
