UPDATE user_sessions SET ended_at = now()
WHERE session_id IN (
    SELECT session_id FROM user_sessions
    WHERE ended_at IS NULL AND last_activity_at < now() - interval '1 hour'
    ORDER BY last_activity_at
    LIMIT 1000)
