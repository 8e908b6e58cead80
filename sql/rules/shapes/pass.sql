-- The pass: every row that the rule names, in the order of the table. The only
-- time that the whole table is looked at. A plain SELECT, so that it may be worked
-- in parallel, and so that it writes nothing.
SELECT r.ctid
FROM (
{rule}
) r
ORDER BY r.ctid
