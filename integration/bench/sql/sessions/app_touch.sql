UPDATE user_sessions SET last_activity_at = now(), request_count = request_count + 1 WHERE session_id = $1 AND ended_at IS NULL
