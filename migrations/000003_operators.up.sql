-- Views and functions for people.

CREATE VIEW leader AS
SELECT l.replica_id, l.epoch, l.backend_pid, l.acquired_at
FROM leadership l
WHERE EXISTS (
    SELECT FROM pg_locks k
    WHERE k.locktype = 'advisory' AND k.classid = 7235001 AND k.objid = (SELECT lock_key()::oid) AND k.objsubid = 2
      AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND k.granted AND k.pid = l.backend_pid
);
COMMENT ON VIEW leader IS 'Who leads, shown only while pg_locks says that the lock is held. Empty: nobody leads.';

CREATE VIEW replicas AS
SELECT substring(a.application_name FROM '^scheduler/(.+)$') AS replica_id,
       k.pid AS backend_pid,
       a.backend_start AS connected_at,
       a.client_addr,
       EXISTS (SELECT FROM leader l WHERE l.backend_pid = k.pid) AS is_leader,
       (SELECT count(*) FROM job_runs r
        WHERE r.status = 'running' AND r.replica_id = substring(a.application_name FROM '^scheduler/(.+)$')) AS running
FROM pg_locks k
JOIN pg_stat_activity a ON a.pid = k.pid
WHERE k.locktype = 'advisory' AND k.classid = 7235002 AND k.objid = (SELECT lock_key()::oid) AND k.objsubid = 2
  AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND k.granted;
COMMENT ON VIEW replicas IS 'The replicas that live, from the presence locks that their sessions hold.';

-- The columns of job_definitions can be updated through this view.
CREATE VIEW scheduled_jobs AS
SELECT d.id,
       d.job_name,
       d.schedule,
       d.enabled,
       (SELECT r.started_at FROM job_runs r WHERE r.job_name = d.job_name AND r.started_at IS NOT NULL ORDER BY r.id DESC LIMIT 1) AS last_run,
       d.next_run,
       (SELECT r.status FROM job_runs r WHERE r.job_name = d.job_name AND r.started_at IS NOT NULL ORDER BY r.id DESC LIMIT 1) AS last_status,
       (SELECT CASE WHEN r.status IN ('failed', 'retrying', 'cancelled') THEN r.error END
        FROM job_runs r WHERE r.job_name = d.job_name AND r.started_at IS NOT NULL ORDER BY r.id DESC LIMIT 1) AS last_error,
       d.enqueued_count - (SELECT count(*) FROM job_runs r WHERE r.job_name = d.job_name AND r.status IN ('pending', 'running', 'retrying')) AS run_count,
       d.created_at,
       d.updated_at,
       d.description,
       d.schedule_override,
       d.timezone,
       d.paused_at,
       d.paused_by,
       d.paused_reason,
       d.overlap,
       d.catch_up,
       d.timeout,
       d.max_attempts,
       d.dry_run,
       d.parameters,
       d.last_tick,
       d.registered,
       d.problem
FROM job_definitions d;
COMMENT ON VIEW scheduled_jobs IS 'One row a job. last_* are of the newest run that has started; run_count counts the runs that have ended.';

CREATE VIEW jobs AS
SELECT s.job_name,
       CASE
           WHEN NOT s.registered THEN 'unregistered'
           WHEN s.paused_at IS NOT NULL THEN 'paused'
           WHEN NOT s.enabled THEN 'disabled'
           ELSE 'active'
       END AS state,
       coalesce(s.schedule_override, s.schedule) AS schedule,
       s.timezone,
       s.next_run,
       s.last_run,
       s.last_status,
       newest.finished_at - newest.started_at AS last_duration,
       newest.rows_affected AS last_rows,
       s.last_error,
       s.run_count,
       s.dry_run,
       s.paused_at,
       s.paused_by,
       s.paused_reason,
       s.problem,
       s.description,
       s.parameters
FROM scheduled_jobs s
LEFT JOIN LATERAL (
    SELECT r.started_at, r.finished_at, r.rows_affected
    FROM job_runs r WHERE r.job_name = s.job_name AND r.started_at IS NOT NULL ORDER BY r.id DESC LIMIT 1
) newest ON true
ORDER BY s.job_name;
COMMENT ON VIEW jobs IS 'Every job: whether it runs, when next, and how the last run went.';

CREATE VIEW runs AS
SELECT r.id,
       r.job_name,
       r.tick,
       r.trigger,
       r.status,
       CASE r.reason
           WHEN 'overlap' THEN 'the run before had not ended'
           WHEN 'outage' THEN 'nobody led when these ticks were due; only the newest was run'
           WHEN 'scheduler_disabled' THEN 'the scheduler is disabled by its configuration'
           WHEN 'river_job_deleted' THEN 'its row was deleted from river_job'
           WHEN 'rescheduled' THEN 'the schedule was changed when this tick was due'
           WHEN 'paused' THEN 'the job was paused before the run was enqueued'
           WHEN 'unregistered' THEN 'the leader does not know the job'
           ELSE r.reason
       END AS reason,
       r.attempt,
       r.replica_id,
       r.started_at,
       r.finished_at,
       CASE WHEN r.started_at IS NOT NULL THEN coalesce(r.finished_at, clock_timestamp()) - r.started_at END AS duration,
       r.rows_affected,
       r.dry_run,
       r.details -> 'targets' AS targets,
       r.details ->> 'message' AS message,
       r.error,
       r.missed_count,
       r.last_missed_tick,
       r.requested_by,
       r.parameters,
       r.river_job_id,
       r.leader_epoch
FROM job_runs r
ORDER BY r.id DESC;
COMMENT ON VIEW runs IS 'The ledger for people, newest first.';

CREATE VIEW job_stats AS
SELECT d.job_name,
       count(r.id) FILTER (WHERE r.started_at IS NOT NULL) AS runs,
       count(r.id) FILTER (WHERE r.status = 'success') AS success,
       count(r.id) FILTER (WHERE r.status = 'failed') AS failed,
       count(r.id) FILTER (WHERE r.status = 'cancelled') AS cancelled,
       count(r.id) FILTER (WHERE r.status = 'skipped') AS skipped,
       coalesce(sum(r.missed_count), 0)::bigint AS missed,
       coalesce(sum(r.rows_affected) FILTER (WHERE NOT r.dry_run), 0)::bigint AS rows_affected,
       avg(r.finished_at - r.started_at) FILTER (WHERE r.status = 'success') AS avg_duration,
       max(r.finished_at - r.started_at) FILTER (WHERE r.status = 'success') AS max_duration,
       max(r.finished_at) FILTER (WHERE r.status = 'success') AS last_success,
       max(r.finished_at) FILTER (WHERE r.status = 'failed') AS last_failure,
       min(r.created_at) AS since
FROM job_definitions d
LEFT JOIN job_runs r ON r.job_name = d.job_name
GROUP BY d.job_name
ORDER BY d.job_name;
COMMENT ON VIEW job_stats IS 'Counts and durations of each job over what the ledger still holds, since the given time.';

-- SQLSTATEs of our own: SC001 unknown job, SC002 invalid parameter, SC003 the job
-- is paused or not registered, SC004 bad argument.
CREATE FUNCTION known_job(the_name text) RETURNS job_definitions LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    found_job job_definitions;
BEGIN
    SELECT * INTO found_job FROM job_definitions WHERE job_name = the_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'unknown job "%"', the_name USING ERRCODE = 'SC001',
            HINT = coalesce('Jobs are: ' || (SELECT string_agg(job_name, ', ' ORDER BY job_name) FROM job_definitions),
                            'There are none yet: start a replica (scheduler serve).');
    END IF;
    RETURN found_job;
END;
$$;

CREATE FUNCTION check_parameters(job job_definitions, given jsonb) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    parameter text;
    value jsonb;
    spec jsonb;
    kind text;
    fits boolean;
BEGIN
    IF given IS NULL OR jsonb_typeof(given) <> 'object' THEN
        RAISE EXCEPTION 'job "%": parameters are a JSON object', job.job_name USING ERRCODE = 'SC002';
    END IF;
    FOR parameter, value IN SELECT * FROM jsonb_each(given) LOOP
        SELECT s INTO spec FROM jsonb_array_elements(job.parameter_specs) s WHERE s ->> 'name' = parameter;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'job "%": parameter "%": unknown', job.job_name, parameter USING ERRCODE = 'SC002',
                HINT = coalesce('The job has: ' || (SELECT string_agg(s ->> 'name', ', ') FROM jsonb_array_elements(job.parameter_specs) s),
                                'The job has no parameters.');
        END IF;
        kind := spec ->> 'type';
        fits := CASE kind
            WHEN 'integer' THEN jsonb_typeof(value) = 'number' AND CASE WHEN jsonb_typeof(value) = 'number' THEN (value #>> '{}')::numeric = trunc((value #>> '{}')::numeric) END
            WHEN 'number' THEN jsonb_typeof(value) = 'number'
            WHEN 'boolean' THEN jsonb_typeof(value) = 'boolean'
            WHEN 'strings' THEN jsonb_typeof(value) = 'array' AND NOT jsonb_path_exists(value, 'strict $[*] ? (@.type() <> "string")')
            WHEN 'duration' THEN jsonb_typeof(value) = 'string' AND (value #>> '{}') ~ '^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$'
            ELSE jsonb_typeof(value) = 'string'
        END;
        IF NOT fits THEN
            RAISE EXCEPTION 'job "%": parameter "%": must be of type %, is %', job.job_name, parameter, kind, value USING ERRCODE = 'SC002';
        END IF;
        IF kind IN ('integer', 'number') AND (value #>> '{}')::numeric NOT BETWEEN
            coalesce((spec ->> 'minimum')::numeric, '-Infinity') AND coalesce((spec ->> 'maximum')::numeric, 'Infinity')
        THEN
            RAISE EXCEPTION 'job "%": parameter "%": is %, must be between % and %', job.job_name, parameter, value,
                coalesce(spec ->> 'minimum', '-infinity'), coalesce(spec ->> 'maximum', 'infinity') USING ERRCODE = 'SC002';
        END IF;
        IF spec ? 'enum' AND kind = 'string' AND NOT spec -> 'enum' @> value THEN
            RAISE EXCEPTION 'job "%": parameter "%": is %, must be one of %', job.job_name, parameter, value, spec -> 'enum' USING ERRCODE = 'SC002';
        END IF;
    END LOOP;
END;
$$;

CREATE FUNCTION run_now(job_name text, parameters jsonb DEFAULT '{}', dry_run boolean DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    job job_definitions := known_job(run_now.job_name);
    run_id bigint;
BEGIN
    IF NOT job.registered THEN
        RAISE EXCEPTION 'job "%" is not registered by the leader', job.job_name USING ERRCODE = 'SC003',
            HINT = 'Its code is gone from the running version, or its module is not imported.';
    END IF;
    IF job.paused_at IS NOT NULL THEN
        RAISE EXCEPTION 'job "%" is paused since % by %: %', job.job_name, job.paused_at, job.paused_by, coalesce(job.paused_reason, 'no reason given')
            USING ERRCODE = 'SC003', HINT = 'Resume it first: resume_job(''' || job.job_name || ''').';
    END IF;
    PERFORM check_parameters(job, run_now.parameters);
    INSERT INTO job_runs AS r (job_name, tick, trigger, status, parameters, dry_run, requested_by)
    VALUES (job.job_name, clock_timestamp(), 'manual', 'requested', run_now.parameters, coalesce(run_now.dry_run, job.dry_run), session_user)
    RETURNING r.id INTO run_id;
    PERFORM wake_leader();
    RETURN run_id;
END;
$$;
COMMENT ON FUNCTION run_now(text, jsonb, boolean) IS 'Asks for a run. Returns its id in runs. The leader decides it within milliseconds of the commit, by the job''s overlap policy.';

CREATE FUNCTION pause_job(job_name text, reason text) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    job job_definitions := known_job(pause_job.job_name);
BEGIN
    IF coalesce(trim(pause_job.reason), '') = '' THEN
        RAISE EXCEPTION 'pausing job "%" needs a reason', job.job_name USING ERRCODE = 'SC004',
            HINT = 'Say why, for whoever finds the job paused.';
    END IF;
    UPDATE job_definitions d
    SET paused_at = coalesce(d.paused_at, clock_timestamp()), paused_by = session_user, paused_reason = pause_job.reason
    WHERE d.id = job.id;
END;
$$;
COMMENT ON FUNCTION pause_job(text, text) IS 'Stops the job from being enqueued. A run that has begun goes on.';

CREATE FUNCTION resume_job(job_name text) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    job job_definitions := known_job(resume_job.job_name);
BEGIN
    UPDATE job_definitions d SET paused_at = NULL, paused_by = NULL, paused_reason = NULL WHERE d.id = job.id;
END;
$$;
COMMENT ON FUNCTION resume_job(text) IS 'Lets a paused job run again, from now on: ticks that passed meanwhile are not made up for.';

-- What has really run: a migration and this line commit together, unlike the table
-- of migrations.
CREATE OR REPLACE FUNCTION migrated_version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 3';
