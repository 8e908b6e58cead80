-- Decisions of an earlier term come before those of a later one.
SELECT 'epoch_fell' AS kind, format('run %s', e.id) AS key, 1::bigint AS n,
       format('run %s was decided in term %s, the run before it in term %s', e.id, e.leader_epoch, e.before) AS detail
FROM (
    SELECT id, leader_epoch, lag(leader_epoch) OVER (ORDER BY id) AS before
    FROM scheduler.job_runs
    WHERE job_name = 'each_second' AND trigger = 'schedule' AND leader_epoch IS NOT NULL AND created_at >= @since
) e
WHERE e.leader_epoch < e.before
