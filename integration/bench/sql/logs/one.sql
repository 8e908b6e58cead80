-- What the job deletes from logs: old ones, and then those whose user is gone.
WITH old AS (
    DELETE FROM logs WHERE "timestamp" < now() - interval '30 days'
)
DELETE FROM logs l
WHERE l.user_id <> '' AND l.user_id <> 'system' AND NOT EXISTS (SELECT FROM users u WHERE u.id = l.user_id)
