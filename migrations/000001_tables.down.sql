DROP TABLE retention_candidates;
DROP TABLE leadership;
DROP TABLE job_runs;
DROP TABLE job_definitions;
DROP FUNCTION migrated_version();
