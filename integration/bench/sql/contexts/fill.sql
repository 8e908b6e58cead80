-- Two contexts of five are empty: of these, every tenth has a task, none a message.
-- The others have a task with ten messages.
INSERT INTO users (id, name, email)
SELECT 'user-' || n, 'user-' || n, 'user-' || n || '@example.com' FROM generate_series(1, 10000) n;

INSERT INTO user_contexts (context_id, user_id, name, created_at, updated_at)
SELECT 'ctx_' || md5(n::text), 'user-' || (1 + n * 7919 % 10000), 'A conversation about subject ' || n, at, at
FROM generate_series(1, current_setting('bench.rows')::bigint) n
CROSS JOIN LATERAL (SELECT now() - interval '2 days' - n * interval '10 seconds' AS at) t;

INSERT INTO agent_tasks (task_id, context_id, status, created_at, updated_at)
SELECT 'task_' || md5(n::text), 'ctx_' || md5(n::text), 'completed', at, at
FROM generate_series(1, current_setting('bench.rows')::bigint) n
CROSS JOIN LATERAL (SELECT now() - interval '2 days' - n * interval '10 seconds' AS at) t
WHERE n % 5 >= 2 OR n % 50 < 5 AND n % 5 < 2;

INSERT INTO task_messages (task_id, message_id, role, context_id, sequence_number, created_at)
SELECT 'task_' || md5(n::text), 'msg_' || md5(n || '-' || m), CASE WHEN m % 2 = 1 THEN 'user' ELSE 'agent' END, 'ctx_' || md5(n::text), m,
       now() - interval '2 days' - n * interval '10 seconds' + m * interval '1 second'
FROM generate_series(1, current_setting('bench.rows')::bigint) n
CROSS JOIN generate_series(1, 10) m
WHERE n % 5 >= 2;
