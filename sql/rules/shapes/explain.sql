-- Plans the rule: which tables does it look at?
EXPLAIN (FORMAT JSON)
SELECT {alias}.ctid
FROM {table} {alias}
WHERE (
{condition}
)
