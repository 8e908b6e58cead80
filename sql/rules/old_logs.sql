-- Logs older than log_retention_days.
SELECT l.ctid
FROM {table} l
WHERE l."timestamp" < @now::timestamptz - make_interval(days => @log_retention_days)
