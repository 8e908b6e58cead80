-- Jobs in every state and runs in every status, for the pages. The jobs are registered,
-- though no replica knows them, and not due for days. No trigger fires.
SET session_replication_role = replica;

INSERT INTO scheduler.job_definitions (job_name, description, schedule, schedule_override, timezone, enabled, paused_at, paused_by, paused_reason, overlap, catch_up, timeout, max_attempts,
    dry_run, parameters, parameter_specs, registered, problem, next_run, dry_run_from, dry_run_until, good_schedule, good_timezone)
SELECT name, description, schedule, override, zone, enabled, CASE WHEN reason <> '' THEN now() - interval '3 hours' END, CASE WHEN reason <> '' THEN 'anna' END, nullif(reason, ''), 'skip', 'latest', '1 hour', 3,
    dry, parameters::jsonb, specs::jsonb, registered, problem, CASE WHEN reason = '' AND enabled AND registered THEN now() + later END, rollout - interval '7 days', rollout, schedule, zone
FROM (VALUES
    ('aggregate_usage', 'Sums up usage by tenant and hour.', '*/5 * * * *', NULL, 'UTC', true, '', false, '{}', '[]', true, NULL, interval '4 days', NULL::timestamptz),
    ('billing_close_of_the_month_for_every_tenant_and_each_of_its_subsidiaries_in_the_european_area_eea', 'A name as long as names may be.', '0 4 1 * *', NULL, 'Europe/Berlin', true, '', false, '{}', '[]', true, NULL, interval '5 days', NULL),
    ('disabled_report', 'Is disabled by the configuration.', '@weekly', NULL, 'UTC', false, '', false, '{}', '[]', true, NULL, interval '4 days', NULL),
    ('export_orders', 'Hands orders to the warehouse.', '15 * * * 1-5', '30 * * * 1-5', 'America/New_York', true, '', false,
        '{"batch": 500, "mode": "delta", "tables": ["orders", "order_lines"], "lag": "5m", "verify": true}',
        '[{"name": "batch", "type": "integer", "description": "Rows in a batch.", "default": 500, "minimum": 1, "maximum": 100000},
          {"name": "mode", "type": "string", "description": "What is exported.", "default": "delta", "enum": ["delta", "full"]},
          {"name": "tables", "type": "strings", "description": "The tables.", "default": ["orders"]},
          {"name": "lag", "type": "duration", "description": "How much later than the order.", "default": "5m", "minimum": 1},
          {"name": "verify", "type": "boolean", "description": "Whether it counts again.", "default": true}]', true, NULL, interval '4 days', NULL),
    ('failing_import', 'Fails, most of the time.', '*/10 * * * *', NULL, 'UTC', true, '', false, '{}', '[]', true, NULL, interval '4 days', NULL),
    ('guarded_cleanup', 'Was held back.', '0 5 * * *', NULL, 'UTC', true, '', false, '{}', '[]', true, NULL, interval '4 days', NULL),
    ('new_cleanup', 'Is in rollout: its scheduled runs are dry.', '0 6 * * *', NULL, 'UTC', true, '', false, '{}', '[]', true, NULL, interval '4 days', now() + interval '4 days'),
    ('old_job', 'Its code is gone.', '0 0 * * *', NULL, 'UTC', true, '', false, '{}', '[]', false, NULL, interval '4 days', NULL),
    ('paused_sync', 'Is paused.', '@hourly', NULL, 'UTC', true, 'the warehouse moves house until Thursday; ask the on-call of logistics before you resume it, or https://wiki.example.com/a/rather/long/address/without/any/spaces/in/it', false, '{}', '[]', true, NULL, interval '4 days', NULL),
    ('rehearsal', 'Only counts.', '0 7 * * *', NULL, 'UTC', true, '', true, '{}', '[]', true, NULL, interval '4 days', NULL),
    ('wrong_schedule', 'Somebody set a text that cannot be read.', '0 8 * * *', '61 * * * *', 'UTC', true, '', false, '{}', '[]', true, 'schedule "61 * * * *": the minute is 61, must be 0 to 59; the schedule before stays in force', interval '4 days', NULL)
) AS v (name, description, schedule, override, zone, enabled, reason, dry, parameters, specs, registered, problem, later, rollout);

-- What has ended: of each job, an hour apart.
INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, reason, attempt, replica_id, leader_epoch, started_at, finished_at, rows_affected, dry_run, error, missed_count, last_missed_tick, details)
SELECT job_name, at, 'schedule', status,
    CASE status WHEN 'skipped' THEN 'overlap' WHEN 'missed' THEN 'outage' WHEN 'cancelled' THEN 'by anna: it was the wrong day' END,
    CASE status WHEN 'failed' THEN 3 ELSE 1 END, 'replica-' || n % 3, 1,
    CASE WHEN status NOT IN ('skipped', 'missed') THEN at END,
    at + CASE WHEN status IN ('skipped', 'missed') THEN interval '0' ELSE make_interval(secs => exp(n * 7 % 8)) END,
    CASE WHEN status = 'success' THEN (n * 7919) % 100000 END, job_name IN ('rehearsal', 'new_cleanup'),
    CASE status
        WHEN 'failed' THEN E'panic: runtime error: index out of range [3] with length 3\n\ngoroutine 118 [running]:\ngithub.com/example/platform/imports.(*Importer).row(0xc0004c21e0, {0xc000a3c000, 0x3, 0x3})\n\t/src/platform/imports/importer.go:214 +0x5d4\ngithub.com/example/platform/imports.(*Importer).Run(0xc0004c21e0, {0x1a2b3c4, 0xc0001a40f0})\n\t/src/platform/imports/importer.go:131 +0x2a8'
        WHEN 'blocked' THEN 'target "orders": 812,204 rows of 1,000,000 would be deleted, and max_share is 0.2' || E'\nNothing was changed. Look at the data; then raise max_share, or run it with max_share=1.'
    END,
    CASE status WHEN 'missed' THEN 7 END, CASE status WHEN 'missed' THEN at + interval '6 minutes' END,
    CASE WHEN status = 'success' THEN jsonb_build_object('message', 'done', 'targets', jsonb_build_object('orders', jsonb_build_object('rows', (n * 7919) % 100000, 'batches', 1 + n % 40, 'plan', 'by waves along orders_pkey'), 'order_lines', jsonb_build_object('rows', 0, 'batches', 1, 'note', 'nothing to do'))) ELSE '{}' END
FROM (
    SELECT j.job_name, n, now() - make_interval(hours => 60 - n, secs => length(j.job_name)) AS at,
        CASE
            WHEN j.job_name = 'failing_import' AND n % 4 <> 1 THEN 'failed'
            WHEN j.job_name = 'guarded_cleanup' AND n = 59 THEN 'blocked'
            WHEN j.job_name = 'aggregate_usage' AND n = 44 THEN 'missed'
            WHEN j.job_name = 'aggregate_usage' AND n % 13 = 6 THEN 'skipped'
            WHEN j.job_name = 'export_orders' AND n = 50 THEN 'cancelled'
            WHEN j.job_name = 'export_orders' AND n = 57 THEN 'failed'
            ELSE 'success'
        END AS status
    FROM scheduler.job_definitions j CROSS JOIN generate_series(1, 59) n
    WHERE j.job_name NOT IN ('disabled_report', 'cleanup_empty_contexts', 'cleanup_inactive_sessions', 'database_cleanup', 'cleanup_job_runs')
) v;

-- What has not.
INSERT INTO scheduler.job_runs (job_name, tick, trigger, status, reason, attempt, replica_id, leader_epoch, requested_by, parameters, dry_run, started_at, rows_affected, error, details)
VALUES
    ('aggregate_usage', now() - interval '40 seconds', 'manual', 'running', NULL, 1, 'replica-1', 1, 'anna', '{"batch": 500}', false, now() - interval '40 seconds', 1200000,  NULL,
        '{"progress": {"done": 1200000, "total": 3400000, "rows_per_second": 30000, "seconds_left": 73.3, "message": "target orders"}, "targets": {"orders": {"rows": 1200000, "batches": 240}}}'),
    ('export_orders', now() - interval '2 minutes', 'schedule', 'retrying', NULL, 1, 'replica-0', 1, NULL, '{}', true, now() - interval '2 minutes', NULL, 'connect to the warehouse: connection refused', '{}'),
    ('paused_sync', now() - interval '1 minute', 'schedule', 'pending', NULL, 0, NULL, 1, NULL, '{}', false, NULL, NULL, NULL, '{}'),
    ('aggregate_usage', now() - interval '30 seconds', 'backfill', 'waiting', 'backfill', 0, NULL, 1, 'anna', '{}', false, NULL, NULL, NULL, '{}'),
    ('rehearsal', now() + interval '2 hours', 'manual', 'scheduled', NULL, 0, NULL, NULL, 'anna', '{}', true, NULL, NULL, NULL, '{}');

-- What the failed run has logged.
INSERT INTO scheduler.run_log_chunks (run_id, attempt, replica_id, lines)
SELECT r.id, a.attempt, 'replica-' || a.attempt, jsonb_build_array(
    jsonb_build_object('at', r.started_at, 'level', 'INFO', 'message', 'reading the feed', 'attributes', jsonb_build_object('url', 'https://feeds.example.com/' || repeat('long/', 30), 'rows', 1200)),
    jsonb_build_object('at', r.started_at, 'level', 'WARN', 'message', 'a row has three columns', 'attributes', '{"line": 214}'::jsonb),
    jsonb_build_object('at', r.started_at, 'level', 'ERROR', 'message', 'the feed cannot be read', 'attributes', '{}'::jsonb))
FROM (SELECT id, started_at FROM scheduler.job_runs WHERE status = 'failed' ORDER BY id DESC LIMIT 1) r, generate_series(1, 3) AS a (attempt);
RESET session_replication_role;
