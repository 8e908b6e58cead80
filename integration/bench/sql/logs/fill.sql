-- Logs 1 to bench.old are 30 to 60 days old, the others younger, in the order of
-- time. Their users exist, or they have none.
INSERT INTO users (id, name, email)
SELECT 'user-' || n, 'user-' || n, 'user-' || n || '@example.com' FROM generate_series(1, 10000) n;

ALTER TABLE logs DROP CONSTRAINT logs_pkey; -- random keys: quicker all at once

INSERT INTO logs (id, "timestamp", level, module, message, user_id, session_id, context_id, trace_id)
SELECT 'log_' || md5(n::text),
       CASE WHEN n <= old THEN now() - interval '30 days 1 hour' - (old - n) * (interval '30 days' / old)
            ELSE now() - (size - n) * (interval '29 days' / (size - old)) END,
       (ARRAY['INFO', 'INFO', 'INFO', 'DEBUG', 'WARN', 'ERROR'])[1 + n % 6],
       'module-' || n % 40,
       'request ' || n || ' was answered in ' || n % 900 || ' ms with status 200, after a look at ' || n % 70 || ' rows of the cache',
       CASE WHEN n % 3 > 0 THEN 'user-' || (1 + n * 7919 % 10000) END,
       'sess_' || md5((n / 20)::text),
       CASE WHEN n % 4 = 0 THEN 'ctx_' || md5((n / 50)::text) END,
       md5('trace' || n / 5)
FROM (SELECT current_setting('bench.rows')::bigint AS size, current_setting('bench.old')::bigint AS old) b
CROSS JOIN LATERAL generate_series(1, b.size) n;

ALTER TABLE logs ADD PRIMARY KEY (id);
