-- What the metrics sample.

-- name: sample
-- Counting stops at a bound. Each ORDER BY is that of an index, which is then read
-- from where its state begins: the planner's guess of how many rows a state has is
-- out of date in a busy queue, and a wrong one would read the whole table.
SELECT available.n AS available, running.n AS running, retryable.n AS retryable, scheduled.n AS scheduled, pending.n AS pending,
       greatest(now() - available.oldest, interval '0') AS oldest_available, waiting.n AS waiting,
       j.active AS jobs_active, j.paused AS jobs_paused, j.disabled AS jobs_disabled, j.unregistered AS jobs_unregistered, j.problem AS jobs_problem
FROM (SELECT count(*) AS n, coalesce(min(scheduled_at), now()) AS oldest FROM (
          SELECT scheduled_at FROM scheduler.river_job WHERE state = 'available' ORDER BY queue, priority, scheduled_at, id LIMIT @max) s) available,
     (SELECT count(*) AS n FROM (
          SELECT FROM scheduler.river_job WHERE state = 'running' ORDER BY queue, priority, scheduled_at, id LIMIT @max) s) running,
     (SELECT count(*) AS n FROM (
          SELECT FROM scheduler.river_job WHERE state = 'retryable' ORDER BY queue, priority, scheduled_at, id LIMIT @max) s) retryable,
     (SELECT count(*) AS n FROM (
          SELECT FROM scheduler.river_job WHERE state = 'scheduled' ORDER BY queue, priority, scheduled_at, id LIMIT @max) s) scheduled,
     (SELECT count(*) AS n FROM (
          SELECT FROM scheduler.river_job WHERE state = 'pending' ORDER BY queue, priority, scheduled_at, id LIMIT @max) s) pending,
     (SELECT count(*) AS n FROM (
          SELECT FROM scheduler.job_runs WHERE status = 'waiting' ORDER BY job_name, (reason IS DISTINCT FROM 'queued'), tick, id LIMIT @max) s) waiting,
     (SELECT count(*) FILTER (WHERE registered AND paused_at IS NULL AND enabled AND NOT rests) AS active,
             count(*) FILTER (WHERE registered AND paused_at IS NOT NULL) AS paused,
             count(*) FILTER (WHERE registered AND paused_at IS NULL AND (NOT enabled OR rests)) AS disabled,
             count(*) FILTER (WHERE NOT registered) AS unregistered,
             count(*) FILTER (WHERE problem IS NOT NULL) AS problem
      FROM scheduler.job_definitions,
           (SELECT EXISTS (SELECT FROM scheduler.scheduler_state WHERE disabled_at IS NOT NULL) AS rests) state) j
