-- Triggers, and the functions of the election.

-- The keys of our advisory locks, in the two-int form: a class of ours, and a
-- hash of the schema. Classes: 7235001 leader, 7235002 presence (shared),
-- 7235003 joining, 7235004 migrating, 7235005 proof of a real session.
CREATE FUNCTION lock_key() RETURNS integer LANGUAGE sql STABLE
SET search_path FROM CURRENT
AS $$ SELECT ('x' || substr(md5('systempromptio/scheduler:' || current_schema()), 1, 8))::bit(32)::integer $$;

-- Waits for the leader's lock, but never long: an unbounded wait would pin
-- backend_xmin and hold up VACUUM and CREATE INDEX CONCURRENTLY. 900 ms lies
-- below the default deadlock_timeout, after which log_lock_waits writes a line.
-- Catching the timeout keeps it out of the server's log.
-- False does not prove that the lock is not held: it can be granted in the very
-- instant of the timeout. Ask again on the same session, or close it.
CREATE FUNCTION wait_for_leader_lock() RETURNS boolean LANGUAGE plpgsql
SET search_path FROM CURRENT
SET lock_timeout = '900ms'
AS $$
BEGIN
    PERFORM pg_advisory_lock(7235001, lock_key());
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END;
$$;

-- Takes the presence lock of this session. The first replica of a fleet, one
-- that starts while no other is present, marks the bootstrap jobs as due.
CREATE FUNCTION join_fleet(is_start boolean) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7235003, lock_key());
    IF is_start AND NOT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND classid = 7235002 AND objid = (SELECT lock_key()::oid) AND objsubid = 2
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) THEN
        UPDATE leadership SET bootstrap_due = true;
    END IF;
    PERFORM pg_advisory_lock_shared(7235002, lock_key());
END;
$$;

CREATE FUNCTION wake_leader() RETURNS void LANGUAGE sql
SET search_path FROM CURRENT
AS $$ SELECT pg_notify(current_schema() || '.scheduler_wake', '') $$;

-- A change of what decides the next run asks the leader to plan it anew, from
-- now on.
CREATE FUNCTION job_definitions_replan() RETURNS trigger LANGUAGE plpgsql
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

CREATE FUNCTION job_definitions_wake() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    PERFORM wake_leader();
    RETURN NULL;
END;
$$;

CREATE TRIGGER wake
AFTER UPDATE OF schedule, schedule_override, timezone, enabled, paused_at, registered
ON job_definitions FOR EACH STATEMENT EXECUTE FUNCTION job_definitions_wake();

-- The ledger follows River's row, whoever changes it.
CREATE FUNCTION job_runs_follow_river() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    last_error jsonb;
    new_status text;
BEGIN
    IF TG_OP = 'DELETE' THEN
        UPDATE job_runs
        SET status = 'cancelled', reason = 'river_job_deleted', finished_at = clock_timestamp()
        WHERE id = (OLD.args ->> 'run_id')::bigint AND river_job_id = OLD.id
          AND status IN ('requested', 'pending', 'running', 'retrying');
        RETURN NULL;
    END IF;

    IF TG_OP = 'INSERT' THEN
        UPDATE job_runs
        SET river_job_id = NEW.id, status = 'pending', enqueued_at = clock_timestamp()
        WHERE id = (NEW.args ->> 'run_id')::bigint AND river_job_id IS NULL;
        RETURN NULL;
    END IF;

    last_error := NEW.errors[array_upper(NEW.errors, 1)];
    new_status := CASE NEW.state
        WHEN 'running' THEN 'running'
        WHEN 'completed' THEN 'success'
        WHEN 'discarded' THEN 'failed'
        WHEN 'cancelled' THEN 'cancelled'
        WHEN 'retryable' THEN 'retrying'
        ELSE CASE WHEN last_error IS NULL THEN 'pending' ELSE 'retrying' END
    END;
    UPDATE job_runs
    SET status = new_status,
        attempt = NEW.attempt,
        replica_id = CASE WHEN NEW.state = 'running' THEN NEW.attempted_by[array_upper(NEW.attempted_by, 1)] ELSE replica_id END,
        -- The database's clock: River's finalized_at is the replica's.
        started_at = CASE WHEN NEW.state = 'running' THEN coalesce(started_at, clock_timestamp()) ELSE started_at END,
        finished_at = CASE WHEN NEW.finalized_at IS NOT NULL THEN clock_timestamp() END,
        error = coalesce((last_error ->> 'error') || coalesce(E'\n' || nullif(last_error ->> 'trace', ''), ''), error)
    WHERE id = (NEW.args ->> 'run_id')::bigint AND river_job_id = NEW.id;

    -- Whoever cancels a running row without River's client stops the work, too:
    -- River's producers listen here (rivertype topic river_control).
    IF OLD.state = 'running' AND NEW.state = 'cancelled' THEN
        PERFORM pg_notify(current_schema() || '.river_control',
            json_build_object('action', 'cancel', 'job_id', NEW.id, 'queue', NEW.queue)::text);
    END IF;
    RETURN NULL;
END;
$$;

-- The database's clock decides when a run may start: River's client sends its
-- own for the jobs that it inserts many at once.
CREATE FUNCTION river_job_clock() RETURNS trigger LANGUAGE plpgsql
AS $$
BEGIN
    NEW.created_at := now();
    NEW.scheduled_at := now();
    RETURN NEW;
END;
$$;

CREATE TRIGGER scheduler_clock
BEFORE INSERT ON river_job FOR EACH ROW
WHEN (jsonb_typeof(NEW.args -> 'run_id') = 'number' AND NEW.state = 'available')
EXECUTE FUNCTION river_job_clock();

CREATE TRIGGER scheduler_ledger_insert
AFTER INSERT ON river_job FOR EACH ROW
WHEN (jsonb_typeof(NEW.args -> 'run_id') = 'number')
EXECUTE FUNCTION job_runs_follow_river();

CREATE TRIGGER scheduler_ledger_update
AFTER UPDATE OF state, attempt ON river_job FOR EACH ROW
WHEN (jsonb_typeof(NEW.args -> 'run_id') = 'number' AND (OLD.state, OLD.attempt) IS DISTINCT FROM (NEW.state, NEW.attempt))
EXECUTE FUNCTION job_runs_follow_river();

CREATE TRIGGER scheduler_ledger_delete
AFTER DELETE ON river_job FOR EACH ROW
WHEN (jsonb_typeof(OLD.args -> 'run_id') = 'number' AND OLD.finalized_at IS NULL)
EXECUTE FUNCTION job_runs_follow_river();

-- The oldest version of the migrations whose binaries still work with this
-- schema. Migrations only add, so it stays; one that takes something away
-- replaces the function.
CREATE FUNCTION oldest_compatible_version() RETURNS integer LANGUAGE sql IMMUTABLE
AS $$ SELECT 3 $$;

-- What has really run: a migration and this line commit together, unlike the table
-- of migrations.
CREATE OR REPLACE FUNCTION migrated_version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 2';
