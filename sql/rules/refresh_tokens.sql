-- Refresh tokens that are expired.
SELECT r.ctid
FROM oauth_refresh_tokens r
WHERE r.expires_at < @now::timestamptz
