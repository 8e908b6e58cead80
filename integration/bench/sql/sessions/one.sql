UPDATE user_sessions SET ended_at = now()
WHERE ended_at IS NULL AND last_activity_at < now() - interval '1 hour'
