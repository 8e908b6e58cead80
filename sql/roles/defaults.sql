-- What a later migration adds, the replicas may need the moment it is there. (The others
-- are given what is new at the end of "scheduler migrate up", which looks into role_grants.)
DO $roles$
DECLARE
    owner name := (SELECT tableowner FROM pg_tables WHERE schemaname = {schema_literal} AND tablename = 'job_definitions');
BEGIN
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA {schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I', owner, {serve_literal});
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA {schema} GRANT USAGE ON SEQUENCES TO %I', owner, {serve_literal});
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA {schema} GRANT EXECUTE ON FUNCTIONS TO %I', owner, {serve_literal});
END;
$roles$;
INSERT INTO scheduler.role_grants (role_name, kind)
VALUES ({reader_literal}, 'reader'), ({operator_literal}, 'operator'), ({serve_literal}, 'serve')
ON CONFLICT DO NOTHING;
