-- Logs whose user is gone. A null or empty user_id names nobody and is no orphan,
-- and neither are the ids under which the platform itself writes.
-- requires: users
SELECT l.ctid
FROM {table} l
WHERE l.user_id <> ''
  AND l.user_id <> ALL (@system_user_ids::text[])
  AND NOT EXISTS (SELECT FROM users u WHERE u.id = l.user_id)
