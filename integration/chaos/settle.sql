-- What is in order, and what is not yet. $1: the end of the fault.
WITH replica AS MATERIALIZED (
    SELECT replica_id FROM scheduler.replicas WHERE replica_id IS NOT NULL
), mark AS (
    SELECT id, coalesce(rows_affected, 0) AS rows_affected FROM scheduler.job_runs
    WHERE job_name = 'mark' AND status IN ('requested', 'waiting', 'pending', 'running', 'retrying') AND created_at < clock_timestamp() - interval '10 seconds'
    ORDER BY id LIMIT 1
)
SELECT coalesce((SELECT replica_id FROM scheduler.leader), '') AS leader,
       ARRAY(SELECT replica_id FROM replica ORDER BY replica_id COLLATE "C") AS replicas,
       coalesce(extract(epoch FROM clock_timestamp() - (
           SELECT max(coalesce(last_missed_tick, tick)) FROM scheduler.job_runs WHERE job_name = 'each_second' AND trigger = 'schedule')), 1e6)::double precision AS newest_age,
       EXISTS (SELECT FROM scheduler.job_runs WHERE job_name = 'each_second' AND trigger = 'schedule' AND status = 'success' AND tick > $1) AS succeeded,
       (SELECT count(*) FROM scheduler.job_runs
        WHERE status IN ('requested', 'waiting', 'pending', 'running', 'retrying') AND job_name NOT IN ('mark', 'extra')
          AND created_at < clock_timestamp() - CASE job_name WHEN 'long' THEN interval '60 seconds' ELSE interval '10 seconds' END) AS old,
       ARRAY(SELECT format('river_job %s (%s) attempt %s of %s', j.id, j.kind, j.attempt, j.attempted_by[array_upper(j.attempted_by, 1)])
             FROM scheduler.river_job j
             WHERE j.state = 'running' AND NOT EXISTS (SELECT FROM replica r WHERE r.replica_id = j.attempted_by[array_upper(j.attempted_by, 1)])
             ORDER BY j.id) AS orphans,
       coalesce((SELECT id FROM mark), 0) AS mark_run,
       coalesce((SELECT rows_affected FROM mark), 0) AS mark_rows
