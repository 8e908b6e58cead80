-- The roles of a scheduler: one that only reads, one that steers, and the one of
-- "scheduler serve". Made by: {command}
--
-- Read it, then run it with psql, on the scheduler's database, after "scheduler migrate up":
-- as a superuser, or as a role that owns the scheduler's schema and the tables that the
-- jobs clean, and has CREATEROLE. A second run changes nothing. It sets no password:
--
--     \password {serve}
--     GRANT {operator} TO alice;  -- a person; what she does is recorded in her name
BEGIN;

DO $roles$
DECLARE
    version integer;
BEGIN
    IF to_regprocedure({schema_literal} || '.migrated_version()') IS NOT NULL THEN
        EXECUTE format('SELECT %I.migrated_version()', {schema_literal}) INTO version;
    END IF;
    IF version IS DISTINCT FROM {version} THEN
        RAISE EXCEPTION 'the schema % of the database % has version %, this script is for version {version}', quote_ident({schema_literal}), quote_ident(current_database()), coalesce(version, 0)
            USING HINT = 'Run "scheduler migrate up" first, and "scheduler roles" of the same program.';
    END IF;
END;
$roles$;
