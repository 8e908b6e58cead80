-- Open sessions that nobody has used for inactive_hours.
SELECT s.ctid
FROM {table} s
WHERE s.ended_at IS NULL
  AND s.last_activity_at < @now::timestamptz - make_interval(hours => @inactive_hours)
