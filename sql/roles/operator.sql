-- Steers, by functions that run as the owner, check what they are given, and record who
-- called them. No table can be written otherwise.
GRANT EXECUTE ON FUNCTION
    scheduler.run_now(text, jsonb, boolean),
    scheduler.run_at(text, timestamptz, jsonb, boolean),
    scheduler.cancel_run(bigint, text),
    scheduler.cancel_runs(text, text),
    scheduler.pause_job(text, text, boolean),
    scheduler.resume_job(text),
    scheduler.pause_scheduler(text, boolean),
    scheduler.resume_scheduler(),
    scheduler.reschedule_job(text, text),
    scheduler.backfill(text, timestamptz, timestamptz, integer, boolean, jsonb, boolean),
    scheduler.cancel_backfill(bigint, text),
    scheduler.end_dry_run(text)
TO {role};
