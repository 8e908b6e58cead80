-- Overlap and catch-up policies, one-off runs, backfills, a pause of the whole
-- scheduler, and an account of every tick that a change of a job leaves undecided.

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
            LOCK TABLE river_job, jobs, runs IN ACCESS EXCLUSIVE MODE;
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

ALTER TABLE job_definitions
    DROP CONSTRAINT job_definitions_overlap,
    ADD CONSTRAINT job_definitions_overlap CHECK (overlap IN ('skip', 'queue', 'allow', 'cancel')),
    DROP CONSTRAINT job_definitions_catch_up,
    ADD CONSTRAINT job_definitions_catch_up CHECK (catch_up IN ('latest', 'all', 'none')),
    ADD COLUMN catch_up_limit integer NOT NULL DEFAULT 100 CHECK (catch_up_limit BETWEEN 1 AND 10000),
    -- Null: of any age.
    ADD COLUMN catch_up_max_age interval CHECK (catch_up_max_age > interval '0' AND catch_up_max_age <= interval '100 years'),
    -- The newest schedule that the leader could read. In force while problem is set.
    ADD COLUMN good_schedule text,
    ADD COLUMN good_timezone text,
    -- Where next_run is null, ticks up to here are decided or accounted for.
    ADD COLUMN plan_from timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN paused_with_scheduler boolean NOT NULL DEFAULT false,
    ADD CHECK (isfinite(next_run)),
    ADD CHECK (isfinite(paused_at));

UPDATE job_definitions SET good_schedule = coalesce(schedule_override, schedule), good_timezone = timezone
WHERE next_run IS NOT NULL AND problem IS NULL;

-- Two more statuses: scheduled, asked for at a later time; waiting, in line until
-- the runs before it have ended.
ALTER TABLE job_runs
    DROP CONSTRAINT job_runs_status,
    -- Not validated: the rows that are there passed a narrower check.
    ADD CONSTRAINT job_runs_status CHECK (status IN ('requested', 'scheduled', 'waiting', 'pending', 'running', 'retrying', 'success', 'failed', 'cancelled', 'skipped', 'missed')) NOT VALID,
    ADD COLUMN backfill_id bigint;

-- Each of these reads the ledger once.
CREATE INDEX job_runs_scheduled ON job_runs (tick) WHERE status = 'scheduled';
-- A job's line: the one that overlap put there first, then the oldest tick.
CREATE INDEX job_runs_waiting ON job_runs (job_name, (reason IS DISTINCT FROM 'queued'), tick, id) WHERE status = 'waiting';
CREATE INDEX job_runs_backfill ON job_runs (job_name, tick) WHERE backfill_id IS NOT NULL;
-- A job's newest run is the one that has started last: a one-off or a backfill has
-- an older id.
DROP INDEX job_runs_started;
CREATE INDEX job_runs_started ON job_runs (job_name, started_at DESC, id DESC) WHERE started_at IS NOT NULL;
CREATE INDEX job_runs_backfill_id ON job_runs (backfill_id, status) WHERE backfill_id IS NOT NULL;

-- Stretches of time for which a job's ticks are not decided and will not be: the
-- job was changed, paused or not registered. The leader counts their ticks into one
-- missed row of the ledger each, and deletes them.
CREATE TABLE undecided_spans (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_name text NOT NULL,
    schedule text NOT NULL,
    timezone text NOT NULL,
    -- Ticks after the one and up to the other.
    after    timestamptz NOT NULL,
    up_to    timestamptz NOT NULL,
    reason   text NOT NULL,
    dry_run  boolean NOT NULL,
    -- The job was to run: what was due long before up_to, somebody or nobody was late
    -- to decide.
    was_active boolean NOT NULL,
    -- A disabled job has no ticks; its span only tells the former schedule.
    has_ticks boolean NOT NULL DEFAULT true,
    xact     xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX undecided_spans_job_name ON undecided_spans (job_name, id);
COMMENT ON TABLE undecided_spans IS 'Ticks that a change of a job left undecided, until the leader has written them to job_runs as missed. Mostly empty.';

-- One row: is the whole scheduler paused?
CREATE TABLE scheduler_state (
    singleton     boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    paused_at     timestamptz,
    paused_by     text,
    paused_reason text,
    -- Since when the leader's configuration disables the scheduler.
    disabled_at   timestamptz,
    CHECK ((paused_at IS NULL) = (paused_by IS NULL))
);
INSERT INTO scheduler_state DEFAULT VALUES;
COMMENT ON TABLE scheduler_state IS 'Whether the whole scheduler is paused, since when, by whom and why; and whether the leader''s configuration disables it. Not to be written: see pause_scheduler() and resume_scheduler().';

-- Backfills as they were asked for. The view backfills adds how far they are.
CREATE TABLE backfill_requests (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_name     text NOT NULL,
    from_tick    timestamptz NOT NULL,
    to_tick      timestamptz NOT NULL CHECK (to_tick >= from_tick),
    run_limit    integer CHECK (run_limit BETWEEN 1 AND 10000),
    again        boolean NOT NULL,
    parameters   jsonb NOT NULL CHECK (jsonb_typeof(parameters) = 'object'),
    dry_run      boolean NOT NULL,
    requested_by text NOT NULL DEFAULT session_user,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    decided_at   timestamptz,
    -- Ticks that the leader left out: they had succeeded, or were about to be run.
    left_out     bigint,
    -- Ticks beyond run_limit.
    remaining    bigint,
    -- Somebody took back what had not begun.
    cancelled    boolean NOT NULL DEFAULT false,
    -- Why nothing is run, or who cancelled it and why.
    error        text
);
CREATE INDEX backfill_requests_undecided ON backfill_requests (id) WHERE decided_at IS NULL;
COMMENT ON TABLE backfill_requests IS 'Backfills as they were asked for. Read the view backfills instead.';

-- The schedule that a job follows: while there is a problem with what was set last,
-- the newest one that could be read.
CREATE FUNCTION schedule_in_force(job job_definitions) RETURNS text LANGUAGE sql IMMUTABLE
AS $$ SELECT CASE WHEN job.problem IS NULL OR job.good_schedule IS NULL THEN coalesce(job.schedule_override, job.schedule) ELSE job.good_schedule END $$;

CREATE FUNCTION timezone_in_force(job job_definitions) RETURNS text LANGUAGE sql IMMUTABLE
AS $$ SELECT CASE WHEN job.problem IS NULL OR job.good_timezone IS NULL THEN job.timezone ELSE job.good_timezone END $$;

-- What SQL may set, but for cron text and time zones, which only the leader can read.
CREATE FUNCTION check_policies(job job_definitions) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    problem text := CASE
        WHEN job.overlap IS NULL OR job.overlap NOT IN ('skip', 'queue', 'allow', 'cancel') THEN format('overlap is %L, must be one of skip, queue, allow, cancel', job.overlap)
        WHEN job.catch_up IS NULL OR job.catch_up NOT IN ('latest', 'all', 'none') THEN format('catch_up is %L, must be one of latest, all, none', job.catch_up)
        WHEN job.catch_up_limit IS NULL OR job.catch_up_limit NOT BETWEEN 1 AND 10000 THEN format('catch_up_limit is %L, must be between 1 and 10000', job.catch_up_limit)
        WHEN job.catch_up_max_age NOT BETWEEN interval '1 microsecond' AND interval '100 years' THEN format('catch_up_max_age is %L, must be positive and at most 100 years, or null for any age', job.catch_up_max_age)
        WHEN job.timeout IS NULL OR job.timeout NOT BETWEEN interval '1 millisecond' AND interval '100 years' THEN format('timeout is %L, must be between 1 millisecond and 100 years', job.timeout)
        WHEN job.max_attempts IS NULL OR job.max_attempts NOT BETWEEN 1 AND 32767 THEN format('max_attempts is %L, must be between 1 and 32767', job.max_attempts)
        WHEN coalesce(trim(job.timezone), '') = '' THEN 'timezone is empty, must be an IANA name such as Europe/Berlin, or UTC'
        WHEN coalesce(trim(job.schedule), '') = '' THEN 'schedule is empty; the declared one is set by a deployment, schedule_override by SQL'
    END;
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'job "%": %', job.job_name, problem USING ERRCODE = 'SC002';
    END IF;
END;
$$;

-- A change of what decides the next run asks the leader to plan it anew. What was
-- due until now and is not decided stays in the ledger.
CREATE OR REPLACE FUNCTION job_definitions_replan() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    was_active boolean := OLD.enabled AND OLD.registered AND OLD.paused_at IS NULL;
    new_text boolean := ROW (coalesce(NEW.schedule_override, NEW.schedule), NEW.timezone)
        IS DISTINCT FROM ROW (coalesce(OLD.schedule_override, OLD.schedule), OLD.timezone);
    clock timestamptz := clock_timestamp();
BEGIN
    NEW.updated_at := clock;
    NEW.paused_with_scheduler := NEW.paused_with_scheduler AND NEW.paused_at IS NOT NULL;
    IF NEW.job_name <> OLD.job_name THEN
        RAISE EXCEPTION 'job "%" cannot be renamed by SQL', OLD.job_name USING ERRCODE = 'SC004',
            HINT = 'A job has the name that its code gives it. The history of a name that is gone stays.';
    END IF;
    PERFORM check_policies(NEW);
    -- What a deployment declares, its leader has checked.
    IF NEW.parameters IS DISTINCT FROM OLD.parameters AND NEW.declared IS NOT DISTINCT FROM OLD.declared THEN
        PERFORM check_parameters(NEW, NEW.parameters);
    END IF;
    IF new_text OR ROW (NEW.enabled, NEW.registered, NEW.paused_at IS NULL)
       IS DISTINCT FROM ROW (OLD.enabled, OLD.registered, OLD.paused_at IS NULL)
    THEN
        -- Of a planned job, only a tick that is due already is left undecided. An empty
        -- span tells the leader the former schedule.
        INSERT INTO undecided_spans (job_name, schedule, timezone, after, up_to, reason, dry_run, was_active, has_ticks)
        VALUES (OLD.job_name, schedule_in_force(OLD), timezone_in_force(OLD),
                CASE WHEN was_active AND OLD.next_run > clock THEN clock
                     ELSE coalesce(OLD.next_run - interval '1 microsecond', OLD.plan_from) END,
                clock,
                CASE WHEN OLD.paused_at IS NOT NULL THEN 'paused'
                     WHEN NOT OLD.registered THEN 'unregistered'
                     WHEN NEW.paused_at IS NOT NULL THEN 'paused'
                     WHEN NOT NEW.registered THEN 'unregistered'
                     WHEN NOT NEW.enabled THEN 'disabled'
                     ELSE 'rescheduled' END,
                OLD.dry_run, was_active, OLD.enabled);
        NEW.plan_from := clock;
        NEW.next_run := NULL;
        -- After a clock that was set back: what is decided of times to come binds nobody
        -- but the ledger.
        NEW.last_tick := least(NEW.last_tick, clock);
        IF new_text THEN
            NEW.problem := NULL;
        END IF;
    END IF;
    RETURN NEW;
END;
$$;

-- A change is in force when it is committed: until then the leader cannot see it, nor
-- decide the job. So its moment is set again at the commit. What several changes in
-- one transaction had in between was never in force.
CREATE FUNCTION job_definitions_settle() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    clock timestamptz := clock_timestamp();
    first_span bigint;
BEGIN
    UPDATE job_definitions d SET plan_from = clock, updated_at = clock WHERE d.id = NEW.id AND d.plan_from = NEW.plan_from;
    IF NOT FOUND THEN
        RETURN NULL; -- not the last change
    END IF;
    SELECT min(s.id) INTO first_span FROM undecided_spans s WHERE s.job_name = NEW.job_name AND s.xact = pg_current_xact_id();
    DELETE FROM undecided_spans s WHERE s.job_name = NEW.job_name AND s.xact = pg_current_xact_id() AND s.id > first_span;
    UPDATE undecided_spans s SET after = CASE WHEN s.has_ticks THEN s.after ELSE clock END, up_to = clock WHERE s.id = first_span;
    RETURN NULL;
END;
$$;

CREATE CONSTRAINT TRIGGER settle
AFTER UPDATE OF schedule, schedule_override, timezone, enabled, paused_at, registered ON job_definitions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
WHEN (NEW.next_run IS NULL AND NEW.plan_from > OLD.plan_from)
EXECUTE FUNCTION job_definitions_settle();

-- A job that is deleted would come back with the next leader, without what operators
-- had set.
CREATE FUNCTION job_definitions_keep() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF OLD.registered OR EXISTS (SELECT FROM job_runs WHERE job_name = OLD.job_name AND status IN ('requested', 'pending', 'running', 'retrying'))
       OR EXISTS (SELECT FROM job_runs WHERE job_name = OLD.job_name AND status IN ('scheduled', 'waiting')) THEN
        RAISE EXCEPTION 'job "%" cannot be deleted: it is registered, or has runs that have not ended', OLD.job_name USING ERRCODE = 'SC004',
            HINT = 'Set enabled to false, or take the job out of the program. When it is not registered any more, and its runs have ended or were cancelled, its row can go; its history stays.';
    END IF;
    DELETE FROM undecided_spans WHERE job_name = OLD.job_name;
    RETURN OLD;
END;
$$;

CREATE TRIGGER keep BEFORE DELETE ON job_definitions FOR EACH ROW EXECUTE FUNCTION job_definitions_keep();

DROP TRIGGER replan ON job_definitions;
CREATE TRIGGER replan
BEFORE UPDATE OF job_name, description, schedule, schedule_override, timezone, enabled, paused_at, registered, overlap, catch_up, catch_up_limit, catch_up_max_age, timeout, max_attempts, dry_run, parameters
ON job_definitions FOR EACH ROW EXECUTE FUNCTION job_definitions_replan();

-- A job that is declared while the scheduler is paused is paused with it. The lock
-- makes a pause that is being committed wait for the job, or the job for it.
CREATE FUNCTION job_definitions_join_pause() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    state scheduler_state;
BEGIN
    SELECT * INTO state FROM scheduler_state FOR SHARE;
    IF state.paused_at IS NOT NULL THEN
        NEW.paused_at := state.paused_at;
        NEW.paused_by := state.paused_by;
        NEW.paused_reason := state.paused_reason;
        NEW.paused_with_scheduler := true;
    END IF;
    RETURN NEW;
END;
$$;

CREATE TRIGGER join_pause BEFORE INSERT ON job_definitions FOR EACH ROW EXECUTE FUNCTION job_definitions_join_pause();

-- A run has ended: the leader may let the next one of its job's line begin.
CREATE FUNCTION job_runs_wake_line() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF EXISTS (SELECT FROM job_runs WHERE job_name = NEW.job_name AND status = 'waiting') THEN
        PERFORM wake_leader();
    END IF;
    RETURN NULL;
END;
$$;

CREATE TRIGGER wake_line
AFTER UPDATE OF status ON job_runs FOR EACH ROW
WHEN (NEW.status IN ('success', 'failed', 'cancelled') AND OLD.status IN ('pending', 'running', 'retrying'))
EXECUTE FUNCTION job_runs_wake_line();

CREATE OR REPLACE VIEW scheduled_jobs AS
SELECT d.id,
       d.job_name,
       d.schedule,
       d.enabled,
       (SELECT r.started_at FROM job_runs r WHERE r.job_name = d.job_name AND r.started_at IS NOT NULL ORDER BY r.started_at DESC, r.id DESC LIMIT 1) AS last_run,
       -- The leader's own: no columns that UPDATE could reach.
       coalesce(d.next_run, NULL) AS next_run,
       (SELECT r.status FROM job_runs r WHERE r.job_name = d.job_name AND r.started_at IS NOT NULL ORDER BY r.started_at DESC, r.id DESC LIMIT 1) AS last_status,
       (SELECT CASE WHEN r.status IN ('failed', 'retrying', 'cancelled') THEN r.error END
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

CREATE OR REPLACE VIEW jobs AS
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
       s.problem,
       s.description,
       s.parameters
FROM scheduled_jobs s
JOIN job_definitions d ON d.id = s.id
LEFT JOIN LATERAL (
    SELECT r.started_at, r.finished_at, r.rows_affected
    FROM job_runs r WHERE r.job_name = s.job_name AND r.started_at IS NOT NULL ORDER BY r.started_at DESC, r.id DESC LIMIT 1
) newest ON true
ORDER BY s.job_name;
COMMENT ON VIEW jobs IS 'Every job: whether it runs, by which schedule, when next, and how the last run went. problem says why the schedule set last is not in force.';

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
       r.backfill_id
FROM job_runs r
ORDER BY r.id DESC;

CREATE VIEW agenda AS
SELECT a.run_at, a.job_name, a.status, a.trigger, a.tick, a.run_id, a.requested_by,
       EXISTS (SELECT FROM job_definitions d WHERE d.job_name = a.job_name AND d.paused_at IS NOT NULL) AS paused
FROM (
    SELECT d.next_run AS run_at, d.job_name, 'planned' AS status, 'schedule' AS trigger, d.next_run AS tick, NULL::bigint AS run_id, NULL::text AS requested_by
    FROM job_definitions d
    WHERE d.next_run IS NOT NULL
    UNION ALL
    -- Apart, so that each finds its own index.
    SELECT r.tick, r.job_name, r.status, r.trigger, r.tick, r.id, r.requested_by FROM job_runs r WHERE r.status = 'scheduled'
    UNION ALL
    SELECT NULL, r.job_name, r.status, r.trigger, r.tick, r.id, r.requested_by FROM job_runs r WHERE r.status = 'waiting'
    UNION ALL
    SELECT CASE WHEN r.status = 'retrying' THEN j.scheduled_at ELSE r.created_at END, r.job_name, r.status, r.trigger, r.tick, r.id, r.requested_by
    FROM job_runs r LEFT JOIN river_job j ON j.id = r.river_job_id
    WHERE r.status IN ('requested', 'pending', 'retrying')
) a
ORDER BY a.run_at NULLS FIRST, a.job_name, a.tick;
COMMENT ON VIEW agenda IS 'What comes next: the next tick of every job (status planned), and every run that has been asked for or waits. run_at is null for those in line. scheduler agenda shows all ticks of a day.';

CREATE VIEW backfills AS
SELECT b.id,
       b.job_name,
       b.from_tick,
       b.to_tick,
       b.run_limit,
       b.again,
       b.dry_run,
       b.requested_by,
       b.requested_at,
       b.decided_at,
       CASE WHEN b.decided_at IS NULL THEN 'requested'
            WHEN r.waiting + r.working > 0 THEN 'running'
            WHEN b.cancelled THEN 'cancelled'
            WHEN b.error IS NOT NULL THEN 'refused'
            ELSE 'done' END AS status,
       r.runs,
       b.left_out,
       b.remaining,
       r.waiting,
       r.working,
       r.success,
       r.failed,
       r.cancelled,
       r.skipped,
       b.error
FROM backfill_requests b
CROSS JOIN LATERAL (
    SELECT count(*) AS runs,
           count(*) FILTER (WHERE j.status = 'waiting') AS waiting,
           count(*) FILTER (WHERE j.status IN ('pending', 'running', 'retrying')) AS working,
           count(*) FILTER (WHERE j.status = 'success') AS success,
           count(*) FILTER (WHERE j.status = 'failed') AS failed,
           count(*) FILTER (WHERE j.status = 'cancelled') AS cancelled,
           count(*) FILTER (WHERE j.status = 'skipped') AS skipped
    FROM job_runs j WHERE j.backfill_id = b.id
) r
ORDER BY b.id DESC;
COMMENT ON VIEW backfills IS 'Backfills, newest first: how many runs they have, how many ticks were left out because they had succeeded, and how far they are.';

-- Two more SQLSTATEs: SC005 unknown run, SC006 unknown backfill.
CREATE FUNCTION check_runnable(job job_definitions, parameters jsonb, although_paused boolean DEFAULT false) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    IF NOT job.registered THEN
        RAISE EXCEPTION 'job "%" is not registered by the leader', job.job_name USING ERRCODE = 'SC003',
            HINT = 'Its code is gone from the running version, or its module is not imported.';
    END IF;
    IF job.paused_at IS NOT NULL AND NOT although_paused THEN
        RAISE EXCEPTION '% is paused since % by %: %',
            CASE WHEN job.paused_with_scheduler THEN 'the scheduler' ELSE 'job "' || job.job_name || '"' END,
            job.paused_at, job.paused_by, coalesce(job.paused_reason, 'no reason given')
            USING ERRCODE = 'SC003',
            HINT = 'Resume it first: ' || CASE WHEN job.paused_with_scheduler THEN 'resume_scheduler().' ELSE 'resume_job(''' || job.job_name || ''').' END;
    END IF;
    PERFORM check_parameters(job, parameters);
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

CREATE FUNCTION run_at(job_name text, at timestamptz, parameters jsonb DEFAULT '{}', dry_run boolean DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql
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
COMMENT ON FUNCTION run_at(text, timestamptz, jsonb, boolean) IS 'Asks for one run at a time to come. Returns its id in runs. If nobody leads at that time, it is run when somebody does. Until then cancel_run(id) takes it back.';

CREATE FUNCTION cancel_run(run_id bigint, reason text DEFAULT NULL) RETURNS void LANGUAGE plpgsql
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
COMMENT ON FUNCTION cancel_run(bigint, text) IS 'Cancels a run that has not ended. One that runs stops at once; what its committed batches did stays.';

CREATE FUNCTION cancel_running(the_name text, reason text) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    run_id bigint;
BEGIN
    PERFORM known_job(the_name);
    FOR run_id IN
        SELECT r.id FROM job_runs r WHERE r.job_name = the_name AND r.status IN ('requested', 'pending', 'running', 'retrying')
        UNION ALL
        SELECT r.id FROM job_runs r WHERE r.job_name = the_name AND r.status = 'waiting'
        ORDER BY id
    LOOP
        BEGIN
            PERFORM cancel_run(run_id, reason);
        EXCEPTION WHEN SQLSTATE 'SC003' THEN
            -- It has ended meanwhile.
        END;
    END LOOP;
END;
$$;

COMMENT ON FUNCTION cancel_running(text, text) IS 'Cancels what runs and waits of a job, but not what is scheduled for later. Part of pausing with cancel_running.';
COMMENT ON FUNCTION check_runnable(job_definitions, jsonb, boolean) IS 'Internal: raises an error if the job cannot be run with these parameters.';
COMMENT ON FUNCTION check_policies(job_definitions) IS 'Internal: raises an error if a policy of the job is not allowed.';
COMMENT ON FUNCTION schedule_in_force(job_definitions) IS 'The schedule that a job follows: while problem is set, the newest one that could be read.';
COMMENT ON FUNCTION timezone_in_force(job_definitions) IS 'The time zone that goes with schedule_in_force.';

DROP FUNCTION pause_job(text, text);
CREATE FUNCTION pause_job(job_name text, reason text, cancel_running boolean DEFAULT false) RETURNS void LANGUAGE plpgsql
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
COMMENT ON FUNCTION pause_job(text, text, boolean) IS 'Stops the job from being enqueued. A run that has begun goes on, unless cancel_running is set.';

CREATE OR REPLACE FUNCTION resume_job(job_name text) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    job job_definitions := known_job(resume_job.job_name);
    state scheduler_state;
BEGIN
    SELECT * INTO state FROM scheduler_state FOR SHARE;
    IF state.paused_at IS NOT NULL THEN
        RAISE EXCEPTION 'the scheduler is paused since % by %: %', state.paused_at, state.paused_by, coalesce(state.paused_reason, 'no reason given')
            USING ERRCODE = 'SC003', HINT = 'Resume the scheduler first: resume_scheduler(). Jobs that were paused by themselves stay paused.';
    END IF;
    UPDATE job_definitions d SET paused_at = NULL, paused_by = NULL, paused_reason = NULL WHERE d.id = job.id;
END;
$$;
COMMENT ON FUNCTION resume_job(text) IS 'Lets a paused job run again, from now on: ticks that passed meanwhile are not made up for; the ledger counts them as missed.';

CREATE FUNCTION pause_scheduler(reason text, cancel_running boolean DEFAULT false) RETURNS void LANGUAGE plpgsql
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
COMMENT ON FUNCTION pause_scheduler(text, boolean) IS 'Pauses every job, and those that are declared later. Runs that have begun go on, unless cancel_running is set.';

CREATE FUNCTION resume_scheduler() RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    UPDATE scheduler_state SET paused_at = NULL, paused_by = NULL, paused_reason = NULL;
    PERFORM FROM job_definitions d WHERE d.paused_with_scheduler ORDER BY d.job_name FOR NO KEY UPDATE;
    UPDATE job_definitions d SET paused_at = NULL, paused_by = NULL, paused_reason = NULL WHERE d.paused_with_scheduler;
END;
$$;
COMMENT ON FUNCTION resume_scheduler() IS 'Ends pause_scheduler(), from now on. Jobs that were paused by themselves stay paused.';

CREATE FUNCTION reschedule_job(job_name text, schedule text) RETURNS void LANGUAGE plpgsql
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
COMMENT ON FUNCTION reschedule_job(text, text) IS 'Sets the schedule over the declared one, from now on; null takes it back. If the leader cannot read it, the former one stays in force and problem in the view jobs says why.';

CREATE FUNCTION backfill(job_name text, from_tick timestamptz, to_tick timestamptz, run_limit integer DEFAULT NULL,
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
COMMENT ON FUNCTION backfill(text, timestamptz, timestamptz, integer, boolean, jsonb, boolean) IS 'Runs a job for the ticks of its schedule between two past times, both included, oldest first and one after the other (all at once if its overlap is allow). Ticks that have succeeded are left out unless again is set. Returns the id in the view backfills.';

CREATE FUNCTION cancel_backfill(backfill_id bigint, reason text DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql
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
COMMENT ON FUNCTION cancel_backfill(bigint, text) IS 'Takes back the runs of a backfill that have not begun, and says how many. The one that runs goes on; cancel_run() cancels it.';

-- The database's clock says when a run of River's ended, too: JobCompleteTx brings
-- the replica's.
CREATE FUNCTION river_job_finalized() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
    NEW.finalized_at := clock_timestamp();
    RETURN NEW;
END;
$$;

CREATE TRIGGER scheduler_finalized
BEFORE UPDATE OF finalized_at ON river_job FOR EACH ROW
WHEN (OLD.finalized_at IS NULL AND NEW.finalized_at IS NOT NULL AND jsonb_typeof(NEW.args -> 'run_id') = 'number')
EXECUTE FUNCTION river_job_finalized();

-- What has really run: a migration and this line commit together, unlike the table
-- of migrations.
CREATE OR REPLACE FUNCTION migrated_version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 4';
