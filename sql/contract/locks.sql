-- The advisory locks of this session, those of its transaction among them.
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
