-- What pg_cron has scheduled. Its tables are another program's, and are read only.

-- name: pg_cron_server
-- Where and as whom the session is, and whether pg_cron's jobs can be read. With row_security
-- a role sees its own.
SELECT current_database()::text AS database, current_user::text AS role, current_setting('port')::integer AS port,
       coalesce(current_setting('cron.timezone', true), '') AS time_zone,
       coalesce(has_schema_privilege(relnamespace, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'), false) AS readable,
       coalesce(row_security_active(c.oid), false) AS row_security
FROM (SELECT 1) one
LEFT JOIN (pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'cron') ON c.relname = 'job' AND c.relkind IN ('r', 'v')

-- name: list_pg_cron_jobs
-- As JSON, since older versions lack columns.
SELECT to_jsonb(j) FROM cron.job j ORDER BY j.jobid
