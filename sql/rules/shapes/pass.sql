-- The pass: every row that the rule names, in the order of the table. The only
-- time that the whole table is looked at.
INSERT INTO scheduler.retention_candidates (run_id, target, n, row_ctid)
SELECT @_run_id::bigint, @_target::text, row_number() OVER (ORDER BY r.ctid), r.ctid
FROM (
{rule}
) r
