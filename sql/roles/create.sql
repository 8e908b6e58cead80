
-- The roles. reader and operator are for people to be members of; serve logs in.
DO $roles$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {reader_literal}) THEN
        CREATE ROLE {reader} NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {operator_literal}) THEN
        CREATE ROLE {operator} NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {serve_literal}) THEN
        CREATE ROLE {serve} LOGIN;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname IN ({reader_literal}, {operator_literal}, {serve_literal}) AND (rolsuper OR rolcreaterole)) THEN
        RAISE WARNING 'one of the roles is a superuser, or has CREATEROLE: that is more than the scheduler needs';
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I, %I, %I', current_database(), {reader_literal}, {operator_literal}, {serve_literal});
END;
$roles$;

-- A cleanup looks through whole tables: the server's timeouts for an application do not
-- fit it. The scheduler bounds each run and batch itself.
ALTER ROLE {serve} SET statement_timeout = 0;
ALTER ROLE {serve} SET lock_timeout = 0;

-- Not needed, and worth a thought:
-- ALTER ROLE {serve} CONNECTION LIMIT 100;   -- replicas times (max_workers + 6)
-- GRANT pg_read_all_stats TO {serve};        -- cleanups see long transactions of others, and how far replicas are behind
-- GRANT pg_read_all_stats TO {reader};       -- the view replicas shows since when and from where they are connected
-- ALTER ROLE {serve} BYPASSRLS;              -- where a table that is cleaned has row-level security
