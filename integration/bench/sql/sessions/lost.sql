-- Of the sessions that came back while still open, those that were ended all the same.
SELECT count(*) FROM user_sessions WHERE session_id = ANY (@noted::text[]) AND ended_at IS NOT NULL
