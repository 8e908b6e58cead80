-- What goes arrives in the archive, by the same statement.
WITH gone AS (
{delete}
RETURNING {returning}.*
)
INSERT INTO {archive} ({columns})
SELECT {columns}
FROM gone
