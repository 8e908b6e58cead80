-- Ended runs older than retention_days. Of each job, the newest that has ended
-- stays, and the newest that has started, of which scheduled_jobs tells.
SELECT r.ctid
FROM {table} r
WHERE r.status IN ('success', 'failed', 'cancelled', 'skipped', 'missed', 'blocked')
  AND r.finished_at < @now::timestamptz - make_interval(days => @retention_days)
  AND EXISTS (
      SELECT FROM scheduler.job_runs n
      WHERE n.job_name = r.job_name AND n.id > r.id
        AND n.status IN ('success', 'failed', 'cancelled', 'skipped', 'missed', 'blocked'))
  AND (r.started_at IS NULL OR EXISTS (
      SELECT FROM scheduler.job_runs n
      WHERE n.job_name = r.job_name AND (n.started_at, n.id) > (r.started_at, r.id)))
