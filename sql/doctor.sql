-- What "scheduler doctor" asks of a database. Every statement reads the catalog or the
-- ledger by an index, in a read-only transaction.

-- name: doctor_begin
-- Nothing is changed, nobody is waited for, and nothing goes on for long.
BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;
SET LOCAL lock_timeout = '500ms';
SET LOCAL statement_timeout = '5s';
SET LOCAL idle_in_transaction_session_timeout = '10s'

-- name: doctor_session
-- transaction_read_only would be our own.
SELECT current_setting('server_version_num')::integer AS server_version,
       current_setting('server_version') AS server_version_text,
       current_database()::text AS database,
       current_user::text AS role,
       pg_is_in_recovery() AS in_recovery,
       current_setting('default_transaction_read_only')::boolean AS read_only,
       clock_timestamp() AS now

-- name: doctor_schema_access
-- to_regclass() raises an error where the schema may not be looked into.
SELECT to_regnamespace(@schema) IS NOT NULL AS schema_exists,
       coalesce(has_schema_privilege(to_regnamespace(@schema)::oid, 'USAGE'), false) AS may_use,
       has_database_privilege(current_database(), 'CREATE') AS may_create

-- name: doctor_missing_privileges
-- Of tables, partitions and heirs included, since cleanups work on each by itself. A
-- privilege on some columns may be all that was meant to be granted.
WITH RECURSIVE wanted AS (
    SELECT to_regclass(w.name)::oid AS oid, w.privilege, w.n
    FROM unnest(@tables::text[], @privileges::text[]) WITH ORDINALITY AS w (name, privilege, n)
    WHERE to_regclass(w.name) IS NOT NULL
), parts AS (
    SELECT oid, privilege, n FROM wanted
    UNION
    SELECT i.inhrelid, p.privilege, p.n FROM parts p JOIN pg_inherits i ON i.inhparent = p.oid
)
SELECT p.oid::regclass::text AS object, p.privilege
FROM parts p
WHERE NOT CASE WHEN p.privilege = 'DELETE' THEN has_table_privilege(p.oid, p.privilege)
               ELSE has_any_column_privilege(p.oid, p.privilege) END
GROUP BY p.oid, p.privilege
ORDER BY min(p.n), p.oid

-- name: doctor_missing_functions
SELECT p.oid::regprocedure::text AS object, 'EXECUTE' AS privilege
FROM pg_proc p
WHERE p.pronamespace = to_regnamespace(@schema) AND p.proname = ANY (@names::text[]) AND NOT has_function_privilege(p.oid, 'EXECUTE')
ORDER BY 1

-- name: doctor_missing_sequences
-- The identities' sequences go with their tables. CASE: of what is no sequence, the
-- function raises an error.
SELECT c.oid::regclass::text AS object, 'USAGE' AS privilege
FROM pg_class c
WHERE c.relnamespace = to_regnamespace(@schema) AND c.relname = ANY (@names::text[])
  AND CASE WHEN c.relkind = 'S' THEN NOT has_sequence_privilege(c.oid, 'USAGE') ELSE false END
ORDER BY 1

-- name: doctor_settings
-- As the role has them in this database. What this transaction has set itself is asked
-- for before it begins.
SELECT name, setting, coalesce(unit, '') AS unit, source
FROM pg_settings
WHERE name = ANY (@names::text[])

-- name: doctor_can_check_clients
-- Fails where the system cannot tell that a client is gone.
SELECT set_config('client_connection_check_interval', '1s', true)

-- name: doctor_capacity
-- Connections that a role like this one can still have. Those of our own replicas are
-- counted apart. reserved_connections is of PostgreSQL 16.
SELECT current_setting('max_connections')::integer AS max_connections,
       current_setting('superuser_reserved_connections')::integer
       + coalesce(current_setting('reserved_connections', true)::integer, 0) AS reserved,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::integer AS used,
       (SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND (application_name LIKE 'scheduler/%' OR application_name LIKE 'scheduler worker %'))::integer AS used_by_us,
       (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role_limit,
       (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS database_limit,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all

-- name: doctor_old_snapshots
-- Who keeps dead rows from being removed, longest first.
SELECT what, id, who, extract(epoch FROM age)::double precision AS age
FROM (
    SELECT 'session' AS what, pid::text AS id,
           format('%s of user %s (%s), %s', coalesce(nullif(application_name, ''), 'a session'), usename, coalesce(client_addr::text, 'local'), state) AS who,
           clock_timestamp() - xact_start AS age
    FROM pg_stat_activity
    WHERE datname = current_database() AND xact_start < clock_timestamp() - @older::interval AND pid <> pg_backend_pid()
      AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
    UNION ALL
    SELECT 'prepared', gid, format('prepared by %s', owner), clock_timestamp() - prepared
    FROM pg_prepared_xacts
    WHERE database = current_database() AND prepared < clock_timestamp() - @older::interval
) held
ORDER BY age DESC
LIMIT 5

-- name: doctor_old_slots
-- Replication slots, and standbys with hot_standby_feedback.
SELECT what, name, age
FROM (
    SELECT 'slot' AS what, slot_name::text AS name, age(coalesce(xmin, catalog_xmin)) AS age
    FROM pg_replication_slots
    WHERE coalesce(xmin, catalog_xmin) IS NOT NULL
    UNION ALL
    SELECT 'standby', application_name, age(backend_xmin) FROM pg_stat_replication WHERE backend_xmin IS NOT NULL
) held
WHERE age > @older
ORDER BY age DESC
LIMIT 5

-- name: doctor_tables
-- Tables, with their partitions, for which autovacuum is off.
WITH RECURSIVE parts AS (
    SELECT to_regclass(name)::oid AS oid FROM unnest(@tables::text[]) AS t (name) WHERE to_regclass(name) IS NOT NULL
    UNION
    SELECT i.inhrelid FROM parts p JOIN pg_inherits i ON i.inhparent = p.oid
)
SELECT p.oid::regclass::text AS table_name
FROM parts p JOIN pg_class c ON c.oid = p.oid
CROSS JOIN LATERAL pg_options_to_table(c.reloptions) o
WHERE o.option_name = 'autovacuum_enabled' AND NOT o.option_value::boolean
ORDER BY 1

-- name: doctor_led
-- Whether anybody has ever led.
SELECT epoch > 0 FROM scheduler.leadership

-- name: doctor_failing
-- Jobs whose newest runs that ended all failed.
SELECT d.job_name, count(*) AS runs, max(r.id) AS last_id, coalesce((array_agg(r.error ORDER BY r.id DESC))[1], '') AS last_error
FROM scheduler.job_definitions d
CROSS JOIN LATERAL (
    SELECT n.id, n.status, n.error
    FROM scheduler.job_runs n
    WHERE n.job_name = d.job_name AND n.status IN ('success', 'failed', 'blocked')
    ORDER BY n.id DESC
    LIMIT @max
) r
WHERE d.registered
GROUP BY d.job_name
HAVING count(*) FILTER (WHERE r.status = 'failed') = @max
ORDER BY d.job_name

-- name: doctor_old_runs
-- What has not ended, and should have: a run that goes on for longer than its timeout,
-- or is tried again and again, or that nobody has taken up.
SELECT r.id, r.job_name, r.status, coalesce(r.replica_id, '') AS replica_id, r.attempt,
       extract(epoch FROM clock_timestamp() - r.started_at)::double precision AS ran,
       extract(epoch FROM clock_timestamp() - r.created_at)::double precision AS age,
       extract(epoch FROM d.timeout)::double precision AS timeout,
       r.status = 'running' AND NOT EXISTS (SELECT FROM scheduler.replicas p WHERE p.replica_id = r.replica_id) AS is_orphan
FROM scheduler.job_runs r LEFT JOIN scheduler.job_definitions d ON d.job_name = r.job_name
WHERE r.status = 'running' AND (r.started_at < clock_timestamp() - d.timeout
                                OR r.started_at < clock_timestamp() - interval '10 seconds'
                                   AND NOT EXISTS (SELECT FROM scheduler.replicas p WHERE p.replica_id = r.replica_id))
   OR r.status = 'retrying' AND r.created_at < clock_timestamp() - interval '1 hour'
   OR r.status IN ('requested', 'pending') AND r.created_at < clock_timestamp() - interval '1 minute'
ORDER BY r.id
LIMIT 20

-- name: doctor_rates
-- Rows a second, of each job's newest runs that have changed some.
SELECT d.job_name, sum(r.rows_affected)::bigint AS rows_affected, sum(r.seconds)::double precision AS seconds
FROM scheduler.job_definitions d
CROSS JOIN LATERAL (
    SELECT n.rows_affected, extract(epoch FROM n.finished_at - n.started_at) AS seconds
    FROM scheduler.job_runs n
    WHERE n.job_name = d.job_name AND n.status = 'success' AND NOT n.dry_run AND n.rows_affected > 0 AND n.started_at IS NOT NULL
    ORDER BY n.id DESC
    LIMIT 10
) r
GROUP BY d.job_name
