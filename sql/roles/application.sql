-- The application's tables that the built-in jobs clean and the pages show, as this session's search_path
-- finds them; those that are not there are left out. A row is locked before it is deleted,
-- which takes UPDATE on any one column. Jobs of your own need the like. What else may be:
-- INSERT on an archive table of your own; ownership of a table whose partitions are
-- detached or dropped (parameter partitions).
DO $roles$
DECLARE
    needed record;
    missing text[] := '{}';
BEGIN
    FOR needed IN
        SELECT * FROM (VALUES
            -- cleanup_inactive_sessions
            ('user_sessions', 'SELECT, UPDATE (ended_at)'),
            -- cleanup_empty_contexts
            ('user_contexts', 'SELECT, UPDATE (updated_at), DELETE'),
            ('agent_tasks', 'SELECT, UPDATE (updated_at)'),
            ('task_messages', 'SELECT'),
            ('mcp_tool_executions', 'SELECT'),
            ('governance_decisions', 'SELECT'),
            -- database_cleanup
            ('logs', 'SELECT, UPDATE (level), DELETE'),
            ('users', 'SELECT'),
            ('mcp_tool_executions', 'SELECT, UPDATE (status), DELETE'),
            ('user_contexts', 'SELECT'),
            ('oauth_auth_codes', 'SELECT, UPDATE (expires_at), DELETE'),
            ('oauth_refresh_tokens', 'SELECT, UPDATE (expires_at), DELETE'),
            ('oauth_state_bindings', 'SELECT, UPDATE (expires_at), DELETE'),
            ('oauth_jti_revocations', 'SELECT, UPDATE (exp), DELETE'),
            ('id_jag_replay', 'SELECT, UPDATE (expires_at), DELETE'),
            -- the page Analytics
            ('conversation_evaluations', 'SELECT'),
            ('markdown_content', 'SELECT')
        ) AS n (relation, privileges)
    LOOP
        IF to_regclass(needed.relation) IS NULL THEN
            missing := missing || needed.relation::text;
        ELSE
            EXECUTE format('GRANT %s ON %s TO %I', needed.privileges, to_regclass(needed.relation), {serve_literal});
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', (
                SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(needed.relation)), {serve_literal});
        END IF;
    END LOOP;
    IF missing <> '{}' THEN
        RAISE NOTICE 'not here, so nothing was granted on: %', (SELECT string_agg(DISTINCT m, ', ') FROM unnest(missing) m);
    END IF;
END;
$roles$;
