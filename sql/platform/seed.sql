-- Rows worth cleaning, and rows that must survive it, for the tables of
-- schema.sql. About 5,500 rows at scale 1.
--
-- An id says what becomes of its row when the built-in jobs run with their
-- defaults, so a test needs no list of its own:
--
--   gone-...  is deleted, or, in user_sessions, ended
--   kept-...  stays exactly as it is
--   others    (users, clients, articles) are nobody's business
--
-- The word after the prefix says why. The one row that changes without going is
-- kept-code-of-expired-token-N: its token goes, so its refresh_token_id becomes
-- null (on delete set null).
--
-- Deterministic: no random(), every time is a fixed distance from now(). The
-- margins hold for half an hour after loading.
--
-- Scale: the setting platform.scale multiplies every group; unset means 1. In
-- psql:  SET platform.scale = 10;  \i seed.sql

-- A group's size. Lives in pg_temp for the length of this file only.
CREATE FUNCTION pg_temp.rows(base integer) RETURNS integer
LANGUAGE sql STABLE
AS $$ SELECT base * coalesce(nullif(current_setting('platform.scale', true), ''), '1')::integer $$;

-- ---------------------------------------------------------------------------
-- Users. Nobody is called 'system': the platform logs under that id without
-- having such a user.
-- ---------------------------------------------------------------------------

INSERT INTO users (id, name, email, status, created_at, updated_at)
SELECT 'user-' || n,
       'user-' || n,
       'user-' || n || '@example.com',
       CASE n % 10 WHEN 0 THEN 'inactive' WHEN 1 THEN 'temporary' WHEN 2 THEN 'deleted' ELSE 'active' END,
       now() - n * interval '1 day',
       now() - n * interval '1 hour'
FROM generate_series(1, pg_temp.rows(50)) n;

-- ---------------------------------------------------------------------------
-- Sessions: stale, live, ended
-- ---------------------------------------------------------------------------

-- Open, and silent for two hours and more. Every tenth is anonymous.
INSERT INTO user_sessions (session_id, user_id, started_at, last_activity_at, expires_at,
                           ip_address, device_type, country, landing_page, request_count, is_bot)
SELECT 'gone-stale-' || n,
       CASE WHEN n % 10 > 0 THEN 'user-' || (1 + n % 50) END,
       now() - interval '3 hours' - n * interval '1 minute',
       now() - interval '2 hours' - n * interval '1 minute',
       now() + interval '7 days',
       '192.0.2.' || (n % 250), 'desktop', 'AT', '/page-' || (n % 20), n % 40, n % 7 = 0
FROM generate_series(1, pg_temp.rows(600)) n;

-- Open, and heard of within the last half hour.
INSERT INTO user_sessions (session_id, user_id, started_at, last_activity_at, expires_at, request_count)
SELECT 'kept-live-' || n,
       'user-' || (1 + n % 50),
       now() - interval '3 hours',
       now() - (n % 30) * interval '1 minute',
       now() + interval '7 days',
       n % 40
FROM generate_series(1, pg_temp.rows(150)) n;

-- Silent for long, but ended already.
INSERT INTO user_sessions (session_id, user_id, started_at, last_activity_at, ended_at, revoked_at)
SELECT 'kept-ended-' || n,
       'user-' || (1 + n % 50),
       now() - interval '2 days' - n * interval '1 minute',
       now() - interval '1 day' - n * interval '1 minute',
       now() - interval '23 hours' - n * interval '1 minute',
       CASE WHEN n % 5 = 0 THEN now() - interval '23 hours' END
FROM generate_series(1, pg_temp.rows(250)) n;

-- ---------------------------------------------------------------------------
-- Contexts without messages: they go
-- ---------------------------------------------------------------------------

INSERT INTO user_contexts (context_id, user_id, session_id, name, kind, created_at, updated_at)
SELECT 'gone-' || reason || '-' || n,
       'user-' || (1 + n % 50),
       CASE WHEN bound THEN 'kept-live-' || (1 + n % 150) END,
       reason || ' ' || n,
       kind,
       now() - interval '2 days' - n * interval '1 minute',
       now() - interval '2 days' - n * interval '1 minute'
FROM (VALUES ('empty',         300, 'user',        false), -- nothing at all below it
             ('task-only',      50, 'user',        false), -- a task, but no message
             ('bound',          30, 'user',        true),  -- a session does not spare kind 'user'
             ('cli-unbound',    30, 'cli_session', false)  -- nor does kind alone spare one
     ) AS v (reason, base, kind, bound)
CROSS JOIN LATERAL generate_series(1, pg_temp.rows(base)) n;

INSERT INTO agent_tasks (task_id, context_id, status, created_at)
SELECT 'task-of-' || context_id, context_id, 'failed', created_at
FROM user_contexts
WHERE context_id LIKE 'gone-task-only-%';

-- ---------------------------------------------------------------------------
-- Contexts that stay
-- ---------------------------------------------------------------------------

-- Empty, but not yet a day old.
INSERT INTO user_contexts (context_id, user_id, name, created_at)
SELECT 'kept-young-' || n, 'user-' || (1 + n % 50), 'young ' || n, now() - (1 + n % 20) * interval '1 hour'
FROM generate_series(1, pg_temp.rows(60)) n;

INSERT INTO user_contexts (context_id, user_id, session_id, name, kind, created_at)
SELECT 'kept-' || reason || '-' || n,
       'user-' || (1 + n % 50),
       CASE WHEN kind = 'cli_session' THEN 'kept-live-' || (1 + n % 150) END,
       reason || ' ' || n,
       kind,
       now() - interval '3 days' - n * interval '1 minute'
FROM (VALUES ('talk',             120, 'user'),        -- messages that name it, below its own task
             ('talk-elsewhere',    20, 'user'),        -- messages that name it, below another's task
             ('talk-by-task',     120, 'user'),        -- messages below its task that name no context
             ('audit-mcp',         40, 'user'),        -- no message, but a tool execution names it
             ('audit-governance',  40, 'user'),        -- no message, but a decision names it
             ('cli-bound',         30, 'cli_session')  -- no message, but bound to a session
     ) AS v (reason, base, kind)
CROSS JOIN LATERAL generate_series(1, pg_temp.rows(base)) n;

INSERT INTO agent_tasks (task_id, context_id, status, created_at)
SELECT 'task-of-' || context_id, context_id, 'completed', created_at
FROM user_contexts
WHERE context_id ~ '^kept-talk-(by-task-)?[0-9]+$';

-- Two messages a task: one of the user, one of the agent. Below kept-talk-by-task
-- they name no context, as on older installs: a rule that looks at
-- task_messages.context_id alone loses these.
INSERT INTO task_messages (task_id, message_id, role, context_id, sequence_number, created_at)
SELECT t.task_id,
       t.task_id || '-message-' || s,
       CASE s WHEN 1 THEN 'user' ELSE 'agent' END,
       CASE WHEN t.context_id NOT LIKE 'kept-talk-by-task-%' THEN t.context_id END,
       s,
       t.created_at + s * interval '1 minute'
FROM agent_tasks t
CROSS JOIN generate_series(1, 2) s
WHERE t.context_id LIKE 'kept-talk-%';

-- Messages that name a context to which their task does not belong.
INSERT INTO task_messages (task_id, message_id, role, context_id, sequence_number, created_at)
SELECT 'task-of-kept-talk-' || n,
       'message-for-kept-talk-elsewhere-' || n,
       'agent',
       'kept-talk-elsewhere-' || n,
       3,
       now() - interval '2 days'
FROM generate_series(1, pg_temp.rows(20)) n;

-- ---------------------------------------------------------------------------
-- Audit: tool executions, governance decisions
-- ---------------------------------------------------------------------------

INSERT INTO mcp_tool_executions (mcp_execution_id, tool_name, server_name, started_at, input,
                                 status, user_id, context_id, created_at)
SELECT prefix || '-' || n,
       'tool-' || (n % 9), 'server-' || (n % 3),
       now() - interval '5 days' - n * interval '1 minute',
       '{"n": ' || n || '}', 'success',
       'user-' || (1 + n % 50),
       context || CASE WHEN context <> '' THEN n::text ELSE '' END, -- null stays null
       now() - interval '5 days' - n * interval '1 minute'
FROM (VALUES ('gone-no-context',    150, 'no-such-context-'),
             ('kept-context-empty',  40, ''),
             ('kept-context-null',   40, NULL),
             ('kept-context-talk',  100, 'kept-talk-'),
             ('kept-context-audit',  40, 'kept-audit-mcp-')
     ) AS v (prefix, base, context)
CROSS JOIN LATERAL generate_series(1, pg_temp.rows(base)) n;

INSERT INTO governance_decisions (id, context_id, created_at)
SELECT 'kept-decision-' || n, 'kept-audit-governance-' || n, now() - interval '3 days'
FROM generate_series(1, pg_temp.rows(40)) n;

-- ---------------------------------------------------------------------------
-- Logs. A user_id of null, '' or 'system' names no user and is no orphan.
-- ---------------------------------------------------------------------------

-- Older than thirty days, whoever wrote them.
INSERT INTO logs (id, "timestamp", level, module, message, user_id, session_id, trace_id)
SELECT 'gone-old-' || n,
       now() - interval '31 days' - n * interval '1 minute',
       'INFO', 'module-' || (n % 12), 'an old line ' || n,
       CASE n % 4 WHEN 0 THEN 'user-' || (1 + n % 50) WHEN 1 THEN NULL WHEN 2 THEN '' ELSE 'system' END,
       'kept-ended-' || (1 + n % 250), 'trace-' || n
FROM generate_series(1, pg_temp.rows(600)) n;

-- Young, of a user who is no more.
INSERT INTO logs (id, "timestamp", level, module, message, user_id)
SELECT 'gone-orphan-' || n,
       now() - interval '1 day' - n * interval '1 minute',
       'WARN', 'module-' || (n % 12), 'a line of nobody ' || n,
       'no-such-user-' || (n % 30)
FROM generate_series(1, pg_temp.rows(300)) n;

-- Young.
INSERT INTO logs (id, "timestamp", level, module, message, user_id, context_id)
SELECT 'kept-young-' || n,
       now() - interval '1 hour' - (n % 28) * interval '1 day',
       'INFO', 'module-' || (n % 12), 'a young line ' || n,
       CASE n % 4 WHEN 0 THEN 'user-' || (1 + n % 50) WHEN 1 THEN NULL WHEN 2 THEN '' ELSE 'system' END,
       'kept-talk-' || (1 + n % 120)
FROM generate_series(1, pg_temp.rows(600)) n;

-- ---------------------------------------------------------------------------
-- Sign-in: refresh tokens, authorization codes, and what newer installs keep
-- ---------------------------------------------------------------------------

INSERT INTO oauth_clients (client_id) VALUES ('client-web'), ('client-cli');

INSERT INTO oauth_refresh_tokens (token_id, client_id, user_id, expires_at, family_id, consumed_at)
SELECT prefix || '-' || n,
       CASE n % 2 WHEN 0 THEN 'client-web' ELSE 'client-cli' END,
       'user-' || (1 + n % 50),
       now() + validity - (n % 1000) * interval '1 minute',
       'family-' || (n % 40),
       CASE WHEN n % 3 = 0 THEN now() - interval '10 days' END
FROM (VALUES ('gone-expired', 120, interval '-1 hour'),
             ('kept-valid',   120, interval '30 days')
     ) AS v (prefix, base, validity)
CROSS JOIN LATERAL generate_series(1, pg_temp.rows(base)) n;

INSERT INTO oauth_auth_codes (code, client_id, user_id, expires_at, used_at, refresh_token_id)
SELECT prefix || '-' || n,
       CASE n % 2 WHEN 0 THEN 'client-web' ELSE 'client-cli' END,
       'user-' || (1 + n % 50),
       now() + validity,
       CASE WHEN used THEN now() - interval '2 minutes' END,
       token || n -- null stays null
FROM (VALUES ('gone-expired',               80, interval '-1 hour', false, NULL),
             ('gone-expired-used',          40, interval '-1 hour', true,  'gone-expired-'),
             ('gone-used',                  60, interval '1 hour',  true,  'kept-valid-'),
             ('kept-valid',                 60, interval '1 hour',  false, NULL),
             ('kept-code-of-expired-token', 10, interval '1 hour',  false, 'gone-expired-')
     ) AS v (prefix, base, validity, used, token)
CROSS JOIN LATERAL generate_series(1, pg_temp.rows(base)) n;

INSERT INTO oauth_state_bindings (state, expires_at)
SELECT 'gone-expired-' || n, now() - n * interval '1 hour' FROM generate_series(1, pg_temp.rows(40)) n
UNION ALL
SELECT 'kept-valid-' || n, now() + n * interval '1 hour' FROM generate_series(1, pg_temp.rows(20)) n;

INSERT INTO oauth_jti_revocations (jti, exp)
SELECT 'gone-expired-' || n, now() - n * interval '1 hour' FROM generate_series(1, pg_temp.rows(40)) n
UNION ALL
SELECT 'kept-valid-' || n, now() + n * interval '1 hour' FROM generate_series(1, pg_temp.rows(20)) n;

INSERT INTO id_jag_replay (jti, expires_at)
SELECT 'gone-expired-' || n, now() - n * interval '1 hour' FROM generate_series(1, pg_temp.rows(40)) n
UNION ALL
SELECT 'kept-valid-' || n, now() + n * interval '1 hour' FROM generate_series(1, pg_temp.rows(20)) n;

-- ---------------------------------------------------------------------------
-- Other modules
-- ---------------------------------------------------------------------------

-- Every third article has no image, every third a pending one, every third an
-- optimized one.
INSERT INTO markdown_content (id, slug, title, description, body, author, published_at, keywords, kind,
                              image, image_optimization_status, source_id, version_hash)
SELECT 'article-' || n, 'article-' || n, 'Article ' || n, 'About ' || n, '# Article ' || n, 'author',
       now() - n * interval '1 day', 'one, two',
       CASE n % 4 WHEN 0 THEN 'article' WHEN 1 THEN 'paper' WHEN 2 THEN 'guide' ELSE 'tutorial' END,
       CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN '/images/' || n || '.png' ELSE '/images/' || n || '.webp' END,
       CASE WHEN n % 3 = 2 THEN 'optimized' END,
       'blog', md5('article-' || n)
FROM generate_series(1, pg_temp.rows(30)) n;

-- Scores run evenly from 0 to 0.99, categories in turn, ten a day.
INSERT INTO conversation_evaluations (context_id, goal_achieved, goal_achievement_confidence, primary_category,
                                      issues_encountered, overall_score, evaluation_summary, total_turns,
                                      conversation_duration_seconds, completion_status, analyzed_at)
SELECT 'kept-talk-' || n,
       CASE n % 3 WHEN 0 THEN 'yes' WHEN 1 THEN 'no' ELSE 'partial' END,
       (n % 11) / 10.0,
       'category-' || (n % 5),
       CASE WHEN n % 4 = 0 THEN 'issue-' || (n % 8) END,
       (n % 100) / 100.0,
       'summary ' || n, 2 + n % 9, 30 + n,
       CASE n % 10 WHEN 0 THEN 'error' WHEN 1 THEN 'abandoned' ELSE 'completed' END,
       now() - (n / 10) * interval '1 day'
FROM generate_series(1, pg_temp.rows(100)) n;

-- The platform's own table of an earlier scheduler: never touched.
INSERT INTO scheduled_jobs (id, job_name, schedule, last_status, run_count, last_run, created_at, updated_at)
VALUES ('platform-1', 'cleanup_inactive_sessions', '0 */15 * * * *', 'success', 42,
        now() - interval '40 days', now() - interval '90 days', now() - interval '40 days'),
       ('platform-2', 'database_cleanup', '0 0 4 * * *', 'failed', 7,
        now() - interval '40 days', now() - interval '90 days', now() - interval '40 days');

DROP FUNCTION pg_temp.rows(integer);
