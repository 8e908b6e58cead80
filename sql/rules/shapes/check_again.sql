-- Whether a condition looks at what its rule sets: the other columns alone. It does, if
-- the server does not find a column.
EXPLAIN (FORMAT JSON)
SELECT
FROM (SELECT {columns} FROM {table}) t
WHERE (
{condition}
)
