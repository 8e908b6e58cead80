DROP FUNCTION end_dry_run(text);
DROP VIEW rollout;
DROP VIEW job_stats;
DROP VIEW backfills;
DROP VIEW runs;
DROP VIEW jobs;
DROP VIEW scheduled_jobs;

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

DROP TRIGGER wake_line ON job_runs;
CREATE TRIGGER wake_line
AFTER UPDATE OF status ON job_runs FOR EACH ROW
WHEN (NEW.status IN ('success', 'failed', 'cancelled') AND OLD.status IN ('pending', 'running', 'retrying'))
EXECUTE FUNCTION job_runs_wake_line();

-- What only the newer version knows.
UPDATE job_runs SET status = 'failed', reason = 'blocked' WHERE status = 'blocked';
ALTER TABLE job_runs
    DROP CONSTRAINT job_runs_status,
    ADD CONSTRAINT job_runs_status CHECK (status IN ('requested', 'scheduled', 'waiting', 'pending', 'running', 'retrying', 'success', 'failed', 'cancelled', 'skipped', 'missed'));

-- Its check and its index go with it.
ALTER TABLE job_definitions
    DROP COLUMN dry_run_end_told,
    DROP COLUMN dry_run_ended_by,
    DROP COLUMN dry_run_until,
    DROP COLUMN dry_run_from;

DROP TABLE archived_rows;

-- A working set: cleanups find their rows again.
TRUNCATE retention_candidates;
ALTER TABLE retention_candidates
    DROP COLUMN row_count,
    DROP COLUMN last_block,
    DROP COLUMN first_block,
    DROP COLUMN wave,
    DROP COLUMN row_ctids,
    ALTER COLUMN row_ctid SET NOT NULL;

CREATE VIEW scheduled_jobs AS
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
       r.backfill_id
FROM job_runs r
ORDER BY r.id DESC;
COMMENT ON VIEW runs IS 'The ledger for people, newest first.';

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

CREATE OR REPLACE FUNCTION migrated_version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 4';
