SELECT user_id, started_at, last_activity_at, ended_at, expires_at, revoked_at, request_count FROM user_sessions WHERE session_id = $1
