-- The lock that CREATE TRIGGER takes, first: whoever writes the ledger queues behind this
-- while it waits. Nobody waits for it for longer than the timeout.
DO $$
DECLARE
    tries integer := 0;
BEGIN
    LOOP
        BEGIN
            PERFORM set_config('lock_timeout', '250ms', true);
            LOCK TABLE job_runs IN SHARE ROW EXCLUSIVE MODE;
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

-- What a run has logged, a bounded part of it: one row an attempt that has logged
-- anything, since a run that logs nothing must not cost a write.
CREATE TABLE run_log_chunks (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id     bigint NOT NULL,
    attempt    integer NOT NULL,
    replica_id text NOT NULL,
    stored_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    lines      jsonb NOT NULL CHECK (jsonb_typeof(lines) = 'array')
);
CREATE INDEX run_log_chunks_run ON run_log_chunks (run_id, id);

-- Whoever writes the ledger writes this, too: replicas that have a role of their own,
-- made by "scheduler roles" or by hand, go on after the migration.
DO $$
DECLARE
    grantee oid;
BEGIN
    FOR grantee IN
        SELECT DISTINCT a.grantee FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
        WHERE c.oid = 'job_runs'::regclass AND a.privilege_type = 'INSERT' AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, DELETE ON run_log_chunks TO %s', CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END);
    END LOOP;
END;
$$;

-- What a run has logged goes with its row in the ledger. One statement for all rows that
-- a batch deletes: a foreign key would ask for each of them. SECURITY DEFINER: whoever may
-- delete runs needs no privilege on the logs.
CREATE FUNCTION job_runs_forget_logs() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    DELETE FROM run_log_chunks c USING deleted d WHERE c.run_id = d.id;
    RETURN NULL;
END;
$$;

REVOKE EXECUTE ON FUNCTION job_runs_forget_logs() FROM PUBLIC;

CREATE TRIGGER forget_logs
AFTER DELETE ON job_runs REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION job_runs_forget_logs();

CREATE VIEW run_logs AS
SELECT c.run_id, c.attempt, c.replica_id,
       (l.line ->> 'at')::timestamptz AS at,
       l.line ->> 'level' AS level,
       l.line ->> 'message' AS message,
       coalesce(l.line -> 'attributes', '{}') AS attributes,
       c.id AS chunk_id,
       l.n
FROM run_log_chunks c CROSS JOIN LATERAL jsonb_array_elements(c.lines) WITH ORDINALITY l (line, n)
ORDER BY c.run_id, c.id, l.n;

COMMENT ON TABLE run_log_chunks IS 'What attempts have logged, one row each; none for an attempt that logged nothing. Goes with the run''s row in job_runs. Read the view run_logs instead.';
COMMENT ON COLUMN run_log_chunks.id IS 'Key; attempts of a run are in its order.';
COMMENT ON COLUMN run_log_chunks.run_id IS 'The run, in job_runs.';
COMMENT ON COLUMN run_log_chunks.attempt IS 'The attempt. Two rows may have the same: one that was given back does not count.';
COMMENT ON COLUMN run_log_chunks.replica_id IS 'The replica that worked it.';
COMMENT ON COLUMN run_log_chunks.stored_at IS 'When the attempt ended.';
COMMENT ON COLUMN run_log_chunks.lines IS 'The lines, as objects with at, level, message and attributes.';
COMMENT ON VIEW run_logs IS 'What runs have logged at level info and above: of each attempt the first and the last lines, at most log_lines together and 64 kB. What jobs log is theirs: it may name whatever they work on. An attempt whose replica was killed has none here.';
COMMENT ON COLUMN run_logs.run_id IS 'The run, in the view runs.';
COMMENT ON COLUMN run_logs.attempt IS 'The attempt, from 1.';
COMMENT ON COLUMN run_logs.replica_id IS 'The replica that worked it.';
COMMENT ON COLUMN run_logs.at IS 'When it was logged, by the replica''s clock.';
COMMENT ON COLUMN run_logs.level IS 'INFO, WARN or ERROR, or one in between such as INFO+2.';
COMMENT ON COLUMN run_logs.message IS 'The message, cut at 2 kB.';
COMMENT ON COLUMN run_logs.attributes IS 'The attributes, as the job gave them; those that are too long are cut.';
COMMENT ON COLUMN run_logs.chunk_id IS 'The attempts of a run in their order.';
COMMENT ON COLUMN run_logs.n IS 'The lines of an attempt in their order.';
COMMENT ON FUNCTION job_runs_forget_logs() IS 'Trigger: what a run has logged goes with its row in the ledger.';

-- What has really run: a migration and this line commit together, unlike the table
-- of migrations.
CREATE OR REPLACE FUNCTION migrated_version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 7';
