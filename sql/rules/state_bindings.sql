-- State bindings that are expired.
SELECT r.ctid
FROM {table} r
WHERE r.expires_at < @now::timestamptz
