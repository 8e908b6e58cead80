-- Items whose time is over.
SELECT i.ctid
FROM items i
WHERE i.expires_at < @now::timestamptz
