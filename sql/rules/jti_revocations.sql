-- Revocations of tokens that are expired themselves.
SELECT r.ctid
FROM {table} r
WHERE r.exp < @now::timestamptz
