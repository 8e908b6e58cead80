-- What somebody sees at a glance: read often, so that each is found by an index and
-- bounded.

-- name: list_history
-- The newest runs of each job, oldest first.
SELECT j.job_name, h.ids, h.statuses, h.durations, h.row_counts
FROM scheduler.scheduled_jobs j
CROSS JOIN LATERAL (
    SELECT array_agg(r.id ORDER BY r.id) AS ids,
           array_agg(r.status ORDER BY r.id) AS statuses,
           array_agg(coalesce(extract(epoch FROM r.duration), 0)::double precision ORDER BY r.id) AS durations,
           array_agg(CASE WHEN r.dry_run THEN 0 ELSE coalesce(r.rows_affected, 0) END ORDER BY r.id) AS row_counts
    FROM (
        SELECT n.id, n.status, n.duration, n.dry_run, n.rows_affected
        FROM scheduler.runs n
        WHERE n.job_name = j.job_name
        -- The view is in this order. A sort of our own would be of all the job's runs.
        LIMIT @max
    ) r
) h
WHERE h.ids IS NOT NULL AND (@job_name = '' OR j.job_name = @job_name)
ORDER BY j.job_name

-- name: rows_by_day
-- Days of UTC, of the last thirty. Dry runs change nothing. Not from the view runs: its
-- order would have the ledger read from end to end.
SELECT job_name, day::timestamp AT TIME ZONE 'UTC' AS day, rows_affected AS row_count
FROM scheduler.cleaned_by_day
WHERE day >= (@since::timestamptz AT TIME ZONE 'UTC')::date AND (@job_name = '' OR job_name = @job_name)
ORDER BY job_name, day

-- name: list_incidents
-- What did not go as it should, alike ones together.
SELECT job_name, status, coalesce(reason, '') AS reason, count(*) AS runs, coalesce(sum(missed_count), 0)::bigint AS missed,
       max(finished_at) AS last_at, max(id) AS last_id, (array_agg(error ORDER BY id DESC))[1] AS last_error
FROM scheduler.runs
WHERE finished_at >= @since AND status IN ('skipped', 'missed', 'failed', 'blocked', 'cancelled') AND (@job_name = '' OR job_name = @job_name)
GROUP BY job_name, status, reason
ORDER BY last_at DESC
LIMIT @max

-- name: list_working
-- What has not ended, without what is only planned.
SELECT id, job_name, tick, trigger, status, reason, attempt, replica_id, started_at, finished_at, extract(epoch FROM duration)::double precision AS duration,
       rows_affected, dry_run, targets, message, error, missed_count, last_missed_tick, requested_by, parameters, river_job_id, leader_epoch, backfill_id,
       progress_done, progress_total, rows_per_second, seconds_left, progress_message
FROM scheduler.runs
WHERE status IN ('requested', 'pending', 'running', 'retrying')
LIMIT @max

-- name: readiness
-- overdue is by how much the leader is behind with the tick that is due longest.
SELECT (SELECT l.replica_id FROM scheduler.leader l) AS leader,
       coalesce((SELECT greatest(extract(epoch FROM clock_timestamp() - min(j.next_run)), 0) FROM scheduler.scheduled_jobs j), 0)::double precision AS overdue
