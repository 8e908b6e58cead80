-- Runs that are blocked, an archive of deleted rows, a more compact working set of the
-- cleanups, and jobs whose runs are dry for a while after they were declared.

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
            LOCK TABLE river_job, jobs, runs, backfills, job_stats, retention_candidates IN ACCESS EXCLUSIVE MODE;
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

-- A row is a chunk: a list of rows, or a range of blocks. Rows of the former version
-- have row_ctid alone.
ALTER TABLE retention_candidates
    ALTER COLUMN row_ctid DROP NOT NULL,
    ADD COLUMN row_ctids tid[],
    ADD COLUMN wave int,
    ADD COLUMN first_block bigint,
    ADD COLUMN last_block bigint,
    ADD COLUMN row_count bigint;

-- Rows that cleanups were told to keep here when they deleted them.
CREATE TABLE archived_rows (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      bigint NOT NULL,
    job_name    text NOT NULL,
    target      text NOT NULL,
    table_name  text NOT NULL,
    archived_at timestamptz NOT NULL DEFAULT now(),
    row         jsonb NOT NULL
);
CREATE INDEX archived_rows_table_name ON archived_rows (table_name, archived_at);
COMMENT ON TABLE archived_rows IS 'Rows that a cleanup has deleted, as they were, written in the transaction that deleted them.';
COMMENT ON COLUMN archived_rows.run_id IS 'The run that deleted the row. The ledger may have forgotten it.';
COMMENT ON COLUMN archived_rows.target IS 'The target of the run, as in its details.';
COMMENT ON COLUMN archived_rows.table_name IS 'The table that the row was in.';
COMMENT ON COLUMN archived_rows.archived_at IS 'When the transaction that deleted the row began, by the database''s clock.';
COMMENT ON COLUMN archived_rows.row IS 'The row, as to_jsonb() gives it.';

-- A job in rollout: its scheduled runs are dry runs until dry_run_until.
ALTER TABLE job_definitions
    -- When it was first declared with dry_run_for.
    ADD COLUMN dry_run_from timestamptz,
    ADD COLUMN dry_run_until timestamptz,
    -- Who ended it before its time.
    ADD COLUMN dry_run_ended_by text,
    -- The leader has said in its log that it is over.
    ADD COLUMN dry_run_end_told boolean NOT NULL DEFAULT true,
    ADD CHECK ((dry_run_from IS NULL) = (dry_run_until IS NULL));
CREATE INDEX job_definitions_rollout ON job_definitions (dry_run_until) WHERE NOT dry_run_end_told;

-- One more status: blocked, ended before it changed anything, because a bound would
-- have been passed.
ALTER TABLE job_runs
    DROP CONSTRAINT job_runs_status,
    -- Not validated: the rows that are there passed a narrower check.
    ADD CONSTRAINT job_runs_status CHECK (status IN ('requested', 'scheduled', 'waiting', 'pending', 'running', 'retrying', 'success', 'failed', 'cancelled', 'skipped', 'missed', 'blocked')) NOT VALID;

CREATE OR REPLACE FUNCTION job_runs_follow_river() RETURNS trigger LANGUAGE plpgsql
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
        -- The worker leaves the number of the attempt that was blocked: one that follows
        -- by hand may end otherwise.
        WHEN 'discarded' THEN CASE WHEN NEW.metadata -> 'scheduler:blocked' = to_jsonb(NEW.attempt) THEN 'blocked' ELSE 'failed' END
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

DROP TRIGGER wake_line ON job_runs;
CREATE TRIGGER wake_line
AFTER UPDATE OF status ON job_runs FOR EACH ROW
WHEN (NEW.status IN ('success', 'failed', 'cancelled', 'blocked') AND OLD.status IN ('pending', 'running', 'retrying'))
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
       CASE WHEN r.status = 'running' THEN r.details #>> '{progress,message}' END AS progress_message
FROM job_runs r
ORDER BY r.id DESC;

CREATE OR REPLACE VIEW backfills AS
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
       b.error,
       r.blocked
FROM backfill_requests b
CROSS JOIN LATERAL (
    SELECT count(*) AS runs,
           count(*) FILTER (WHERE j.status = 'waiting') AS waiting,
           count(*) FILTER (WHERE j.status IN ('pending', 'running', 'retrying')) AS working,
           count(*) FILTER (WHERE j.status = 'success') AS success,
           count(*) FILTER (WHERE j.status = 'failed') AS failed,
           count(*) FILTER (WHERE j.status = 'cancelled') AS cancelled,
           count(*) FILTER (WHERE j.status = 'skipped') AS skipped,
           count(*) FILTER (WHERE j.status = 'blocked') AS blocked
    FROM job_runs j WHERE j.backfill_id = b.id
) r
ORDER BY b.id DESC;

CREATE OR REPLACE VIEW job_stats AS
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
       min(r.created_at) AS since,
       count(r.id) FILTER (WHERE r.status = 'blocked') AS blocked,
       max(r.finished_at) FILTER (WHERE r.status = 'blocked') AS last_blocked
FROM job_definitions d
LEFT JOIN job_runs r ON r.job_name = d.job_name
GROUP BY d.job_name
ORDER BY d.job_name;

CREATE VIEW rollout AS
SELECT d.job_name,
       d.dry_run_from,
       d.dry_run_until,
       n.dry_runs,
       n.blocked,
       n.failed,
       n.last_run,
       t.target,
       t.min_rows,
       t.max_rows,
       t.last_rows
FROM job_definitions d
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE r.status = 'success') AS dry_runs,
           count(*) FILTER (WHERE r.status = 'blocked') AS blocked,
           count(*) FILTER (WHERE r.status = 'failed') AS failed,
           max(r.started_at) AS last_run
    FROM job_runs r
    WHERE r.job_name = d.job_name AND r.dry_run AND r.trigger IN ('schedule', 'bootstrap') AND r.started_at >= d.dry_run_from
) n
LEFT JOIN LATERAL (
    SELECT e.target, min(e.rows) AS min_rows, max(e.rows) AS max_rows, (array_agg(e.rows ORDER BY e.started_at DESC, e.id DESC))[1] AS last_rows
    FROM (
        SELECT r.id, r.started_at, nullif(x.key, '') AS target, coalesce((x.value ->> 'rows')::bigint, 0) AS rows
        FROM job_runs r
        CROSS JOIN LATERAL jsonb_each(coalesce(nullif(r.details -> 'targets', '{}'), jsonb_build_object('', jsonb_build_object('rows', r.rows_affected)))) x
        WHERE r.job_name = d.job_name AND r.dry_run AND r.trigger IN ('schedule', 'bootstrap') AND r.started_at >= d.dry_run_from
          AND r.status = 'success'
    ) e
    GROUP BY e.target
) t ON true
WHERE d.dry_run_until > clock_timestamp()
ORDER BY d.job_name, t.target;
COMMENT ON VIEW rollout IS 'Jobs whose scheduled runs are dry runs until dry_run_until, a row for each target: what those runs would have changed so far, the least, the most and the last. dry_runs counts those that succeeded. target is null for a job that names none, or that has not run yet.';

CREATE FUNCTION end_dry_run(job_name text) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    job job_definitions := known_job(end_dry_run.job_name);
BEGIN
    UPDATE job_definitions d SET dry_run_until = clock_timestamp(), dry_run_ended_by = session_user
    WHERE d.id = job.id AND d.dry_run_until > clock_timestamp();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'job "%" is not in rollout', job.job_name USING ERRCODE = 'SC003',
            HINT = 'The view rollout lists the jobs that are. A job is, for as long as dry_run_for says, since it was first declared with it.';
    END IF;
    PERFORM wake_leader();
END;
$$;
COMMENT ON FUNCTION end_dry_run(text) IS 'Ends a job''s rollout before its time: its scheduled runs are real from now on. Declaring the job again does not begin it anew.';

-- What has really run: a migration and this line commit together, unlike the table
-- of migrations. Replicas of older versions still work: of a chunk they find no row,
-- so they leave it to the next run.
CREATE OR REPLACE FUNCTION migrated_version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 5';
