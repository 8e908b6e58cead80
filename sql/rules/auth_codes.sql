-- Authorization codes that are expired or used.
SELECT c.ctid
FROM {table} c
WHERE c.expires_at < @now::timestamptz OR c.used_at IS NOT NULL
