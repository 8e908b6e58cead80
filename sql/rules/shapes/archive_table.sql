-- What goes arrives in the archive, by the same statement: both are counted, since a
-- trigger of the archive's may drop rows without a word.
WITH gone AS (
{delete}
RETURNING {returning}.*
), kept AS (
INSERT INTO {archive} ({columns})
SELECT {columns}
FROM gone
RETURNING 1
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM kept)
