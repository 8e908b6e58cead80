-- The pass of a rule with a mark: every row that the rule names, in the order of the
-- table, and who wrote it, where that transaction is not below the horizon.
--
-- All that the pass sees was committed by then, so it saw all that those transactions
-- wrote. A transaction that stays open anywhere on the server holds the horizon back,
-- and all that was written since is named here.
SELECT {alias}.ctid, {written}
FROM {table} {alias}
WHERE (
{condition}
)
ORDER BY {alias}.ctid
