-- What the leader, the workers and River's driver need. No DDL, no TRUNCATE, not the owner.
-- UPDATE also stands for row locks.
GRANT SELECT, INSERT, UPDATE ON scheduler.job_definitions, scheduler.scheduler_state TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON
    scheduler.job_runs, scheduler.undecided_spans, scheduler.retention_candidates, scheduler.river_job, scheduler.river_queue
TO {role};
GRANT SELECT, UPDATE ON scheduler.leadership, scheduler.backfill_requests TO {role};
GRANT SELECT, INSERT, DELETE ON scheduler.run_log_chunks TO {role};
GRANT INSERT ON scheduler.archived_rows TO {role};
GRANT USAGE ON SEQUENCE scheduler.river_job_id_seq TO {role};
GRANT EXECUTE ON FUNCTION
    scheduler.wait_for_leader_lock(), scheduler.join_fleet(boolean), scheduler.wake_leader(),
    scheduler.check_policies(scheduler.job_definitions), scheduler.check_parameters(scheduler.job_definitions, jsonb)
TO {role};
