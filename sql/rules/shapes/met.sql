-- After the pass, in its snapshot: the transactions, not below the horizon, that
-- wrote candidates. They were over by then, so the pass saw all that they wrote. A
-- transaction that stays open anywhere on the server holds the horizon back, and all
-- that was written since is found here; what goes beyond the limit waits for the next
-- run.
SELECT DISTINCT t.xmin::text
FROM scheduler.retention_candidates c
JOIN {table} t ON t.ctid = c.row_ctid
WHERE c.run_id = @_run_id AND c.target = @_target
  AND (t.xmin::text::bigint - @_horizon::bigint) & 4294967295
      < pg_snapshot_xmax(pg_current_snapshot())::text::bigint - @_horizon::bigint
LIMIT 1000
