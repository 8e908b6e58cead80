-- Every run that has succeeded left its effect, once; no other run left any.
WITH effect AS (
    SELECT run_id, count(*) AS hits, string_agg(format('attempt %s by %s', attempt, replica), ', ') AS attempts
    FROM hits GROUP BY run_id
), run AS (
    SELECT id, job_name, tick, status, attempt, replica_id
    FROM scheduler.job_runs WHERE job_name IN ('each_second', 'long', 'extra') AND NOT dry_run
)
SELECT CASE WHEN e.run_id IS NULL THEN 'effect_lost' ELSE 'effect_doubled' END AS kind,
       coalesce(r.id, e.run_id)::text AS key,
       CASE WHEN e.run_id IS NULL THEN 1 WHEN r.status = 'success' THEN e.hits - 1 ELSE e.hits END AS n,
       format('%s, tick %s, status %s, attempt %s on %s; hits: %s', coalesce(r.job_name, 'no run'), r.tick, r.status, r.attempt, r.replica_id, coalesce(e.attempts, 'none')) AS detail
FROM run r FULL JOIN effect e ON e.run_id = r.id
WHERE coalesce(r.status = 'success', false) <> (e.run_id IS NOT NULL) OR e.hits > 1
UNION ALL
-- And no tick had two of them.
SELECT 'tick_doubled', 'hits of ' || h.tick, count(*) - 1, format('runs %s', string_agg(h.run_id::text, ', '))
FROM hits h JOIN scheduler.job_runs r ON r.id = h.run_id
WHERE r.job_name = 'each_second' AND r.trigger = 'schedule'
GROUP BY h.tick HAVING count(*) > 1
