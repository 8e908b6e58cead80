-- The runs of purge count together what they have deleted.
SELECT CASE WHEN counted.n > audited.n THEN 'effect_lost' ELSE 'effect_doubled' END AS kind,
       format('purge %s of %s', counted.n, audited.n) AS key,
       abs(counted.n - audited.n) AS n,
       format('the ledger counts %s deleted rows, the audit %s', counted.n, audited.n) AS detail
FROM (SELECT coalesce(sum(rows_affected), 0)::bigint AS n FROM scheduler.job_runs WHERE job_name = 'purge') counted,
     (SELECT count(*) AS n FROM items_audit WHERE op = 'DELETE') audited
WHERE counted.n <> audited.n
