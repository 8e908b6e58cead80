-- A run of mark counts the rows that it changed, at any moment: each batch commits
-- with its count.
WITH audit AS (
    SELECT marked_by AS run_id, count(*) AS changes FROM items_audit WHERE op = 'UPDATE' GROUP BY marked_by
)
SELECT CASE WHEN coalesce(r.rows_affected, 0) > coalesce(a.changes, 0) THEN 'effect_lost' ELSE 'effect_doubled' END AS kind,
       format('mark %s', coalesce(r.id, a.run_id)) AS key,
       abs(coalesce(r.rows_affected, 0) - coalesce(a.changes, 0)) AS n,
       format('status %s, attempt %s: the ledger counts %s rows, the audit %s', r.status, r.attempt, r.rows_affected, a.changes) AS detail
FROM (SELECT * FROM scheduler.job_runs WHERE job_name = 'mark') r FULL JOIN audit a ON a.run_id = r.id
WHERE coalesce(r.rows_affected, 0) <> coalesce(a.changes, 0)
