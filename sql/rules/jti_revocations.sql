-- Revocations of tokens that are expired themselves.
SELECT r.ctid
FROM oauth_jti_revocations r
WHERE r.exp < @now::timestamptz
