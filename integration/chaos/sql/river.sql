-- The ledger says of each run what River's row says. River deletes rows of runs
-- that have ended, after a day.
SELECT 'river_differs' AS kind,
       format('run %s river_job %s', r.id, coalesce(j.id, r.river_job_id)) AS key,
       1::bigint AS n,
       format('%s, tick %s: status %s attempt %s on %s in the ledger, state %s attempt %s by %s in river_job',
              r.job_name, r.tick, r.status, r.attempt, r.replica_id, j.state, j.attempt, j.attempted_by[array_upper(j.attempted_by, 1)]) AS detail
FROM (SELECT * FROM scheduler.job_runs WHERE river_job_id IS NOT NULL OR status IN ('pending', 'running', 'retrying')) r
FULL JOIN (SELECT * FROM scheduler.river_job WHERE jsonb_typeof(args -> 'run_id') = 'number') j
       ON j.id = r.river_job_id AND (j.args ->> 'run_id')::bigint = r.id
WHERE CASE
    WHEN r.id IS NULL THEN true
    WHEN j.id IS NULL THEN r.status NOT IN ('success', 'failed', 'cancelled', 'blocked')
    ELSE r.attempt <> j.attempt OR r.status <> CASE j.state::text
        WHEN 'running' THEN 'running'
        WHEN 'completed' THEN 'success'
        WHEN 'discarded' THEN CASE WHEN j.metadata -> 'scheduler:blocked' = to_jsonb(j.attempt) THEN 'blocked' ELSE 'failed' END
        WHEN 'cancelled' THEN 'cancelled'
        WHEN 'retryable' THEN 'retrying'
        -- Available again: after a failure, or because its replica left.
        ELSE CASE WHEN r.status IN ('pending', 'retrying') THEN r.status ELSE 'pending' END END
END
