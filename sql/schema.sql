-- The schema itself: does it exist, in which version, who migrates it.

-- name: database_state
-- Tables that do not exist yet cannot be named in a statement: their state comes
-- from the catalog.
SELECT pg_is_in_recovery() AS in_recovery,
       current_setting('default_transaction_read_only')::boolean AS read_only,
       current_database() AS database,
       current_setting('server_version_num')::integer AS server_version,
       to_regnamespace(@schema) IS NOT NULL AS schema_exists,
       to_regclass(@schema || '.schema_migrations') IS NOT NULL AS migrated,
       to_regclass(@schema || '.river_migration') IS NOT NULL AS river_migrated

-- name: schema_version
SELECT version, dirty FROM scheduler.schema_migrations LIMIT 1

-- name: has_migrated_version
SELECT to_regprocedure(@schema || '.migrated_version()') IS NOT NULL

-- name: migrated_version
SELECT scheduler.migrated_version()

-- name: oldest_compatible_version
SELECT scheduler.oldest_compatible_version()

-- name: river_version
SELECT coalesce(max(version), 0)::integer FROM scheduler.river_migration WHERE line = 'main'

-- name: try_migration_lock
-- Asked again until it is granted: a wait in Postgres would hold a snapshot
-- while the other replica migrates.
SELECT pg_try_advisory_lock(7235004, ('x' || substr(md5('systempromptio/scheduler:' || @schema), 1, 8))::bit(32)::integer)
