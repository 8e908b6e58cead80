-- What only the newer version knows ends here.
UPDATE job_runs SET status = 'cancelled', reason = 'migrated_down', finished_at = clock_timestamp() WHERE status IN ('scheduled', 'waiting');

DROP TRIGGER scheduler_finalized ON river_job;
DROP FUNCTION river_job_finalized();
DROP FUNCTION cancel_backfill(bigint, text);
DROP FUNCTION backfill(text, timestamptz, timestamptz, integer, boolean, jsonb, boolean);
DROP FUNCTION reschedule_job(text, text);
DROP FUNCTION resume_scheduler();
DROP FUNCTION pause_scheduler(text, boolean);
DROP FUNCTION pause_job(text, text, boolean);
DROP FUNCTION cancel_running(text, text);
DROP FUNCTION cancel_run(bigint, text);
DROP FUNCTION run_at(text, timestamptz, jsonb, boolean);
DROP VIEW backfills;
DROP VIEW agenda;
DROP VIEW runs;
DROP VIEW jobs;
DROP VIEW scheduled_jobs;
DROP TRIGGER wake_line ON job_runs;
DROP FUNCTION job_runs_wake_line();
DROP TRIGGER join_pause ON job_definitions;
DROP FUNCTION job_definitions_join_pause();
DROP TRIGGER keep ON job_definitions;
DROP FUNCTION job_definitions_keep();
DROP TRIGGER settle ON job_definitions;
DROP FUNCTION job_definitions_settle();
DROP TRIGGER replan ON job_definitions;

CREATE OR REPLACE FUNCTION job_definitions_replan() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    NEW.updated_at := clock_timestamp();
    IF ROW (coalesce(NEW.schedule_override, NEW.schedule), NEW.schedule, NEW.timezone, NEW.enabled, NEW.registered, NEW.paused_at IS NULL)
       IS DISTINCT FROM
       ROW (coalesce(OLD.schedule_override, OLD.schedule), OLD.schedule, OLD.timezone, OLD.enabled, OLD.registered, OLD.paused_at IS NULL)
    THEN
        -- A tick that was due by the old schedule will not be run by the new one.
        IF OLD.next_run <= clock_timestamp() AND NEW.enabled AND NEW.registered AND NEW.paused_at IS NULL THEN
            INSERT INTO job_runs (job_name, tick, trigger, status, reason, dry_run, finished_at, missed_count, last_missed_tick)
            VALUES (NEW.job_name, OLD.next_run, 'schedule', 'missed', 'rescheduled', NEW.dry_run, clock_timestamp(), 1, OLD.next_run)
            ON CONFLICT (job_name, tick) WHERE trigger = 'schedule' DO NOTHING;
        END IF;
        NEW.next_run := NULL;
        NEW.problem := NULL;
    END IF;
    RETURN NEW;
END;
$$;

CREATE TRIGGER replan
BEFORE UPDATE OF description, schedule, schedule_override, timezone, enabled, paused_at, registered, overlap, catch_up, timeout, max_attempts, dry_run, parameters
ON job_definitions FOR EACH ROW EXECUTE FUNCTION job_definitions_replan();

UPDATE job_definitions SET overlap = 'skip' WHERE overlap <> 'skip';
UPDATE job_definitions SET catch_up = 'latest' WHERE catch_up <> 'latest';

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

CREATE OR REPLACE FUNCTION run_now(job_name text, parameters jsonb DEFAULT '{}', dry_run boolean DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql
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

CREATE OR REPLACE FUNCTION resume_job(job_name text) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    job job_definitions := known_job(resume_job.job_name);
BEGIN
    UPDATE job_definitions d SET paused_at = NULL, paused_by = NULL, paused_reason = NULL WHERE d.id = job.id;
END;
$$;
COMMENT ON FUNCTION resume_job(text) IS 'Lets a paused job run again, from now on: ticks that passed meanwhile are not made up for.';

DROP FUNCTION check_runnable(job_definitions, jsonb, boolean);
DROP FUNCTION check_policies(job_definitions);
DROP FUNCTION timezone_in_force(job_definitions);
DROP FUNCTION schedule_in_force(job_definitions);
DROP TABLE backfill_requests;
DROP TABLE scheduler_state;
DROP TABLE undecided_spans;
DROP INDEX job_runs_started;
CREATE INDEX job_runs_started ON job_runs (job_name, id DESC) WHERE started_at IS NOT NULL;
DROP INDEX job_runs_backfill_id;
DROP INDEX job_runs_backfill;
DROP INDEX job_runs_waiting;
DROP INDEX job_runs_scheduled;
ALTER TABLE job_runs
    DROP COLUMN backfill_id,
    DROP CONSTRAINT job_runs_status,
    ADD CONSTRAINT job_runs_status CHECK (status IN ('requested', 'pending', 'running', 'retrying', 'success', 'failed', 'cancelled', 'skipped', 'missed'));
ALTER TABLE job_definitions
    DROP CONSTRAINT job_definitions_next_run_check,
    DROP CONSTRAINT job_definitions_paused_at_check,
    DROP COLUMN paused_with_scheduler,
    DROP COLUMN plan_from,
    DROP COLUMN good_timezone,
    DROP COLUMN good_schedule,
    DROP COLUMN catch_up_max_age,
    DROP COLUMN catch_up_limit,
    DROP CONSTRAINT job_definitions_catch_up,
    ADD CONSTRAINT job_definitions_catch_up CHECK (catch_up IN ('latest')),
    DROP CONSTRAINT job_definitions_overlap,
    ADD CONSTRAINT job_definitions_overlap CHECK (overlap IN ('skip'));
CREATE OR REPLACE FUNCTION migrated_version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 3';
