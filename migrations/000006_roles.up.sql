-- Roles: steering by functions alone, a log of who steered, views for whoever is woken at
-- three in the morning, and a comment on everything that \d+ shows.

-- All locks first, and without a circle: replicas and readers of the views take them
-- in different orders. Nobody waits for this for longer than the timeout.
DO $$
DECLARE
    tries integer := 0;
BEGIN
    LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '250ms', true);
            -- The views' own tables are locked with them.
            LOCK TABLE jobs, runs, backfill_requests IN ACCESS EXCLUSIVE MODE;
            -- What COMMENT takes. VACUUM may be at them.
            LOCK TABLE archived_rows, leadership, retention_candidates, undecided_spans IN SHARE UPDATE EXCLUSIVE MODE;
            RETURN;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            tries := tries + 1;
            IF tries = 100 THEN
                RAISE EXCEPTION 'the tables of the scheduler are in use all the time' USING ERRCODE = 'lock_not_available',
                    HINT = 'End transactions that hold locks on them (see pg_locks), and try again.';
            END IF;
            PERFORM pg_sleep(0.05 + random() / 10);
        END;
    END LOOP;
END;
$$;

-- Two small indexes, each of which reads the ledger once: for the views failures and
-- operations. The columns are those of other indexes already, so no update of a run
-- costs more than it did, unless it ends badly.
CREATE INDEX job_runs_failed ON job_runs (job_name, id DESC) WHERE status IN ('failed', 'blocked');
CREATE INDEX job_runs_manual ON job_runs (created_at DESC) WHERE trigger = 'manual';

-- Which roles the script of "scheduler roles" has given what, so that a later migration
-- can give them what is new.
CREATE TABLE role_grants (
    role_name  name NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('reader', 'operator', 'serve')),
    granted_by text NOT NULL DEFAULT session_user,
    granted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (role_name, kind)
);

-- Who steered. Written by what is below alone, never by a role's own statement.
CREATE TABLE operation_log (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    who         text NOT NULL DEFAULT session_user,
    application text DEFAULT nullif(current_setting('application_name'), ''),
    client_addr inet DEFAULT inet_client_addr(),
    action      text NOT NULL,
    job_name    text,
    run_id      bigint,
    backfill_id bigint,
    reason      text,
    details     jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX operation_log_at ON operation_log (at);

CREATE FUNCTION record_operation(action text, job_name text, run_id bigint, backfill_id bigint, reason text, details jsonb DEFAULT '{}') RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    recorded bigint;
BEGIN
    INSERT INTO operation_log (action, job_name, run_id, backfill_id, reason, details)
    VALUES (record_operation.action, record_operation.job_name, record_operation.run_id, record_operation.backfill_id,
            nullif(trim(record_operation.reason), ''), record_operation.details)
    RETURNING id INTO recorded;
    -- Kept for a year. Now and then, and a few at a time: nobody who steers is to wait for
    -- it, nor an UPDATE of ten thousand jobs.
    IF recorded % 10 = 0 THEN
        DELETE FROM operation_log l
        WHERE l.id = ANY (ARRAY(
            SELECT o.id FROM operation_log o WHERE o.at < now() - interval '1 year' ORDER BY o.at LIMIT 100 FOR UPDATE SKIP LOCKED));
    END IF;
END;
$$;

-- What operators set of a job, by the functions or by UPDATE. What a deployment declares
-- is in the leader's log. SECURITY DEFINER: nobody but the owner can write the log.
CREATE FUNCTION job_definitions_log() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    -- A pause of the whole scheduler is one operation.
    with_scheduler boolean := NEW.paused_with_scheduler OR OLD.paused_with_scheduler AND NEW.paused_at IS NULL;
    changed jsonb;
BEGIN
    -- Column by column: of whole rows this takes several times as long, and an UPDATE may be
    -- of ten thousand jobs.
    SELECT jsonb_object_agg(c.key, jsonb_build_object('from', c.old, 'to', c.new)) INTO changed
    FROM (VALUES
        ('description', to_jsonb(OLD.description), to_jsonb(NEW.description), OLD.description IS DISTINCT FROM NEW.description),
        ('schedule', to_jsonb(OLD.schedule), to_jsonb(NEW.schedule), OLD.schedule IS DISTINCT FROM NEW.schedule),
        ('schedule_override', to_jsonb(OLD.schedule_override), to_jsonb(NEW.schedule_override), OLD.schedule_override IS DISTINCT FROM NEW.schedule_override),
        ('timezone', to_jsonb(OLD.timezone), to_jsonb(NEW.timezone), OLD.timezone IS DISTINCT FROM NEW.timezone),
        ('enabled', to_jsonb(OLD.enabled), to_jsonb(NEW.enabled), OLD.enabled IS DISTINCT FROM NEW.enabled),
        ('overlap', to_jsonb(OLD.overlap), to_jsonb(NEW.overlap), OLD.overlap IS DISTINCT FROM NEW.overlap),
        ('catch_up', to_jsonb(OLD.catch_up), to_jsonb(NEW.catch_up), OLD.catch_up IS DISTINCT FROM NEW.catch_up),
        ('catch_up_limit', to_jsonb(OLD.catch_up_limit), to_jsonb(NEW.catch_up_limit), OLD.catch_up_limit IS DISTINCT FROM NEW.catch_up_limit),
        ('catch_up_max_age', to_jsonb(OLD.catch_up_max_age), to_jsonb(NEW.catch_up_max_age), OLD.catch_up_max_age IS DISTINCT FROM NEW.catch_up_max_age),
        ('timeout', to_jsonb(OLD.timeout), to_jsonb(NEW.timeout), OLD.timeout IS DISTINCT FROM NEW.timeout),
        ('max_attempts', to_jsonb(OLD.max_attempts), to_jsonb(NEW.max_attempts), OLD.max_attempts IS DISTINCT FROM NEW.max_attempts),
        ('dry_run', to_jsonb(OLD.dry_run), to_jsonb(NEW.dry_run), OLD.dry_run IS DISTINCT FROM NEW.dry_run),
        ('parameters', to_jsonb(OLD.parameters), to_jsonb(NEW.parameters), OLD.parameters IS DISTINCT FROM NEW.parameters),
        ('dry_run_until', to_jsonb(OLD.dry_run_until), to_jsonb(NEW.dry_run_until), OLD.dry_run_until IS DISTINCT FROM NEW.dry_run_until),
        ('paused_at', to_jsonb(OLD.paused_at), to_jsonb(NEW.paused_at), OLD.paused_at IS DISTINCT FROM NEW.paused_at AND NOT with_scheduler)
    ) c (key, old, new, differs)
    WHERE c.differs;
    IF changed IS NOT NULL THEN
        PERFORM record_operation(
            CASE WHEN changed ? 'paused_at' AND NEW.paused_at IS NOT NULL THEN 'pause_job'
                 WHEN changed ? 'paused_at' THEN 'resume_job'
                 WHEN changed ? 'schedule_override' THEN 'reschedule_job'
                 WHEN changed ? 'dry_run_until' THEN 'end_dry_run'
                 ELSE 'change_job' END,
            NEW.job_name, NULL, NULL,
            CASE WHEN changed ? 'paused_at' THEN NEW.paused_reason END, changed);
    END IF;
    RETURN NULL;
END;
$$;

CREATE TRIGGER log
AFTER UPDATE OF description, schedule, schedule_override, timezone, enabled, paused_at, overlap, catch_up, catch_up_limit, catch_up_max_age,
    timeout, max_attempts, dry_run, parameters, dry_run_until
ON job_definitions FOR EACH ROW
WHEN (NEW.declared IS NOT DISTINCT FROM OLD.declared AND NEW.registered = OLD.registered)
EXECUTE FUNCTION job_definitions_log();

CREATE FUNCTION scheduler_state_log() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM record_operation(CASE WHEN NEW.paused_at IS NULL THEN 'resume_scheduler' ELSE 'pause_scheduler' END,
                             NULL, NULL, NULL, NEW.paused_reason);
    RETURN NULL;
END;
$$;

CREATE TRIGGER log
AFTER UPDATE OF paused_at ON scheduler_state FOR EACH ROW
WHEN (NEW.paused_at IS DISTINCT FROM OLD.paused_at)
EXECUTE FUNCTION scheduler_state_log();

-- Who asked, as operation_log has it of what else is done: set by run_now, run_at and
-- backfill alone.
ALTER TABLE job_runs ADD COLUMN requested_application text, ADD COLUMN requested_addr inet;
ALTER TABLE backfill_requests ADD COLUMN requested_application text, ADD COLUMN requested_addr inet;

-- What operators write is kept, and sent with every list of jobs. The leader reads no
-- schedule beyond 1024 bytes.
CREATE FUNCTION check_texts(reason text, schedule text DEFAULT NULL) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF char_length(check_texts.reason) > 2000 THEN
        RAISE EXCEPTION 'the reason has % characters', char_length(check_texts.reason) USING ERRCODE = 'SC004',
            HINT = 'Give a reason of 2000 characters at most.';
    END IF;
    IF octet_length(check_texts.schedule) > 1000 THEN
        RAISE EXCEPTION 'the schedule has % bytes', octet_length(check_texts.schedule) USING ERRCODE = 'SC004',
            HINT = 'Give cron text of 1000 bytes at most.';
    END IF;
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
    INSERT INTO job_runs AS r (job_name, tick, trigger, status, parameters, dry_run, requested_by, requested_application, requested_addr)
    VALUES (job.job_name, clock_timestamp(), 'manual', 'requested', run_now.parameters, coalesce(run_now.dry_run, job.dry_run), session_user,
            nullif(current_setting('application_name'), ''), inet_client_addr())
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
    INSERT INTO job_runs AS r (job_name, tick, trigger, status, parameters, dry_run, requested_by, requested_application, requested_addr)
    VALUES (job.job_name, run_at.at, 'manual', 'scheduled', run_at.parameters, coalesce(run_at.dry_run, job.dry_run), session_user,
            nullif(current_setting('application_name'), ''), inet_client_addr())
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
    INSERT INTO backfill_requests AS b (job_name, from_tick, to_tick, run_limit, again, parameters, dry_run, requested_application, requested_addr)
    VALUES (job.job_name, backfill.from_tick, backfill.to_tick, backfill.run_limit, coalesce(backfill.again, false),
            backfill.parameters, coalesce(backfill.dry_run, job.dry_run),
            nullif(current_setting('application_name'), ''), inet_client_addr())
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
    PERFORM check_texts(pause_job.reason);
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
    PERFORM check_texts(pause_scheduler.reason);
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
    PERFORM check_texts(NULL, reschedule_job.schedule);
    IF trim(reschedule_job.schedule) = '' THEN
        RAISE EXCEPTION 'job "%" needs a schedule, or null', job.job_name USING ERRCODE = 'SC004',
            HINT = 'Give cron text such as ''0 3 * * *''; null goes back to the declared schedule, ' || quote_literal(job.schedule) || '.';
    END IF;
    UPDATE job_definitions d SET schedule_override = reschedule_job.schedule WHERE d.id = job.id;
END;
$$;

CREATE OR REPLACE FUNCTION cancel_run(run_id bigint, reason text DEFAULT NULL) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    run job_runs;
    why text := 'cancelled by ' || session_user || coalesce(': ' || nullif(trim(cancel_run.reason), ''), '');
BEGIN
    PERFORM check_texts(cancel_run.reason);
    -- Not in River's hands yet. Waits for a leader that is just deciding.
    UPDATE job_runs r SET status = 'cancelled', reason = why, finished_at = clock_timestamp()
    WHERE r.id = cancel_run.run_id AND r.status IN ('requested', 'scheduled', 'waiting');
    IF FOUND THEN
        PERFORM record_operation('cancel_run', (SELECT r.job_name FROM job_runs r WHERE r.id = cancel_run.run_id), cancel_run.run_id, NULL, cancel_run.reason);
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
    PERFORM record_operation('cancel_run', run.job_name, run.id, NULL, cancel_run.reason);
END;
$$;

CREATE OR REPLACE FUNCTION cancel_backfill(backfill_id bigint, reason text DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    taken_back bigint;
    why text := 'cancelled by ' || session_user || coalesce(': ' || nullif(trim(cancel_backfill.reason), ''), '');
BEGIN
    PERFORM check_texts(cancel_backfill.reason);
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
    PERFORM record_operation('cancel_backfill', (SELECT b.job_name FROM backfill_requests b WHERE b.id = cancel_backfill.backfill_id), NULL,
                             cancel_backfill.backfill_id, cancel_backfill.reason, jsonb_build_object('taken_back', taken_back));
    RETURN taken_back;
END;
$$;

CREATE FUNCTION cancel_runs(job_name text, reason text DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    job job_definitions := known_job(cancel_runs.job_name);
    run_id bigint;
    cancelled bigint := 0;
BEGIN
    PERFORM check_texts(cancel_runs.reason);
    FOR run_id IN
        SELECT r.id FROM job_runs r WHERE r.job_name = job.job_name AND r.status IN ('requested', 'pending', 'running', 'retrying')
        UNION ALL
        SELECT r.id FROM job_runs r WHERE r.job_name = job.job_name AND r.status = 'waiting'
        ORDER BY id
    LOOP
        BEGIN
            PERFORM cancel_run(run_id, cancel_runs.reason);
            cancelled := cancelled + 1;
        EXCEPTION WHEN SQLSTATE 'SC003' THEN
            -- It has ended meanwhile.
        END;
    END LOOP;
    RETURN cancelled;
END;
$$;

-- parameter_specs, and progress below, so that readers of the views need no table.
CREATE OR REPLACE VIEW scheduled_jobs AS
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
       d.catch_up_max_age,
       coalesce(d.parameter_specs, NULL) AS parameter_specs
FROM job_definitions d;

CREATE OR REPLACE VIEW runs AS
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
       CASE WHEN r.status = 'running' THEN r.details #>> '{progress,message}' END AS progress_message,
       r.details -> 'progress' AS progress
FROM job_runs r
ORDER BY r.id DESC;

CREATE VIEW running AS
SELECT r.id AS run_id,
       r.job_name,
       r.replica_id,
       r.started_at,
       clock_timestamp() - r.started_at AS running_for,
       d.timeout,
       r.attempt,
       r.trigger,
       r.dry_run,
       r.rows_affected,
       (r.details #>> '{progress,done}')::bigint AS progress_done,
       (r.details #>> '{progress,total}')::bigint AS progress_total,
       round((r.details #>> '{progress,rows_per_second}')::numeric, 2)::double precision AS rows_per_second,
       round((r.details #>> '{progress,seconds_left}')::numeric, 2)::double precision AS seconds_left,
       r.details #>> '{progress,message}' AS progress_message
FROM job_runs r
LEFT JOIN job_definitions d ON d.job_name = r.job_name
WHERE r.status = 'running'
ORDER BY r.started_at, r.id;

CREATE VIEW overdue AS
SELECT d.job_name,
       d.next_run,
       now() - d.next_run AS late_by,
       schedule_in_force(d) AS schedule,
       timezone_in_force(d) AS timezone,
       EXISTS (SELECT FROM leader) AS has_leader
FROM job_definitions d
-- The leader decides within milliseconds; a hand-over takes five seconds at most.
WHERE d.next_run < now() - interval '5 seconds'
ORDER BY d.next_run, d.job_name;

CREATE VIEW failures AS
SELECT d.job_name,
       f.id AS run_id,
       f.tick,
       f.trigger,
       f.status,
       f.attempt,
       f.replica_id,
       f.started_at,
       f.finished_at,
       f.error,
       EXISTS (SELECT FROM job_runs s WHERE s.job_name = d.job_name AND s.started_at > f.started_at AND s.status = 'success' AND s.dry_run = f.dry_run) AS succeeded_since,
       d.paused_at IS NOT NULL AS paused
FROM job_definitions d
CROSS JOIN LATERAL (
    SELECT r.* FROM job_runs r
    WHERE r.job_name = d.job_name AND r.status IN ('failed', 'blocked')
    ORDER BY r.id DESC LIMIT 1
) f
ORDER BY f.finished_at DESC;

CREATE VIEW cleaned_by_day AS
SELECT (r.finished_at AT TIME ZONE 'UTC')::date AS day,
       r.job_name,
       count(*) AS runs,
       sum(r.rows_affected)::bigint AS rows_affected,
       max(r.rows_affected) AS most_rows,
       sum(r.finished_at - r.started_at) AS duration
FROM job_runs r
WHERE r.finished_at >= date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '30 days'
  AND r.rows_affected > 0 AND NOT r.dry_run
GROUP BY (r.finished_at AT TIME ZONE 'UTC')::date, r.job_name
ORDER BY day DESC, r.job_name;

CREATE VIEW operations AS
SELECT o.at, o.who, o.action, o.job_name, o.reason, o.run_id, o.backfill_id, o.details, o.application, o.client_addr
FROM (
    SELECT l.at, l.who, l.action, l.job_name, l.reason, l.run_id, l.backfill_id, l.details, l.application, l.client_addr
    FROM operation_log l
    UNION ALL
    SELECT r.created_at, r.requested_by, CASE WHEN r.tick > r.created_at THEN 'run_at' ELSE 'run_now' END, r.job_name, NULL, r.id, NULL,
           jsonb_build_object('tick', r.tick, 'parameters', r.parameters, 'dry_run', r.dry_run), r.requested_application, r.requested_addr
    FROM job_runs r WHERE r.trigger = 'manual'
    UNION ALL
    SELECT b.requested_at, b.requested_by, 'backfill', b.job_name, NULL, NULL, b.id,
           jsonb_build_object('from_tick', b.from_tick, 'to_tick', b.to_tick, 'run_limit', b.run_limit, 'again', b.again,
                              'parameters', b.parameters, 'dry_run', b.dry_run), b.requested_application, b.requested_addr
    FROM backfill_requests b
) o
ORDER BY o.at DESC;

-- Operators steer by these alone, without a privilege on any table. They run as the owner,
-- with a fixed search_path, check every argument, and record session_user.
ALTER FUNCTION run_now(text, jsonb, boolean) SECURITY DEFINER;
ALTER FUNCTION run_at(text, timestamptz, jsonb, boolean) SECURITY DEFINER;
ALTER FUNCTION cancel_run(bigint, text) SECURITY DEFINER;
ALTER FUNCTION cancel_runs(text, text) SECURITY DEFINER;
ALTER FUNCTION pause_job(text, text, boolean) SECURITY DEFINER;
ALTER FUNCTION resume_job(text) SECURITY DEFINER;
ALTER FUNCTION pause_scheduler(text, boolean) SECURITY DEFINER;
ALTER FUNCTION resume_scheduler() SECURITY DEFINER;
ALTER FUNCTION reschedule_job(text, text) SECURITY DEFINER;
ALTER FUNCTION backfill(text, timestamptz, timestamptz, integer, boolean, jsonb, boolean) SECURITY DEFINER;
ALTER FUNCTION cancel_backfill(bigint, text) SECURITY DEFINER;
ALTER FUNCTION end_dry_run(text) SECURITY DEFINER;
-- What is deferred to the commit runs when the function is over.
ALTER FUNCTION job_definitions_settle() SECURITY DEFINER;

-- By default everybody may execute a function; of ours, nobody but who was granted it. A
-- role that could do without the functions, since it may write the tables, keeps them, and
-- has what later migrations add: a deployment that gave its replicas a role by hand goes on
-- working.
DO $$
DECLARE
    f regprocedure;
    grantee text;
BEGIN
    FOR f IN
        SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace = current_schema()::regnamespace AND p.proname <> 'river_job_state_in_bitmask'
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
        FOR grantee IN
            SELECT DISTINCT r.rolname
            FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a JOIN pg_roles r ON r.oid = a.grantee
            WHERE n.nspname = current_schema() AND a.privilege_type = 'USAGE' AND r.oid <> n.nspowner AND r.rolname <> current_user
              AND has_table_privilege(r.oid, 'job_definitions', 'UPDATE') AND has_table_privilege(r.oid, 'job_runs', 'INSERT')
              AND has_table_privilege(r.oid, 'job_runs', 'UPDATE') AND has_table_privilege(r.oid, 'river_job', 'UPDATE')
        LOOP
            -- What only triggers and the functions themselves call, nobody needs.
            IF NOT EXISTS (
                SELECT FROM pg_proc p WHERE p.oid = f
                AND (p.prorettype = 'trigger'::regtype OR p.proname IN ('known_job', 'check_runnable', 'check_texts', 'cancel_running', 'record_operation'))
            ) THEN
                EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', f, grantee);
            END IF;
            INSERT INTO role_grants (role_name, kind) VALUES (grantee, 'serve') ON CONFLICT DO NOTHING;
        END LOOP;
    END LOOP;
END;
$$;

-- Comments: \d+ and \df+ explain what there is. Columns of the same name mean the same
-- everywhere, unless the list says otherwise for one relation.
DO $$
DECLARE
    place record;
BEGIN
    FOR place IN
        WITH explanations (relation, name, explanation) AS (VALUES
            (NULL, 'again', 'Ticks that have succeeded are run again.'),
            (NULL, 'attempt', 'The number of the newest attempt; 0 before the first.'),
            (NULL, 'avg_duration', 'Mean duration of the runs that succeeded.'),
            (NULL, 'backend_pid', 'Process id of the lock session, as in pg_stat_activity.'),
            (NULL, 'backfill_id', 'The backfill that it belongs to, an id of the view backfills; null for none.'),
            (NULL, 'blocked', 'How many were blocked: they would have passed a bound, and changed nothing.'),
            (NULL, 'cancelled', 'How many were cancelled.'),
            (NULL, 'catch_up', 'What becomes of ticks missed in an outage: latest (the newest is run), all, none.'),
            (NULL, 'catch_up_limit', 'With catch_up all: how many missed ticks are made up for at most.'),
            (NULL, 'catch_up_max_age', 'With catch_up all: older ticks are not made up for; null for any age.'),
            (NULL, 'created_at', 'When the row was written, by the database''s clock.'),
            (NULL, 'decided_at', 'When the leader decided it; null until then.'),
            (NULL, 'description', 'What the job does, as its code says.'),
            (NULL, 'dry_run', 'A dry run reports what it would change, and changes nothing.'),
            (NULL, 'dry_run_from', 'When the rollout began; null for a job that was declared without dry_run_for.'),
            (NULL, 'dry_run_until', 'Until when scheduled runs are dry runs; null for a job that is not in rollout.'),
            (NULL, 'enabled', 'False: not enqueued by its schedule. Declared by a deployment, or set by the owner.'),
            (NULL, 'epoch', 'The number of the leader''s term: each take-over adds one.'),
            (NULL, 'error', 'The error of the newest attempt that failed, with a stack if it panicked.'),
            (NULL, 'failed', 'How many failed for good.'),
            (NULL, 'finished_at', 'When it ended, by the database''s clock; null until then.'),
            (NULL, 'from_tick', 'The first tick that was asked for.'),
            (NULL, 'id', 'The id.'),
            (NULL, 'job_name', 'The job''s name.'),
            (NULL, 'last_error', 'The error of the newest run that has started, if that did not succeed.'),
            (NULL, 'last_missed_tick', 'Of a row that stands for missed ticks, the last of them; tick is the first.'),
            (NULL, 'last_run', 'When the newest run that has started did so.'),
            (NULL, 'last_status', 'How the newest run that has started stands.'),
            (NULL, 'last_tick', 'The newest tick that was decided.'),
            (NULL, 'leader_epoch', 'The term of the leader that decided it.'),
            (NULL, 'left_out', 'How many ticks were left out: they had succeeded, or will be run anyway.'),
            (NULL, 'max_attempts', 'How often a run is tried.'),
            (NULL, 'max_duration', 'Duration of the longest run that succeeded.'),
            (NULL, 'max_rows', 'The most rows that one of its runs would have changed.'),
            (NULL, 'message', 'What the run has to say of itself.'),
            (NULL, 'min_rows', 'The fewest rows that one of its runs would have changed.'),
            (NULL, 'missed_count', 'Of a row that stands for missed ticks, how many.'),
            (NULL, 'next_run', 'The next tick; null if none is planned: the job is paused, disabled or not registered, or its schedule cannot be read.'),
            (NULL, 'overlap', 'What becomes of a tick while a run of the job has not ended: skip, queue, allow, cancel.'),
            (NULL, 'parameters', 'Parameters that are set; those that are not have the job''s defaults.'),
            (NULL, 'parameter_specs', 'The parameters that the job takes: names, types, bounds, defaults.'),
            (NULL, 'paused', 'Whether the job is paused.'),
            (NULL, 'paused_at', 'Since when it is paused; null: it is not.'),
            (NULL, 'paused_by', 'Which role paused it.'),
            (NULL, 'paused_reason', 'Why it was paused.'),
            (NULL, 'problem', 'Why the schedule that was set last is not in force; null: it is.'),
            (NULL, 'progress', 'The progress that the run reported last, as JSON.'),
            (NULL, 'progress_done', 'Of a run that runs: how much is done.'),
            (NULL, 'progress_message', 'Of a run that runs: what it does now, or waits for.'),
            (NULL, 'progress_total', 'Of a run that runs: how much there is to do; null if it cannot tell.'),
            (NULL, 'reason', 'Why it stands as it does; null if there is nothing to say.'),
            (NULL, 'registered', 'Whether the leader''s program has the job. One that it has not is kept, and not enqueued.'),
            (NULL, 'remaining', 'How many ticks were beyond run_limit.'),
            (NULL, 'replica_id', 'The replica.'),
            (NULL, 'requested_addr', 'From which address it was asked for; null for a local socket, and for what the leader decided by itself.'),
            (NULL, 'requested_application', 'The application_name of the session that asked for it; over HTTP, who asked it. Null for what the leader decided by itself.'),
            (NULL, 'requested_at', 'When it was asked for.'),
            (NULL, 'requested_by', 'Which role asked for it; null for what the leader decided by itself.'),
            (NULL, 'river_job_id', 'The id of its row in river_job, which River deletes after some days; null until it is enqueued.'),
            (NULL, 'rows_affected', 'How many rows were changed, or would have been by a dry run.'),
            (NULL, 'rows_per_second', 'Of a run that runs: its rate over about the last ten seconds.'),
            (NULL, 'run_count', 'How many runs have ended, since the job was first declared.'),
            (NULL, 'run_id', 'The run, an id of the view runs.'),
            (NULL, 'run_limit', 'How many runs were asked for at most; null for all.'),
            (NULL, 'schedule', 'The schedule in force, as cron text.'),
            (NULL, 'schedule_override', 'The schedule that operators have set over the declared one; null: none.'),
            (NULL, 'seconds_left', 'Of a run that runs: how much longer it will take at its present rate; null if it cannot tell.'),
            (NULL, 'singleton', 'Always true: there is one row.'),
            (NULL, 'skipped', 'How many were skipped, as the job''s overlap policy says.'),
            (NULL, 'started_at', 'When the first attempt began, by the database''s clock; null until then.'),
            (NULL, 'status', 'requested, scheduled (for later), waiting (in line), pending (enqueued), running, retrying; at the end success, failed, cancelled, skipped, missed or blocked.'),
            (NULL, 'success', 'How many succeeded.'),
            (NULL, 'target', 'The part of the job, such as one table of a cleanup; null for a job that names none.'),
            (NULL, 'targets', 'What was done to each target: rows, batches, the plan, a note.'),
            (NULL, 'tick', 'The moment that it is for: of a scheduled run, the moment of its schedule, not that at which it began.'),
            (NULL, 'timeout', 'How long an attempt may take.'),
            (NULL, 'timezone', 'The IANA time zone that the schedule is read in.'),
            (NULL, 'to_tick', 'The last tick that was asked for.'),
            (NULL, 'trigger', 'What caused it: schedule, manual, bootstrap (the start of a fleet) or backfill.'),
            (NULL, 'updated_at', 'When it was last changed by a deployment or an operator.'),
            (NULL, 'waiting', 'How many wait in line.'),
            (NULL, 'working', 'How many are enqueued, run, or wait to be tried again.'),

            ('agenda', 'run_at', 'When it is to run; null for a run in line.'),
            ('agenda', 'run_id', 'The run, an id of the view runs; null for a tick that is not decided yet.'),
            ('agenda', 'status', 'planned for a job''s next tick; else the status of the run.'),
            ('archived_rows', 'job_name', 'The job that deleted the row.'),
            ('backfill_requests', 'cancelled', 'Somebody took back what had not begun.'),
            ('backfill_requests', 'error', 'Why nothing is run, or who cancelled it and why.'),
            ('backfills', 'error', 'Why nothing is run, or who cancelled it and why.'),
            ('backfills', 'runs', 'How many runs it has in the ledger.'),
            ('backfills', 'status', 'requested (not decided yet), running, done, cancelled or refused.'),
            ('cleaned_by_day', 'day', 'The day, in UTC, on which the runs ended.'),
            ('cleaned_by_day', 'duration', 'How long those runs took, together.'),
            ('cleaned_by_day', 'most_rows', 'How many the largest of those runs changed.'),
            ('cleaned_by_day', 'rows_affected', 'How many rows the job''s runs changed that day; those of dry runs do not count.'),
            ('cleaned_by_day', 'runs', 'How many runs of the day changed any.'),
            ('failures', 'paused', 'Whether the job is paused now.'),
            ('failures', 'status', 'failed, or blocked: it would have passed a bound, and changed nothing.'),
            ('failures', 'succeeded_since', 'Whether a later run of the job succeeded.'),
            ('job_definitions', 'declared', 'What the last deployment declared. A leader that declares the same leaves the row alone.'),
            ('job_definitions', 'dry_run', 'Whether scheduled runs are dry runs, in rollout or not.'),
            ('job_definitions', 'dry_run_end_told', 'The leader has said in its log that the rollout is over.'),
            ('job_definitions', 'dry_run_ended_by', 'Which role ended the rollout before its time.'),
            ('job_definitions', 'dry_run_until', 'When the rollout ends, or ended; null for a job that was declared without dry_run_for.'),
            ('job_definitions', 'enqueued_count', 'How many runs were handed to River.'),
            ('job_definitions', 'good_schedule', 'The newest schedule that the leader could read: in force while problem is set.'),
            ('job_definitions', 'good_timezone', 'The time zone that goes with good_schedule.'),
            ('job_definitions', 'paused_with_scheduler', 'The pause is that of the whole scheduler.'),
            ('job_definitions', 'plan_from', 'Where next_run is null: ticks up to here are decided, or accounted for.'),
            ('job_definitions', 'schedule', 'The schedule that a deployment declared.'),
            ('job_runs', 'details', 'Counts per target, batches, plan, cursor and progress, as JSON.'),
            ('job_runs', 'enqueued_at', 'When it was handed to River.'),
            ('job_runs', 'reason', 'Why it stands as it does, as a word or, if somebody cancelled it, as text.'),
            ('job_stats', 'last_blocked', 'When the newest run that was blocked ended.'),
            ('job_stats', 'last_failure', 'When the newest run that failed ended.'),
            ('job_stats', 'last_success', 'When the newest run that succeeded ended.'),
            ('job_stats', 'missed', 'How many ticks were missed.'),
            ('job_stats', 'rows_affected', 'How many rows its runs changed; those of dry runs do not count.'),
            ('job_stats', 'runs', 'How many have started.'),
            ('job_stats', 'since', 'Since when the ledger has runs of the job.'),
            ('jobs', 'dry_run', 'Whether its runs are dry runs always; see dry_run_until.'),
            ('jobs', 'last_duration', 'How long the newest run that has started took; null while it runs.'),
            ('jobs', 'last_rows', 'How many rows the newest run that has started changed.'),
            ('jobs', 'problem', 'What somebody has to look at: why the schedule set last is not in force, or what blocked the newest run.'),
            ('jobs', 'state', 'active, paused, disabled or unregistered (the leader''s program does not have it).'),
            ('leader', 'acquired_at', 'Since when it leads, by the database''s clock.'),
            ('leadership', 'acquired_at', 'When it took over, by the database''s clock.'),
            ('leadership', 'bootstrap_due', 'A fleet has started, and its bootstrap jobs are not enqueued yet.'),
            ('leadership', 'replica_id', 'The replica that led last.'),
            ('operation_log', 'action', 'What was done, mostly the name of the function.'),
            ('operation_log', 'application', 'The application_name of the session, such as psql.'),
            ('operation_log', 'at', 'When, by the database''s clock.'),
            ('operation_log', 'client_addr', 'From which address; null for a local socket.'),
            ('operation_log', 'details', 'What was changed, from what to what, as JSON.'),
            ('operation_log', 'job_name', 'The job; null for the whole scheduler.'),
            ('operation_log', 'reason', 'The reason that was given.'),
            ('operation_log', 'run_id', 'The run; the ledger may have forgotten it.'),
            ('operation_log', 'who', 'The role that had logged in (session_user).'),
            ('operations', 'action', 'What was done, mostly the name of the function; change_job for an UPDATE of scheduled_jobs.'),
            ('operations', 'application', 'The application_name of the session, such as psql; over HTTP, who asked it.'),
            ('operations', 'at', 'When, by the database''s clock.'),
            ('operations', 'client_addr', 'From which address; null for a local socket.'),
            ('operations', 'details', 'What was changed, from what to what, or asked for, as JSON.'),
            ('operations', 'job_name', 'The job; null for the whole scheduler.'),
            ('operations', 'reason', 'The reason that was given.'),
            ('operations', 'run_id', 'The run; the ledger may have forgotten it.'),
            ('operations', 'who', 'The role that had logged in (session_user).'),
            ('overdue', 'has_leader', 'Whether anybody leads. If so, somebody may hold a lock on the job''s row, or the server is slow.'),
            ('overdue', 'late_by', 'For how long the tick has been due.'),
            ('overdue', 'next_run', 'The tick that is due.'),
            ('replicas', 'client_addr', 'From where it is connected. Null for those who may not see it: another role''s, without pg_read_all_stats.'),
            ('replicas', 'connected_at', 'Since when it is connected. Null for those who may not see it: another role''s, without pg_read_all_stats.'),
            ('replicas', 'is_leader', 'Whether it leads.'),
            ('replicas', 'running', 'How many runs it works on.'),
            ('retention_candidates', 'first_block', 'The first block of a range; null for a list of rows.'),
            ('retention_candidates', 'last_block', 'The last block of a range; null for a list of rows.'),
            ('retention_candidates', 'n', 'The number of the chunk''s first row, from 1.'),
            ('retention_candidates', 'row_count', 'How many rows the chunk has.'),
            ('retention_candidates', 'row_ctid', 'A row, as versions of the scheduler before the fifth migration wrote it.'),
            ('retention_candidates', 'row_ctids', 'The rows of a list.'),
            ('retention_candidates', 'wave', 'Which rows of their pages these are, counted from 1; 0 where that does not matter.'),
            ('role_grants', 'granted_at', 'When the role was first named.'),
            ('role_grants', 'granted_by', 'Which role ran the script.'),
            ('role_grants', 'kind', 'reader, operator or serve.'),
            ('role_grants', 'role_name', 'The role.'),
            ('rollout', 'blocked', 'How many dry runs were blocked.'),
            ('rollout', 'dry_runs', 'How many dry runs have succeeded.'),
            ('rollout', 'failed', 'How many dry runs failed.'),
            ('rollout', 'last_rows', 'How many rows the newest dry run would have changed.'),
            ('rollout', 'last_run', 'When the newest dry run began.'),
            ('running', 'running_for', 'For how long it has been running.'),
            ('runs', 'duration', 'How long it took, or has taken until now.'),
            ('scheduled_jobs', 'dry_run', 'Whether its runs are dry runs always.'),
            ('scheduled_jobs', 'schedule', 'The schedule that a deployment declared; schedule_override goes before it.'),
            ('scheduler_state', 'disabled_at', 'Since when the leader''s configuration disables the scheduler; null: it does not.'),
            ('schema_migrations', 'dirty', 'A migration was begun and not finished.'),
            ('schema_migrations', 'version', 'The newest migration that was begun.'),
            ('undecided_spans', 'after', 'Ticks after this are meant.'),
            ('undecided_spans', 'has_ticks', 'False: the job was disabled, and the span only tells its former schedule.'),
            ('undecided_spans', 'reason', 'Why the ticks are missed.'),
            ('undecided_spans', 'schedule', 'The schedule that was in force.'),
            ('undecided_spans', 'timezone', 'The time zone that was in force.'),
            ('undecided_spans', 'up_to', 'Ticks up to this are meant.'),
            ('undecided_spans', 'was_active', 'The job was to run.'),
            ('undecided_spans', 'xact', 'The transaction that changed the job.')
        )
        SELECT c.oid::regclass AS relation, a.attname, (
            SELECT e.explanation FROM explanations e
            WHERE e.name = a.attname AND coalesce(e.relation, c.relname) = c.relname
            ORDER BY e.relation NULLS LAST LIMIT 1) AS explanation
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'v') AND c.relname NOT LIKE 'river\_%'
          AND col_description(c.oid, a.attnum) IS NULL
        ORDER BY c.relname, a.attnum
    LOOP
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', place.relation, place.attname, place.explanation);
    END LOOP;
    EXECUTE format('COMMENT ON SCHEMA %I IS %L', current_schema(),
        'A scheduler, with River''s tables. Read its views: jobs, runs, running, failures, overdue, agenda, leader, replicas. Steer by its functions: run_now, pause_job, cancel_run and others (\df+). Write no table of it.');
    IF to_regclass('schema_migrations') IS NOT NULL THEN
        COMMENT ON TABLE schema_migrations IS 'The version of the schema, kept by "scheduler migrate".';
    END IF;
END;
$$;

COMMENT ON TABLE role_grants IS 'Roles that "scheduler roles" has given privileges. "scheduler migrate up" gives them those on what is new. Delete a row to have a role left alone.';
COMMENT ON TABLE operation_log IS 'Who paused, resumed, rescheduled, changed or cancelled what, when and why; kept for a year. Read the view operations instead.';
COMMENT ON VIEW running IS 'What runs now, the longest first: where, for how long, how far, at what rate, and how much longer.';
COMMENT ON VIEW overdue IS 'Jobs whose tick has been due for more than five seconds, and is not decided. Empty if all is well.';
COMMENT ON VIEW failures IS 'The last failure of each job that has had one, the newest first, blocked runs among them; succeeded_since tells whether it is over.';
COMMENT ON VIEW cleaned_by_day IS 'How many rows each job changed a day, in UTC, today and the thirty days before. Reads the ledger of those days.';
COMMENT ON VIEW operations IS 'Who did what to the scheduler, newest first: pauses, changes and cancellations of a year; runs and backfills that were asked for, as long as the ledger has them.';
COMMENT ON VIEW job_stats IS 'Counts and durations of each job over what the ledger still holds, since the given time. Reads the whole ledger: not for a page that is drawn each second.';

COMMENT ON FUNCTION run_now(text, jsonb, boolean) IS 'Asks for a run, and returns its id in the view runs. The leader decides it within milliseconds of the commit, by the job''s overlap policy. parameters: set over the job''s own. dry_run: report and change nothing; null leaves that to the job. Errors: SC001 unknown job, SC002 a parameter is wrong, SC003 the job is paused or not registered. For operators.';
COMMENT ON FUNCTION run_at(text, timestamptz, jsonb, boolean) IS 'Asks for one run at a time to come, and returns its id in the view runs. If nobody leads at that time, it is run when somebody does; until then cancel_run(id) takes it back. parameters, dry_run: as in run_now. Errors: SC001 unknown job, SC002 a parameter is wrong, SC003 the job is not registered, SC004 the time has passed or lies beyond the year 2199. For operators.';
COMMENT ON FUNCTION cancel_run(bigint, text) IS 'Cancels a run that has not ended. One that runs stops at once; what its committed batches did stays. reason: kept in the ledger with who did it; 2000 characters at most. Errors: SC003 the run has ended, SC004 the reason is too long, SC005 unknown run. For operators.';
COMMENT ON FUNCTION cancel_runs(text, text) IS 'Cancels what runs and waits of a job, but not what is scheduled for later, and returns how many runs that were. reason: as in cancel_run. Errors: SC001 unknown job, SC004 the reason is too long. For operators.';
COMMENT ON FUNCTION pause_job(text, text, boolean) IS 'Stops the job from being enqueued, until resume_job. reason: required, for whoever finds it paused; 2000 characters at most. cancel_running: cancels what has begun, too, which else goes on. A pause that is there stays as it is. Errors: SC001 unknown job, SC004 no reason, or one that is too long. For operators.';
COMMENT ON FUNCTION resume_job(text) IS 'Lets a paused job run again, from now on: ticks that passed meanwhile are not made up for; the ledger counts them as missed. Does nothing to a job that is not paused. Errors: SC001 unknown job, SC003 the whole scheduler is paused. For operators.';
COMMENT ON FUNCTION pause_scheduler(text, boolean) IS 'Pauses every job, and those that are declared later, until resume_scheduler. reason, cancel_running: as in pause_job. Errors: SC004 no reason, or one that is too long. For operators.';
COMMENT ON FUNCTION resume_scheduler() IS 'Ends pause_scheduler, from now on. Jobs that were paused by themselves stay paused. Does nothing if the scheduler is not paused. For operators.';
COMMENT ON FUNCTION reschedule_job(text, text) IS 'Sets a schedule over the declared one, from now on; null takes it back. schedule: cron text, 1000 bytes at most. Only the leader can read that: if it cannot, the former schedule stays in force, and problem in the view jobs says why. Errors: SC001 unknown job, SC004 the text is empty or too long. For operators.';
COMMENT ON FUNCTION backfill(text, timestamptz, timestamptz, integer, boolean, jsonb, boolean) IS 'Runs a job for the ticks of its schedule between two past times, both included, oldest first and one after the other (all at once if its overlap is allow), and returns the id in the view backfills. run_limit: 1 to 10000 runs at most. again: ticks that have succeeded, too. parameters, dry_run: as in run_now. Errors: SC001 unknown job, SC002 a parameter is wrong, SC003 the job is paused or not registered, SC004 the times or the limit make no sense. For operators.';
COMMENT ON FUNCTION cancel_backfill(bigint, text) IS 'Takes back the runs of a backfill that have not begun, and returns how many. The one that runs goes on; cancel_run cancels it. reason: as in cancel_run. Errors: SC004 the reason is too long, SC006 unknown backfill. For operators.';
COMMENT ON FUNCTION end_dry_run(text) IS 'Ends a job''s rollout before its time: its scheduled runs are real from now on. Declaring the job again does not begin it anew. Errors: SC001 unknown job, SC003 the job is not in rollout. For operators.';

COMMENT ON FUNCTION lock_key() IS 'The second half of the keys of this schema''s advisory locks: a hash of its name. For everybody who reads the views leader and replicas.';
COMMENT ON FUNCTION schedule_in_force(job_definitions) IS 'The schedule that a job follows: while problem is set, the newest one that could be read. For everybody who reads the view jobs.';
COMMENT ON FUNCTION timezone_in_force(job_definitions) IS 'The time zone that goes with schedule_in_force. For everybody who reads the view jobs.';
COMMENT ON FUNCTION migrated_version() IS 'The newest migration that has really run. For everybody who checks the schema.';
COMMENT ON FUNCTION oldest_compatible_version() IS 'The oldest build, by its newest migration, that works with this schema. For everybody who checks the schema.';
COMMENT ON FUNCTION wait_for_leader_lock() IS 'Waits for the leader''s lock for 900 ms, and returns whether the session got it; false is no proof that it did not. For replicas.';
COMMENT ON FUNCTION join_fleet(boolean) IS 'Takes the session''s presence lock. is_start: the replica starts, and if it is the first, the bootstrap jobs are due. For replicas.';
COMMENT ON FUNCTION wake_leader() IS 'Wakes the leader by NOTIFY. What it has to do it finds by itself. For replicas.';
COMMENT ON FUNCTION known_job(text) IS 'Internal: the job of that name. Errors: SC001 unknown job.';
COMMENT ON FUNCTION check_parameters(job_definitions, jsonb) IS 'Internal: raises SC002 if the job does not take these parameters.';
COMMENT ON FUNCTION check_policies(job_definitions) IS 'Internal: raises SC002 if a policy of the job is not allowed.';
COMMENT ON FUNCTION check_runnable(job_definitions, jsonb, boolean) IS 'Internal: raises SC003 if the job cannot be run, SC002 if it does not take these parameters.';
COMMENT ON FUNCTION check_texts(text, text) IS 'Internal: raises SC004 for a reason of more than 2000 characters, or a schedule of more than 1000 bytes.';
COMMENT ON FUNCTION cancel_running(text, text) IS 'Internal: cancels what runs and waits of a job, but not what is scheduled for later. Part of pausing with cancel_running; else use cancel_runs. Errors: SC001 unknown job.';
COMMENT ON FUNCTION record_operation(text, text, bigint, bigint, text, jsonb) IS 'Internal: writes a line of operation_log in the name of session_user, and takes away what is older than a year.';
COMMENT ON FUNCTION job_definitions_replan() IS 'Trigger: a change of what decides the next run makes the leader plan it anew. Raises SC002 for a policy that is not allowed, SC004 for another name.';
COMMENT ON FUNCTION job_definitions_wake() IS 'Trigger: wakes the leader when a job was changed.';
COMMENT ON FUNCTION job_definitions_settle() IS 'Trigger: sets the moment of a change to that of its commit.';
COMMENT ON FUNCTION job_definitions_keep() IS 'Trigger: raises SC004 if a job that is registered, or has runs that have not ended, is to be deleted.';
COMMENT ON FUNCTION job_definitions_join_pause() IS 'Trigger: a job that is declared while the scheduler is paused is paused with it.';
COMMENT ON FUNCTION job_definitions_log() IS 'Trigger: writes to operation_log what operators change of a job.';
COMMENT ON FUNCTION scheduler_state_log() IS 'Trigger: writes to operation_log that the scheduler was paused or resumed.';
COMMENT ON FUNCTION job_runs_follow_river() IS 'Trigger: the ledger follows River''s row, whoever changes it.';
COMMENT ON FUNCTION job_runs_wake_line() IS 'Trigger: wakes the leader when a run has ended for which others wait.';
COMMENT ON FUNCTION river_job_clock() IS 'Trigger: the database''s clock says when a run of River''s may start.';
COMMENT ON FUNCTION river_job_finalized() IS 'Trigger: the database''s clock says when a run of River''s ended.';

-- What has really run: a migration and this line commit together, unlike the table
-- of migrations.
CREATE OR REPLACE FUNCTION migrated_version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 6';
