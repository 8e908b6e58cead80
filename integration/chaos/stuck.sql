-- Runs that should have ended. mark takes as long as it takes, if it goes on;
-- extra waits for a replica that knows it.
SELECT 'stuck' AS kind, format('run %s', r.id) AS key, 1::bigint AS n,
       format('%s asked for at %s: status %s (%s), attempt %s on %s; in river_job: state %s, attempt %s by %s at %s, scheduled at %s; it is %s',
              r.job_name, r.created_at, r.status, r.reason, r.attempt, r.replica_id,
              j.state, j.attempt, j.attempted_by[array_upper(j.attempted_by, 1)], j.attempted_at, j.scheduled_at, clock_timestamp()) AS detail
FROM scheduler.job_runs r LEFT JOIN scheduler.river_job j ON j.id = r.river_job_id
WHERE r.status IN ('requested', 'waiting', 'pending', 'running', 'retrying') AND r.job_name NOT IN ('mark', 'extra')
  AND r.created_at < clock_timestamp() - CASE r.job_name WHEN 'long' THEN interval '60 seconds' ELSE interval '15 seconds' END
ORDER BY r.id
