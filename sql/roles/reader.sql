-- Reads every view, the state of the scheduler and the versions of the schema; no other
-- table, so none of the application's rows in archived_rows. The functions are those that
-- the views call.
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT ON
    scheduler.agenda, scheduler.backfills, scheduler.cleaned_by_day, scheduler.failures, scheduler.job_stats, scheduler.jobs,
    scheduler.leader, scheduler.operations, scheduler.overdue, scheduler.replicas, scheduler.rollout, scheduler.running,
    scheduler.run_logs, scheduler.runs, scheduler.scheduled_jobs,
    scheduler.scheduler_state, scheduler.schema_migrations, scheduler.river_migration
TO {role};
GRANT EXECUTE ON FUNCTION
    scheduler.lock_key(), scheduler.schedule_in_force(scheduler.job_definitions), scheduler.timezone_in_force(scheduler.job_definitions),
    scheduler.migrated_version(), scheduler.oldest_compatible_version()
TO {role};
