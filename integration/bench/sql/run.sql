-- How a run ended; nothing while it has not.
SELECT r.status, coalesce(r.error, '') AS error, r.started_at, r.finished_at, coalesce(r.rows_affected, 0) AS rows,
       coalesce((SELECT sum((t.value ->> 'batches')::bigint) FROM jsonb_each(r.details -> 'targets') t), 0)::bigint AS batches
FROM scheduler.job_runs r
WHERE r.id = @id AND r.finished_at IS NOT NULL
