INSERT INTO logs (id, level, module, message, user_id, session_id, trace_id)
VALUES ($1, 'INFO', 'module-' || $2::bigint % 40, 'request ' || $2::bigint || ' was answered in 12 ms with status 200, after a look at 7 rows of the cache',
        'user-' || (1 + $2::bigint % 10000), 'sess_' || md5($1), md5($1))
