-- What goes arrives in the archive, by the same statement: both are counted, since a
-- trigger of the archive's may drop rows without a word. OVERRIDING is for identity columns
-- of an archive made by LIKE; elsewhere it changes nothing.
WITH gone AS (
{delete}
RETURNING {returning}.*
), kept AS (
INSERT INTO {archive} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {columns}
FROM gone
RETURNING 1
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM kept)
