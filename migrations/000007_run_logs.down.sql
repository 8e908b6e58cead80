DROP VIEW run_logs;
DROP TRIGGER forget_logs ON job_runs;
DROP FUNCTION job_runs_forget_logs();
DROP TABLE run_log_chunks;

CREATE OR REPLACE FUNCTION migrated_version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 6';
