-- What the cleanup engine asks beside the rules themselves, which are in rules/.

-- name: retention_missing
-- Which of the relations are not there, as the search_path sees them. An empty
-- column asks for the relation alone.
SELECT n.relation, n.attribute
FROM unnest(@relations::text[], @attributes::text[]) AS n (relation, attribute)
WHERE to_regclass(n.relation) IS NULL
   OR n.attribute <> '' AND NOT EXISTS (
       SELECT FROM pg_attribute a
       WHERE a.attrelid = to_regclass(n.relation) AND a.attname = n.attribute AND a.attnum > 0 AND NOT a.attisdropped)

-- name: retention_plain
-- Whether one row of the relation has one ctid: not so across partitions, heirs
-- and foreign tables, and views have none.
SELECT c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid)
FROM pg_class c
WHERE c.oid = to_regclass(@relation)

-- name: retention_next
-- The candidates from @first on.
SELECT row_ctid
FROM scheduler.retention_candidates
WHERE run_id = @run_id AND target = @target AND n >= @first
ORDER BY run_id, target, n
LIMIT @max

-- name: retention_clear
-- Candidates that are done with; up to the last one, of a pass that begins anew.
DELETE FROM scheduler.retention_candidates
WHERE run_id = @run_id AND target = @target AND n <= @last

-- name: retention_over
-- The runs that left candidates behind: they have ended, or are gone. One step
-- in the index for each run, however many candidates it has.
WITH RECURSIVE runs (run_id) AS (
    (SELECT run_id FROM scheduler.retention_candidates ORDER BY run_id LIMIT 1)
    UNION ALL
    SELECT (SELECT c.run_id FROM scheduler.retention_candidates c
            WHERE c.run_id > runs.run_id ORDER BY c.run_id LIMIT 1)
    FROM runs WHERE runs.run_id IS NOT NULL
)
SELECT runs.run_id
FROM runs
WHERE runs.run_id <> @run_id
  AND NOT EXISTS (
      SELECT FROM scheduler.job_runs r
      WHERE r.id = runs.run_id AND r.status IN ('requested', 'pending', 'running', 'retrying'))

-- name: retention_drop
-- Some candidates of a run that is over. Two replicas may do this at once: each
-- takes rows that the other has not.
DELETE FROM scheduler.retention_candidates
WHERE ctid = ANY (ARRAY(
    SELECT c.ctid FROM scheduler.retention_candidates c
    WHERE c.run_id = @run_id
    LIMIT @max
    FOR UPDATE SKIP LOCKED))

-- name: retention_settings
-- For the statements of one batch, returning what was in force before.
--
-- lock_timeout: rows are locked without waiting, but what the table's triggers
-- and foreign keys touch is not known beforehand. The engine gives way, long
-- before deadlock_timeout makes the server choose who has to.
--
-- enable_seqscan, random_page_cost: a batch knows its rows, and its pages were
-- read a moment ago. It must never read a table from end to end, however small
-- that looks to the planner beside a thousand look-ups: there are many batches.
SELECT current_setting('lock_timeout'), current_setting('enable_seqscan'), current_setting('random_page_cost'),
       set_config('lock_timeout', @lock_timeout, true), set_config('enable_seqscan', 'off', true),
       set_config('random_page_cost', current_setting('seq_page_cost'), true), clock_timestamp()

-- name: retention_settings_back
-- The transaction goes on to write the run's record.
SELECT set_config('lock_timeout', @lock_timeout, true), set_config('enable_seqscan', @enable_seqscan, true),
       set_config('random_page_cost', @random_page_cost, true), clock_timestamp()

-- name: retention_one_snapshot
-- First in the transaction of a pass whose horizon matters.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ

-- name: retention_horizon
-- Transactions below this number are over.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint

-- name: retention_ordered
-- Whether ids are handed out in ascending order: not if each session takes a
-- block of them (CACHE), nor downwards or round and round. No row: the column has
-- no sequence of its own.
SELECT s.seqcache = 1 AND s.seqincrement > 0 AND NOT s.seqcycle
FROM pg_sequence s
WHERE s.seqrelid = pg_get_serial_sequence(@relation, @attribute)::regclass

-- name: retention_writers
-- The transactions that may have taken an id of the table and not committed it.
-- INSERT and COPY take the lock before the first id, and keep it to the end, as
-- CREATE INDEX CONCURRENTLY relies on, too. Prepared transactions have no pid.
SELECT DISTINCT ON (k.virtualtransaction)
       k.virtualtransaction AS id,
       coalesce(k.pid, 0) AS pid,
       coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), -1)::float8 AS age
FROM pg_locks k
LEFT JOIN pg_stat_activity a ON a.pid = k.pid
WHERE k.locktype = 'relation' AND k.granted
  AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND k.relation = to_regclass(@relation)::oid
  AND k.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
  AND (@ids::text[] IS NULL OR k.virtualtransaction = ANY (@ids::text[]))
ORDER BY k.virtualtransaction
