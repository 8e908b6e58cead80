SELECT name || ' ' || current_setting(name)
FROM unnest(ARRAY['shared_buffers', 'max_wal_size', 'checkpoint_timeout', 'fsync', 'synchronous_commit', 'full_page_writes', 'wal_level', 'autovacuum']) AS name
