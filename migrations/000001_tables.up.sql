-- Runs with search_path set to the scheduler's schema, in which River's own
-- tables exist already. Unqualified names are therefore ours.

-- One row a job: what the leader's registry and configuration declare, and what
-- operators set. The view scheduled_jobs adds what follows from the runs.
CREATE TABLE job_definitions (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_name          text NOT NULL UNIQUE CHECK (job_name ~ '^[a-z][a-z0-9_]{0,99}$'),
    description       text NOT NULL DEFAULT '',
    schedule          text NOT NULL,
    schedule_override text,
    timezone          text NOT NULL DEFAULT 'UTC',
    enabled           boolean NOT NULL DEFAULT true,
    paused_at         timestamptz,
    paused_by         text,
    paused_reason     text,
    overlap           text NOT NULL DEFAULT 'skip' CONSTRAINT job_definitions_overlap CHECK (overlap IN ('skip')),
    catch_up          text NOT NULL DEFAULT 'latest' CONSTRAINT job_definitions_catch_up CHECK (catch_up IN ('latest')),
    timeout           interval NOT NULL CHECK (timeout > interval '0'),
    max_attempts      integer NOT NULL CHECK (max_attempts BETWEEN 1 AND 32767),
    dry_run           boolean NOT NULL DEFAULT false,
    parameters        jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(parameters) = 'object'),
    parameter_specs   jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(parameter_specs) = 'array'),
    -- What the last deployment declared. A leader that declares the same leaves
    -- the row alone, so that a change by SQL outlives a take-over.
    declared          jsonb,
    registered        boolean NOT NULL DEFAULT true,
    problem           text,
    last_tick         timestamptz,
    -- Null means: not planned. The leader plans every job that may run.
    next_run          timestamptz,
    -- Runs handed to River. Kept here, where only the leader writes, because a
    -- counter of ended runs would be locked by every worker.
    enqueued_count    bigint NOT NULL DEFAULT 0,
    created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((paused_at IS NULL) = (paused_by IS NULL))
);

-- Due jobs are found by time: the cost grows with what is due.
CREATE INDEX job_definitions_due ON job_definitions (next_run) WHERE next_run IS NOT NULL;

-- The ledger: one row for every tick decided and every run asked for.
CREATE TABLE job_runs (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_name         text NOT NULL,
    tick             timestamptz NOT NULL,
    trigger          text NOT NULL CONSTRAINT job_runs_trigger CHECK (trigger IN ('schedule', 'manual', 'bootstrap', 'backfill')),
    status           text NOT NULL CONSTRAINT job_runs_status CHECK (status IN ('requested', 'pending', 'running', 'retrying', 'success', 'failed', 'cancelled', 'skipped', 'missed')),
    reason           text,
    river_job_id     bigint,
    attempt          integer NOT NULL DEFAULT 0,
    replica_id       text,
    leader_epoch     bigint,
    requested_by     text,
    parameters       jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(parameters) = 'object'),
    dry_run          boolean NOT NULL DEFAULT false,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    enqueued_at      timestamptz,
    started_at       timestamptz,
    finished_at      timestamptz,
    rows_affected    bigint,
    details          jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(details) = 'object'),
    error            text,
    -- Only for status missed: the row stands for this many ticks, from tick to
    -- last_missed_tick.
    missed_count     bigint,
    last_missed_tick timestamptz,
    CHECK ((status = 'missed') = (missed_count IS NOT NULL)),
    CHECK ((missed_count IS NULL) = (last_missed_tick IS NULL))
);

-- A tick of a job is decided once.
CREATE UNIQUE INDEX job_runs_tick ON job_runs (job_name, tick) WHERE trigger = 'schedule';
-- What has not ended: the overlap policy and the leader ask for it.
CREATE INDEX job_runs_unfinished ON job_runs (job_name, status) WHERE status IN ('requested', 'pending', 'running', 'retrying');
-- A job's newest run, for scheduled_jobs.
CREATE INDEX job_runs_started ON job_runs (job_name, id DESC) WHERE started_at IS NOT NULL;
CREATE INDEX job_runs_job_name ON job_runs (job_name, id DESC);
CREATE INDEX job_runs_finished_at ON job_runs (finished_at) WHERE finished_at IS NOT NULL;

-- One row: the last leader. Whether it leads still, the view leader tells.
CREATE TABLE leadership (
    singleton    boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    epoch        bigint NOT NULL DEFAULT 0,
    replica_id   text,
    backend_pid  integer,
    acquired_at  timestamptz,
    -- Set by the first replica of a fleet, cleared by the leader that has enqueued
    -- the bootstrap jobs.
    bootstrap_due boolean NOT NULL DEFAULT false
);
INSERT INTO leadership DEFAULT VALUES;

-- Rows that a cleanup has found in its pass and goes through in batches. Not
-- logged: after a crash of the server they are found again.
CREATE UNLOGGED TABLE retention_candidates (
    run_id   bigint NOT NULL,
    target   text NOT NULL,
    n        bigint NOT NULL,
    row_ctid tid NOT NULL,
    PRIMARY KEY (run_id, target, n)
);

COMMENT ON TABLE job_definitions IS 'One row a job, as declared and as set by operators. Read scheduled_jobs or jobs instead.';
COMMENT ON TABLE job_runs IS 'The ledger: one row for every tick decided and every run asked for. Follows river_job by trigger.';
COMMENT ON TABLE leadership IS 'The last leader. See the view leader for who leads now.';
COMMENT ON TABLE retention_candidates IS 'Working set of running cleanups. Safe to truncate: they find their rows again.';

-- What has really run: a migration and this line commit together, unlike the table
-- of migrations.
CREATE OR REPLACE FUNCTION migrated_version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1';
