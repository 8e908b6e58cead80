SELECT ctid FROM user_sessions
WHERE ended_at IS NULL AND last_activity_at < @began::timestamptz - interval '1 hour'
