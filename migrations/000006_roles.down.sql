DROP VIEW operations;
DROP VIEW cleaned_by_day;
DROP VIEW failures;
DROP VIEW overdue;
DROP VIEW running;
DROP VIEW runs;
DROP VIEW jobs;
DROP VIEW scheduled_jobs;

ALTER FUNCTION run_now(text, jsonb, boolean) SECURITY INVOKER;
ALTER FUNCTION run_at(text, timestamptz, jsonb, boolean) SECURITY INVOKER;
ALTER FUNCTION cancel_run(bigint, text) SECURITY INVOKER;
ALTER FUNCTION pause_job(text, text, boolean) SECURITY INVOKER;
ALTER FUNCTION resume_job(text) SECURITY INVOKER;
ALTER FUNCTION pause_scheduler(text, boolean) SECURITY INVOKER;
ALTER FUNCTION resume_scheduler() SECURITY INVOKER;
ALTER FUNCTION reschedule_job(text, text) SECURITY INVOKER;
ALTER FUNCTION backfill(text, timestamptz, timestamptz, integer, boolean, jsonb, boolean) SECURITY INVOKER;
ALTER FUNCTION cancel_backfill(bigint, text) SECURITY INVOKER;
ALTER FUNCTION end_dry_run(text) SECURITY INVOKER;
ALTER FUNCTION job_definitions_settle() SECURITY INVOKER;
DROP FUNCTION cancel_runs(text, text);

CREATE OR REPLACE FUNCTION cancel_run(run_id bigint, reason text DEFAULT NULL) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    run job_runs;
    why text := 'cancelled by ' || session_user || coalesce(': ' || nullif(trim(cancel_run.reason), ''), '');
BEGIN
    -- Not in River's hands yet. Waits for a leader that is just deciding.
    UPDATE job_runs r SET status = 'cancelled', reason = why, finished_at = clock_timestamp()
    WHERE r.id = cancel_run.run_id AND r.status IN ('requested', 'scheduled', 'waiting');
    IF FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO run FROM job_runs r WHERE r.id = cancel_run.run_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'unknown run %', coalesce(cancel_run.run_id::text, 'without an id') USING ERRCODE = 'SC005', HINT = 'The view runs lists them.';
    END IF;
    UPDATE river_job j SET state = 'cancelled', finalized_at = clock_timestamp()
    WHERE j.id = run.river_job_id AND j.finalized_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'run % has ended: %', run.id, (SELECT r.status FROM job_runs r WHERE r.id = run.id) USING ERRCODE = 'SC003',
            HINT = 'Only a run that has not ended can be cancelled.';
    END IF;
    UPDATE job_runs r SET reason = why WHERE r.id = run.id;
END;
$$;

CREATE OR REPLACE FUNCTION cancel_backfill(backfill_id bigint, reason text DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    taken_back bigint;
    why text := 'cancelled by ' || session_user || coalesce(': ' || nullif(trim(cancel_backfill.reason), ''), '');
BEGIN
    -- Waits for a leader that is just deciding.
    PERFORM FROM backfill_requests b WHERE b.id = cancel_backfill.backfill_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'unknown backfill %', coalesce(cancel_backfill.backfill_id::text, 'without an id') USING ERRCODE = 'SC006', HINT = 'The view backfills lists them.';
    END IF;
    UPDATE job_runs r SET status = 'cancelled', reason = why, finished_at = clock_timestamp()
    WHERE r.backfill_id = cancel_backfill.backfill_id AND r.status = 'waiting';
    GET DIAGNOSTICS taken_back = ROW_COUNT;
    UPDATE backfill_requests b SET decided_at = coalesce(b.decided_at, clock_timestamp()), cancelled = true, error = why
    WHERE b.id = cancel_backfill.backfill_id AND (taken_back > 0 OR b.decided_at IS NULL);
    RETURN taken_back;
END;
$$;

CREATE OR REPLACE FUNCTION run_now(job_name text, parameters jsonb DEFAULT '{}', dry_run boolean DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    job job_definitions := known_job(run_now.job_name);
    run_id bigint;
BEGIN
    PERFORM check_runnable(job, run_now.parameters);
    INSERT INTO job_runs AS r (job_name, tick, trigger, status, parameters, dry_run, requested_by)
    VALUES (job.job_name, clock_timestamp(), 'manual', 'requested', run_now.parameters, coalesce(run_now.dry_run, job.dry_run), session_user)
    RETURNING r.id INTO run_id;
    PERFORM wake_leader();
    RETURN run_id;
END;
$$;

CREATE OR REPLACE FUNCTION run_at(job_name text, at timestamptz, parameters jsonb DEFAULT '{}', dry_run boolean DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    job job_definitions := known_job(run_at.job_name);
    run_id bigint;
BEGIN
    -- The pause may be over by then.
    PERFORM check_runnable(job, run_at.parameters, although_paused => true);
    IF run_at.at IS NULL OR run_at.at <= clock_timestamp() OR run_at.at >= timestamptz '2200-01-01 00:00:00+00' THEN
        RAISE EXCEPTION 'job "%" cannot be run at %: the time must lie in the future, before the year 2200', job.job_name, coalesce(run_at.at::text, 'no time')
            USING ERRCODE = 'SC004', HINT = 'It is ' || clock_timestamp() || ' on the database''s clock. For a run at once: run_now(''' || job.job_name || ''').';
    END IF;
    INSERT INTO job_runs AS r (job_name, tick, trigger, status, parameters, dry_run, requested_by)
    VALUES (job.job_name, run_at.at, 'manual', 'scheduled', run_at.parameters, coalesce(run_at.dry_run, job.dry_run), session_user)
    RETURNING r.id INTO run_id;
    PERFORM wake_leader();
    RETURN run_id;
END;
$$;

CREATE OR REPLACE FUNCTION backfill(job_name text, from_tick timestamptz, to_tick timestamptz, run_limit integer DEFAULT NULL,
                         again boolean DEFAULT false, parameters jsonb DEFAULT '{}', dry_run boolean DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    job job_definitions := known_job(backfill.job_name);
    backfill_id bigint;
BEGIN
    PERFORM check_runnable(job, backfill.parameters);
    IF backfill.from_tick IS NULL OR backfill.to_tick IS NULL OR backfill.from_tick > backfill.to_tick OR backfill.to_tick > clock_timestamp()
       OR backfill.from_tick < timestamptz '1970-01-01 00:00:00+00' THEN
        RAISE EXCEPTION 'job "%" cannot be backfilled from % to %', job.job_name, coalesce(backfill.from_tick::text, 'no time'), coalesce(backfill.to_tick::text, 'no time')
            USING ERRCODE = 'SC004', HINT = 'Give two times since 1970, the earlier one first; the later must not lie in the future. Both are included.';
    END IF;
    IF backfill.run_limit NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION 'job "%" cannot be backfilled with a limit of %', job.job_name, backfill.run_limit
            USING ERRCODE = 'SC004', HINT = 'Give a limit between 1 and 10000, or none.';
    END IF;
    INSERT INTO backfill_requests AS b (job_name, from_tick, to_tick, run_limit, again, parameters, dry_run)
    VALUES (job.job_name, backfill.from_tick, backfill.to_tick, backfill.run_limit, coalesce(backfill.again, false),
            backfill.parameters, coalesce(backfill.dry_run, job.dry_run))
    RETURNING b.id INTO backfill_id;
    PERFORM wake_leader();
    RETURN backfill_id;
END;
$$;

CREATE OR REPLACE FUNCTION pause_job(job_name text, reason text, cancel_running boolean DEFAULT false) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    job job_definitions := known_job(pause_job.job_name);
BEGIN
    IF coalesce(trim(pause_job.reason), '') = '' THEN
        RAISE EXCEPTION 'pausing job "%" needs a reason', job.job_name USING ERRCODE = 'SC004',
            HINT = 'Say why, for whoever finds the job paused.';
    END IF;
    -- A pause that is there stays, with who, when and why.
    UPDATE job_definitions d
    SET paused_at = clock_timestamp(), paused_by = session_user, paused_reason = pause_job.reason, paused_with_scheduler = false
    WHERE d.id = job.id AND (d.paused_at IS NULL OR d.paused_with_scheduler);
    IF pause_job.cancel_running THEN
        PERFORM cancel_running(job.job_name, pause_job.reason);
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION pause_scheduler(reason text, cancel_running boolean DEFAULT false) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    job record;
BEGIN
    IF coalesce(trim(pause_scheduler.reason), '') = '' THEN
        RAISE EXCEPTION 'pausing the scheduler needs a reason' USING ERRCODE = 'SC004',
            HINT = 'Say why, for whoever finds it paused.';
    END IF;
    INSERT INTO scheduler_state DEFAULT VALUES ON CONFLICT DO NOTHING;
    UPDATE scheduler_state s
    SET paused_at = clock_timestamp(), paused_by = session_user, paused_reason = pause_scheduler.reason
    WHERE s.paused_at IS NULL;
    -- In the order of the leader's declarations, so that the two do not wait for each
    -- other in a circle.
    PERFORM FROM job_definitions d WHERE d.paused_at IS NULL OR d.paused_with_scheduler ORDER BY d.job_name FOR NO KEY UPDATE;
    UPDATE job_definitions d
    SET paused_at = s.paused_at, paused_by = s.paused_by, paused_reason = s.paused_reason, paused_with_scheduler = true
    FROM scheduler_state s
    WHERE d.paused_at IS NULL OR d.paused_with_scheduler;
    IF pause_scheduler.cancel_running THEN
        FOR job IN SELECT d.job_name FROM job_definitions d ORDER BY d.job_name LOOP
            PERFORM cancel_running(job.job_name, pause_scheduler.reason);
        END LOOP;
    END IF;
END;
$$;

CREATE OR REPLACE FUNCTION reschedule_job(job_name text, schedule text) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    job job_definitions := known_job(reschedule_job.job_name);
BEGIN
    IF trim(reschedule_job.schedule) = '' THEN
        RAISE EXCEPTION 'job "%" needs a schedule, or null', job.job_name USING ERRCODE = 'SC004',
            HINT = 'Give cron text such as ''0 3 * * *''; null goes back to the declared schedule, ' || quote_literal(job.schedule) || '.';
    END IF;
    UPDATE job_definitions d SET schedule_override = reschedule_job.schedule WHERE d.id = job.id;
END;
$$;

DROP FUNCTION check_texts(text, text);
ALTER TABLE job_runs DROP COLUMN requested_application, DROP COLUMN requested_addr;
ALTER TABLE backfill_requests DROP COLUMN requested_application, DROP COLUMN requested_addr;
DROP TRIGGER log ON scheduler_state;
DROP FUNCTION scheduler_state_log();
DROP TRIGGER log ON job_definitions;
DROP FUNCTION job_definitions_log();
DROP FUNCTION record_operation(text, text, bigint, bigint, text, jsonb);
DROP TABLE operation_log;
DROP TABLE role_grants;
DROP INDEX job_runs_manual;
DROP INDEX job_runs_failed;

-- As they were: everybody with USAGE on the schema may execute them, within the limits of
-- what they may do to the tables. The comments stay: they say nothing that is not true,
-- but for whom they are.
DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN
        SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace AND p.proname <> 'river_job_state_in_bitmask'
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', f);
    END LOOP;
END;
$$;

CREATE VIEW scheduled_jobs AS
SELECT d.id,
       d.job_name,
       d.schedule,
       d.enabled,
       (SELECT r.started_at FROM job_runs r WHERE r.job_name = d.job_name AND r.started_at IS NOT NULL ORDER BY r.started_at DESC, r.id DESC LIMIT 1) AS last_run,
       -- The leader's own: no columns that UPDATE could reach.
       coalesce(d.next_run, NULL) AS next_run,
       (SELECT r.status FROM job_runs r WHERE r.job_name = d.job_name AND r.started_at IS NOT NULL ORDER BY r.started_at DESC, r.id DESC LIMIT 1) AS last_status,
       (SELECT CASE WHEN r.status IN ('failed', 'retrying', 'cancelled', 'blocked') THEN r.error END
        FROM job_runs r WHERE r.job_name = d.job_name AND r.started_at IS NOT NULL ORDER BY r.started_at DESC, r.id DESC LIMIT 1) AS last_error,
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
       coalesce(d.last_tick, NULL) AS last_tick,
       d.registered IS TRUE AS registered,
       coalesce(d.problem, NULL) AS problem,
       d.catch_up_limit,
       d.catch_up_max_age
FROM job_definitions d;
COMMENT ON VIEW scheduled_jobs IS 'One row a job. last_* are of the newest run that has started; run_count counts the runs that have ended.';

CREATE VIEW jobs AS
SELECT s.job_name,
       CASE
           WHEN NOT s.registered THEN 'unregistered'
           WHEN s.paused_at IS NOT NULL THEN 'paused'
           WHEN NOT s.enabled OR EXISTS (SELECT FROM scheduler_state st WHERE st.disabled_at IS NOT NULL) THEN 'disabled'
           ELSE 'active'
       END AS state,
       schedule_in_force(d) AS schedule,
       timezone_in_force(d) AS timezone,
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
       -- The newest run stands for what an operator has to look at.
       coalesce(s.problem, CASE WHEN s.last_status = 'blocked' THEN 'blocked: ' || split_part(coalesce(s.last_error, ''), E'\n', 1) END) AS problem,
       s.description,
       s.parameters,
       -- Null: the job is not in rollout.
       CASE WHEN d.dry_run_until > clock_timestamp() THEN d.dry_run_until END AS dry_run_until
FROM scheduled_jobs s
JOIN job_definitions d ON d.id = s.id
LEFT JOIN LATERAL (
    SELECT r.started_at, r.finished_at, r.rows_affected
    FROM job_runs r WHERE r.job_name = s.job_name AND r.started_at IS NOT NULL ORDER BY r.started_at DESC, r.id DESC LIMIT 1
) newest ON true
ORDER BY s.job_name;
COMMENT ON VIEW jobs IS 'Every job: whether it runs, by which schedule, when next, and how the last run went. problem says why the schedule set last is not in force, or what blocked the newest run.';

CREATE VIEW runs AS
SELECT r.id,
       r.job_name,
       r.tick,
       r.trigger,
       r.status,
       CASE r.reason
           WHEN 'overlap' THEN 'the run before had not ended'
           WHEN 'queued' THEN CASE WHEN r.status = 'waiting' THEN 'waits for the run before to end' ELSE 'waited for the run before to end' END
           WHEN 'superseded' THEN 'a newer run took its place'
           WHEN 'outage' THEN 'nobody led when these ticks were due'
           WHEN 'late' THEN 'the leader came too late to them: the job''s row was locked, the server slow, or its clock set forward'
           WHEN 'catch_up' THEN 'made up for, in line'
           WHEN 'catch_up_limit' THEN 'too many ticks were missed to make up for all; see catch_up_limit'
           WHEN 'catch_up_max_age' THEN 'too old to be made up for; see catch_up_max_age'
           WHEN 'backfill' THEN 'in line of a backfill'
           WHEN 'scheduler_disabled' THEN 'the scheduler is disabled by its configuration'
           WHEN 'river_job_deleted' THEN 'its row was deleted from river_job'
           WHEN 'rescheduled' THEN 'the schedule was changed when this tick was due'
           WHEN 'paused' THEN 'the job was paused'
           WHEN 'disabled' THEN 'the job was disabled when this tick was due'
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
       r.leader_epoch,
       r.backfill_id,
       -- How far a run is that runs.
       CASE WHEN r.status = 'running' THEN (r.details #>> '{progress,done}')::bigint END AS progress_done,
       CASE WHEN r.status = 'running' THEN (r.details #>> '{progress,total}')::bigint END AS progress_total,
       CASE WHEN r.status = 'running' THEN round((r.details #>> '{progress,rows_per_second}')::numeric, 2)::double precision END AS rows_per_second,
       CASE WHEN r.status = 'running' THEN round((r.details #>> '{progress,seconds_left}')::numeric, 2)::double precision END AS seconds_left,
       CASE WHEN r.status = 'running' THEN r.details #>> '{progress,message}' END AS progress_message
FROM job_runs r
ORDER BY r.id DESC;
COMMENT ON VIEW runs IS 'The ledger for people, newest first.';

CREATE OR REPLACE FUNCTION migrated_version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 5';
