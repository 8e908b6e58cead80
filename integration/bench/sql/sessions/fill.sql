-- Sessions 1 to bench.old are silent for two hours to thirty days. bench.ended says
-- whether they were ended. The others are live: they were heard of within the last
-- ten minutes, so that none becomes stale while the benchmark runs.
INSERT INTO users (id, name, email)
SELECT 'user-' || n, 'user-' || n, 'user-' || n || '@example.com' FROM generate_series(1, 10000) n;

INSERT INTO user_sessions (
    session_id, user_id, started_at, last_activity_at, ended_at, expires_at, duration_seconds,
    ip_address, user_agent, device_type, browser, os, locale, country, region, city,
    referrer_source, referrer_url, landing_page, entry_url, utm_source, utm_medium, utm_campaign,
    client_id, client_type, fingerprint_hash,
    request_count, task_count, message_count, ai_request_count, total_tokens_used, total_cost_micros, success_rate, avg_response_ms,
    is_bot, behavioral_bot_score)
SELECT 'sess_' || md5(s.n::text),
       CASE WHEN s.n % 10 > 0 THEN 'user-' || (1 + s.n * 7919 % 10000) END,
       s.active_at - s.n % 3600 * interval '1 second',
       s.active_at,
       CASE WHEN s.is_old AND current_setting('bench.ended')::boolean THEN s.active_at + interval '1 hour' END,
       s.active_at + interval '7 days',
       s.n % 3600,
       '10.' || s.n % 250 || '.' || s.n / 250 % 250 || '.' || s.n / 62500 % 250,
       'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/' || 100 + s.n % 40 || '.0.0.0 Safari/537.36',
       (ARRAY['desktop', 'mobile', 'tablet'])[1 + s.n % 3],
       (ARRAY['Chrome', 'Firefox', 'Safari', 'Edge'])[1 + s.n % 4],
       (ARRAY['Linux', 'Windows', 'macOS', 'iOS', 'Android'])[1 + s.n % 5],
       (ARRAY['en-GB', 'de-AT', 'fr-FR'])[1 + s.n % 3],
       (ARRAY['GB', 'AT', 'FR', 'DE'])[1 + s.n % 4],
       'region-' || s.n % 50,
       'city-' || s.n % 500,
       (ARRAY['direct', 'search', 'social', 'mail'])[1 + s.n % 4],
       'https://example.com/from/' || s.n % 1000,
       '/page-' || s.n % 200,
       'https://example.com/page-' || s.n % 200 || '?id=' || s.n,
       'source-' || s.n % 10,
       'medium-' || s.n % 5,
       'campaign-' || s.n % 40,
       'client-' || s.n % 5,
       (ARRAY['web', 'cli', 'api'])[1 + s.n % 3],
       md5('print' || s.n % 200000),
       s.n % 60, s.n % 4, s.n % 12, s.n % 9, s.n * 31 % 50000, s.n * 17 % 90000, 0.5 + s.n % 50 / 100.0, 20 + s.n % 400,
       s.n % 9 = 0, s.n % 100
FROM (
    SELECT n, n <= old AS is_old,
           CASE WHEN n <= old THEN now() - interval '2 hours' - (old - n) * (interval '30 days' / old)
                ELSE now() - (size - n) * (interval '10 minutes' / (size - old)) END AS active_at
    FROM (SELECT current_setting('bench.rows')::bigint AS size, current_setting('bench.old')::bigint AS old) b
    CROSS JOIN LATERAL generate_series(1, b.size) n
    -- The order in the table.
    ORDER BY CASE WHEN current_setting('bench.random')::boolean THEN hashint8(n) ELSE n END
) s;
