-- A modest batch of rows worth cleaning, for each built-in job that has none left
-- among its main rows. Applied at every start of the development database, so
-- that there is always something to see. A second application in a row adds
-- nothing. Ids go on from the number of such rows that exist: topup-... .
--
-- Returns how many rows were added, one column a kind.

WITH added_sessions AS (
    INSERT INTO user_sessions (session_id, user_id, started_at, last_activity_at, expires_at)
    SELECT 'topup-' || (done.rows + n),
           (SELECT min(id) FROM users),
           now() - interval '3 hours' - n * interval '1 minute',
           now() - interval '2 hours' - n * interval '1 minute',
           now() + interval '7 days'
    FROM (SELECT count(*) AS rows FROM user_sessions WHERE session_id LIKE 'topup-%') AS done
    CROSS JOIN generate_series(1, 100) AS n
    WHERE NOT EXISTS (SELECT FROM user_sessions
                      WHERE ended_at IS NULL AND last_activity_at < now() - interval '1 hour')
    ON CONFLICT DO NOTHING
    RETURNING 1
), added_contexts AS (
    INSERT INTO user_contexts (context_id, user_id, name, created_at)
    SELECT 'topup-' || (done.rows + n),
           owner.id,
           'topped up ' || n,
           now() - interval '2 days' - n * interval '1 minute'
    FROM (SELECT count(*) AS rows FROM user_contexts WHERE context_id LIKE 'topup-%') AS done
    CROSS JOIN (SELECT min(id) AS id FROM users) AS owner
    CROSS JOIN generate_series(1, 50) AS n
    WHERE owner.id IS NOT NULL
      AND NOT EXISTS (
        SELECT FROM user_contexts c
        WHERE c.created_at < now() - interval '24 hours'
          AND (c.kind <> 'cli_session' OR c.session_id IS NULL)
          AND NOT EXISTS (SELECT FROM task_messages m WHERE m.context_id = c.context_id)
          AND NOT EXISTS (SELECT FROM agent_tasks t JOIN task_messages m USING (task_id)
                          WHERE t.context_id = c.context_id)
          AND NOT EXISTS (SELECT FROM mcp_tool_executions x WHERE x.context_id = c.context_id)
          AND NOT EXISTS (SELECT FROM governance_decisions d WHERE d.context_id = c.context_id))
    ON CONFLICT DO NOTHING
    RETURNING 1
), added_logs AS (
    INSERT INTO logs (id, "timestamp", level, module, message)
    SELECT 'topup-' || (done.rows + n),
           now() - interval '31 days' - n * interval '1 minute',
           'INFO', 'topup', 'an old line ' || n
    FROM (SELECT count(*) AS rows FROM logs WHERE id LIKE 'topup-%') AS done
    CROSS JOIN generate_series(1, 200) AS n
    WHERE NOT EXISTS (SELECT FROM logs WHERE "timestamp" < now() - interval '30 days')
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM added_sessions) AS sessions,
       (SELECT count(*) FROM added_contexts) AS contexts,
       (SELECT count(*) FROM added_logs)     AS logs;
