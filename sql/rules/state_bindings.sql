-- State bindings that are expired.
SELECT r.ctid
FROM oauth_state_bindings r
WHERE r.expires_at < @now::timestamptz
