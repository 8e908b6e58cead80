-- Replay records of ID-JAG assertions that are expired.
SELECT r.ctid
FROM id_jag_replay r
WHERE r.expires_at < @now::timestamptz
