-- What goes arrives in the archive, by the same statement. The .* is there for tables
-- with a column of that name.
WITH gone AS (
{delete}
RETURNING {returning}.*
)
INSERT INTO scheduler.archived_rows (run_id, job_name, target, table_name, row)
SELECT @_run_id::bigint, @_job::text, @_target::text, @_table_name::text, to_jsonb(gone.*)
FROM gone
