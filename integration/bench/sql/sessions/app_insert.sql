INSERT INTO user_sessions (
    session_id, user_id, expires_at, ip_address, user_agent, device_type, browser, os, country, landing_page, entry_url, fingerprint_hash)
VALUES ($1, 'user-' || (1 + $2::bigint % 10000), now() + interval '7 days', '192.0.2.' || $2::bigint % 250,
        'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36',
        'desktop', 'Chrome', 'Linux', 'AT', '/page-' || $2::bigint % 200, 'https://example.com/page?id=' || $2::bigint, md5($1))
