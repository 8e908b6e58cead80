-- The schema itself: does it exist, in which version, who migrates it.

-- name: database_state
-- Tables that do not exist yet cannot be named in a statement: their state comes
-- from the catalog. River's table has the column line from its fifth version on; one of
-- an earlier version is being brought up to date, or was left so.
SELECT pg_is_in_recovery() AS in_recovery,
       current_setting('default_transaction_read_only')::boolean AS read_only,
       current_database() AS database,
       current_setting('server_version_num')::integer AS server_version,
       to_regnamespace(@schema) IS NOT NULL AS schema_exists,
       to_regclass(@schema || '.schema_migrations') IS NOT NULL AS migrated,
       EXISTS (
           SELECT FROM pg_attribute
           WHERE attrelid = to_regclass(@schema || '.river_migration') AND attname = 'line' AND NOT attisdropped
       ) AS river_migrated

-- name: schema_version
SELECT version, dirty FROM scheduler.schema_migrations LIMIT 1

-- name: has_migrated_version
SELECT to_regprocedure(@schema || '.migrated_version()') IS NOT NULL

-- name: migrated_version
SELECT scheduler.migrated_version()

-- name: oldest_compatible_version
SELECT scheduler.oldest_compatible_version()

-- name: river_version
-- The table has no lines before version 5, where somebody may look while it is migrated.
SELECT coalesce(max(m.version), 0)::integer FROM scheduler.river_migration m WHERE coalesce(to_jsonb(m) ->> 'line', 'main') = 'main'

-- name: try_migration_lock
-- Asked again until it is granted: a wait in Postgres would hold a snapshot
-- while the other replica migrates.
SELECT pg_try_advisory_lock(7235004, ('x' || substr(md5('systempromptio/scheduler:' || @schema), 1, 8))::bit(32)::integer)

-- name: granted_roles
SELECT g.role_name::text AS role_name, g.kind
FROM scheduler.role_grants g JOIN pg_roles r ON r.rolname = g.role_name
ORDER BY g.role_name, g.kind

-- name: may_migrate
-- Superusers are members of every role.
SELECT current_user::text AS role,
       coalesce(pg_get_userbyid(o.owner)::text, '') AS owner,
       CASE WHEN o.has_tables THEN pg_has_role(o.owner, 'USAGE')
            WHEN o.namespace IS NOT NULL THEN has_schema_privilege(o.namespace, 'CREATE')
            ELSE has_database_privilege(current_database(), 'CREATE') END AS may
FROM (SELECT true) one
LEFT JOIN LATERAL (
    SELECT n.oid AS namespace, coalesce(c.relowner, n.nspowner) AS owner, c.oid IS NOT NULL AS has_tables
    FROM pg_namespace n
    LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname IN ('river_migration', 'schema_migrations') AND c.relkind = 'r'
    WHERE n.nspname = @schema::text
    ORDER BY c.relname LIMIT 1
) o ON true

-- name: missing_privileges
-- What the leader and the workers cannot do without, as roles/serve.sql grants it; what
-- people read and steer by is not asked for. The names are looked up in the catalog,
-- which needs no privilege on the schema.
SELECT p.privilege, @schema::text || '.' || p.object AS object
FROM (VALUES
    ('SELECT', 'job_definitions'), ('INSERT', 'job_definitions'), ('UPDATE', 'job_definitions'),
    ('SELECT', 'scheduler_state'), ('INSERT', 'scheduler_state'), ('UPDATE', 'scheduler_state'),
    ('SELECT', 'job_runs'), ('INSERT', 'job_runs'), ('UPDATE', 'job_runs'), ('DELETE', 'job_runs'),
    ('SELECT', 'undecided_spans'), ('INSERT', 'undecided_spans'), ('UPDATE', 'undecided_spans'), ('DELETE', 'undecided_spans'),
    ('SELECT', 'retention_candidates'), ('INSERT', 'retention_candidates'), ('UPDATE', 'retention_candidates'), ('DELETE', 'retention_candidates'),
    ('SELECT', 'river_job'), ('INSERT', 'river_job'), ('UPDATE', 'river_job'), ('DELETE', 'river_job'),
    ('SELECT', 'river_queue'), ('INSERT', 'river_queue'), ('UPDATE', 'river_queue'), ('DELETE', 'river_queue'),
    ('SELECT', 'run_log_chunks'), ('INSERT', 'run_log_chunks'), ('DELETE', 'run_log_chunks'),
    ('SELECT', 'leadership'), ('UPDATE', 'leadership'),
    ('SELECT', 'backfill_requests'), ('UPDATE', 'backfill_requests'),
    ('INSERT', 'archived_rows'),
    ('SELECT', 'leader'), ('SELECT', 'replicas')
) AS p (privilege, object)
JOIN pg_class c ON c.relname = p.object AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = @schema::text)
WHERE NOT has_table_privilege(c.oid, p.privilege)
UNION ALL
SELECT 'EXECUTE', @schema::text || '.' || p.proname || '()'
FROM pg_proc p
WHERE p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = @schema::text)
  AND p.proname IN ('lock_key', 'schedule_in_force', 'timezone_in_force', 'wait_for_leader_lock', 'join_fleet', 'wake_leader', 'check_policies', 'check_parameters')
  AND NOT has_function_privilege(p.oid, 'EXECUTE')
UNION ALL
SELECT 'USAGE', 'schema ' || n.nspname
FROM pg_namespace n
WHERE n.nspname = @schema::text AND NOT has_schema_privilege(n.oid, 'USAGE')

-- name: check_begin
-- In which jobs look at what they need, before the start: nothing is changed, and
-- nobody who holds a lock is waited for for long.
BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;
SET LOCAL lock_timeout = '3s';
SET LOCAL statement_timeout = '15s'
