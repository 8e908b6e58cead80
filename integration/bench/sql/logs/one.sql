-- What the job deletes from logs: old ones, and those whose user is gone.
DELETE FROM logs l
WHERE l."timestamp" < now() - interval '30 days'
   OR l.user_id <> '' AND l.user_id <> 'system' AND NOT EXISTS (SELECT FROM users u WHERE u.id = l.user_id)
