-- What goes arrives in the archive, by the same statement: both are counted. The .* is
-- there for tables with a column of that name.
WITH gone AS (
{delete}
RETURNING {returning}.*
), kept AS (
INSERT INTO scheduler.archived_rows (run_id, job_name, target, table_name, row)
SELECT @_run_id::bigint, @_job::text, @_target::text, @_table_name::text, to_jsonb(gone.*)
FROM gone
RETURNING 1
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM kept)
