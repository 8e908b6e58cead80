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

-- name: retention_parts
-- The tables that hold the rows of a table: itself, its partitions, its heirs. tuples
-- is an estimate by the size that the table has now, as the planner makes it; negative
-- if the table was never analyzed.
WITH RECURSIVE tree (oid) AS (
    SELECT to_regclass(@relation)::oid
    UNION
    SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
)
SELECT c.oid::bigint AS oid,
       c.oid::regclass::text AS name,
       c.relkind::text AS kind,
       c.oid = to_regclass(@relation) AS is_root,
       EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid) AS has_heirs,
       coalesce(pg_relation_filenode(c.oid), 0)::bigint AS file,
       coalesce(pg_relation_size(c.oid), 0) / current_setting('block_size')::bigint AS pages,
       CASE WHEN c.reltuples >= 0 AND c.relpages > 0
            THEN c.reltuples::float8 / c.relpages * (pg_relation_size(c.oid) / current_setting('block_size')::bigint)
            WHEN coalesce(pg_relation_size(c.oid), 0) = 0 THEN 0
            ELSE -1 END AS tuples
FROM tree JOIN pg_class c ON c.oid = tree.oid
ORDER BY c.oid

-- name: retention_facts
-- What decides how the rows of a table are worked.
--
-- indexes: those that an update of the columns must touch, so that it cannot stay on
-- its page (HOT): they hold one of them, or ask for one in an expression or predicate.
-- Generated columns change with those that they are made of. Since PostgreSQL 16 BRIN
-- indexes do not count.
--
-- triggers: those of the application that fire for the event, 'DELETE' or 'UPDATE'.
-- changing_triggers: those that may change the row before it is written.
-- statement_triggers: those of the partitioned table @relation that would fire for a
-- statement on it, and do not for one on this part.
--
-- columns: those that a row is written to the table @archive with, which works out its
-- generated columns itself; lacking: those that it does not have, with their types.
--
-- is_any_deferrable: of any table, since a row may take others along, by a foreign key,
-- a trigger, into an archive.
WITH changed AS (
    SELECT a.attnum
    FROM pg_attribute a
    WHERE a.attrelid = @part::oid AND a.attname = ANY (@columns::text[]) AND NOT a.attisdropped
    UNION
    SELECT f.adnum
    FROM pg_attrdef f
    JOIN pg_attribute g ON g.attrelid = f.adrelid AND g.attnum = f.adnum AND g.attgenerated <> ''
    JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
                    AND d.refclassid = 'pg_class'::regclass AND d.refobjid = f.adrelid
    JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = d.refobjsubid
    WHERE f.adrelid = @part::oid AND a.attname = ANY (@columns::text[])
)
SELECT ARRAY(
           SELECT i.indexrelid::regclass::text
           FROM pg_index i
           JOIN pg_class x ON x.oid = i.indexrelid
           JOIN pg_am m ON m.oid = x.relam
           WHERE i.indrelid = @part::oid
             AND NOT (m.amname = 'brin' AND current_setting('server_version_num')::int >= 160000)
             AND EXISTS (
                 SELECT FROM changed c
                 WHERE c.attnum = ANY (i.indkey)
                    OR EXISTS (SELECT FROM pg_depend d
                               WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                                 AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid
                                 AND d.refobjsubid = c.attnum))
           ORDER BY 1) AS indexes,
       (SELECT count(*) FROM pg_index i WHERE i.indrelid = @part::oid)::int AS index_count,
       ARRAY(
           SELECT t.tgname::text
           FROM pg_trigger t
           WHERE t.tgrelid = @part::oid AND NOT t.tgisinternal AND t.tgenabled NOT IN ('D', 'R')
             AND t.tgtype & CASE @event WHEN 'DELETE' THEN 8 ELSE 16 END <> 0
           ORDER BY 1) AS triggers,
       ARRAY(
           SELECT t.tgname::text
           FROM pg_trigger t
           WHERE t.tgrelid = @part::oid AND NOT t.tgisinternal AND t.tgenabled NOT IN ('D', 'R')
             AND t.tgtype & 19 = 19 AND @event = 'UPDATE'
           ORDER BY 1) AS changing_triggers,
       ARRAY(
           SELECT t.tgname::text
           FROM pg_trigger t
           JOIN pg_class c ON c.oid = t.tgrelid
           WHERE t.tgrelid = to_regclass(@relation) AND c.relkind = 'p' AND NOT t.tgisinternal AND t.tgenabled NOT IN ('D', 'R')
             AND t.tgtype & 1 = 0 AND t.tgtype & CASE @event WHEN 'DELETE' THEN 8 ELSE 16 END <> 0
           ORDER BY 1) AS statement_triggers,
       EXISTS (
           SELECT FROM pg_constraint k
           WHERE (k.conrelid = @part::oid OR k.confrelid = @part::oid) AND k.condeferrable) AS is_deferrable,
       EXISTS (
           SELECT FROM pg_constraint k
           WHERE k.condeferrable AND k.conrelid IS DISTINCT FROM to_regclass('scheduler.job_definitions')) AS is_any_deferrable,
       ARRAY(
           SELECT quote_ident(a.attname)
           FROM pg_attribute a
           JOIN pg_attribute k ON k.attrelid = to_regclass(nullif(@archive, '')) AND k.attname = a.attname AND k.attgenerated = ''
           WHERE a.attrelid = @part::oid AND a.attnum > 0 AND NOT a.attisdropped
           ORDER BY a.attnum) AS columns,
       ARRAY(
           SELECT format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod))
           FROM pg_attribute a
           WHERE a.attrelid = @part::oid AND a.attnum > 0 AND NOT a.attisdropped AND to_regclass(nullif(@archive, '')) IS NOT NULL
             AND NOT EXISTS (SELECT FROM pg_attribute k WHERE k.attrelid = to_regclass(nullif(@archive, '')) AND k.attname = a.attname)
           ORDER BY a.attnum) AS lacking,
       EXISTS (
           SELECT FROM pg_proc p
           WHERE p.proname = ANY (@functions::text[]) AND p.pronamespace <> 'pg_catalog'::regnamespace) AS calls_functions

-- name: retention_references
-- The foreign keys that a delete checks or cascades along, and whether the referencing
-- column has an index that their statements can use.
WITH RECURSIVE below (conid, child, action, depth) AS (
    SELECT k.oid, k.conrelid, k.confdeltype, 1
    FROM pg_constraint k
    WHERE k.contype = 'f' AND k.confrelid = @part::oid
    UNION
    SELECT k.oid, k.conrelid, k.confdeltype, below.depth + 1
    FROM below
    JOIN pg_constraint k ON k.contype = 'f' AND k.confrelid = below.child
    WHERE below.action = 'c' AND below.depth < 16
)
SELECT DISTINCT ON (k.oid)
       k.conname::text AS name,
       k.conrelid::regclass::text AS table_name,
       b.action = 'c' AS cascades,
       ARRAY(SELECT quote_ident(a.attname)
             FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, n)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum
             ORDER BY u.n) AS columns,
       EXISTS (
           SELECT FROM pg_index i
           JOIN pg_class x ON x.oid = i.indexrelid
           JOIN pg_am m ON m.oid = x.relam
           WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indkey[0] = ANY (k.conkey) AND m.amname <> 'brin'
             AND (i.indpred IS NULL OR EXISTS (
                 SELECT FROM pg_attribute a
                 WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
                   AND pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)', a.attname)))) AS has_index,
       pg_relation_size(k.conrelid) / current_setting('block_size')::bigint AS pages
FROM below b
JOIN pg_constraint k ON k.oid = b.conid
JOIN pg_class c ON c.oid = k.conrelid AND c.relkind = 'r'
ORDER BY k.oid, b.depth

-- name: retention_next
-- Candidates, from the chunk on in which number @next is.
SELECT n, wave, coalesce(row_ctids, '{}') AS ctids, coalesce(first_block, 0) AS first_block,
       coalesce(last_block, -1) AS last_block, row_count AS rows
FROM scheduler.retention_candidates
WHERE run_id = @run_id AND target = @target
  AND n >= coalesce((SELECT max(c.n) FROM scheduler.retention_candidates c
                     WHERE c.run_id = @run_id AND c.target = @target AND c.n <= @next), 0)
ORDER BY run_id, target, n
LIMIT @max

-- name: retention_store
INSERT INTO scheduler.retention_candidates (run_id, target, n, wave, row_ctids, first_block, last_block, row_count)
VALUES (@run_id, @target, @n, @wave, @ctids, @first_block, @last_block, @rows)

-- name: retention_clear
-- Candidates that are done with: the chunks before the one that starts at @n.
DELETE FROM scheduler.retention_candidates
WHERE run_id = @run_id AND target = @target AND n < @n

-- name: retention_clear_run
-- All candidates of a run that is done.
DELETE FROM scheduler.retention_candidates WHERE run_id = @run_id

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
--
-- row_security: rows that a policy hides would look as if they were not there. Off
-- makes that an error.
--
-- jit: a scan that cannot be avoided costs so much, with enable_seqscan off, that each
-- batch would be compiled.
SELECT current_setting('lock_timeout') AS lock_timeout, current_setting('enable_seqscan') AS enable_seqscan,
       current_setting('random_page_cost') AS random_page_cost, current_setting('row_security') AS row_security,
       current_setting('jit') AS jit, set_config('jit', 'off', true),
       set_config('lock_timeout', @lock_timeout, true), set_config('enable_seqscan', 'off', true),
       set_config('random_page_cost', current_setting('seq_page_cost'), true), set_config('row_security', 'off', true),
       clock_timestamp() AS at

-- name: retention_settings_back
-- The transaction goes on to write the run's record.
SELECT set_config('lock_timeout', @lock_timeout, true), set_config('enable_seqscan', @enable_seqscan, true),
       set_config('random_page_cost', @random_page_cost, true), set_config('row_security', @row_security, true),
       set_config('jit', @jit, true),
       clock_timestamp() AS at

-- name: retention_look_at_all
-- Within a batch, before a look at a whole partition: it may take its pages in order and
-- in parallel, and must not take long, since writers of the partition wait.
SELECT set_config('enable_seqscan', 'on', true), set_config('parallel_tuple_cost', '0', true),
       set_config('statement_timeout', @statement_timeout, true)

-- name: retention_check_now
-- What is deferred to the commit belongs to the batch: its time, and its errors.
SET CONSTRAINTS ALL IMMEDIATE

-- name: retention_whole
-- For the statements that look at everything: see retention_settings.
--
-- parallel_tuple_cost: there are far fewer candidates than the planner thinks, or they
-- are sorted by the workers; a look that finds nothing must not take longer than a
-- count.
SELECT set_config('row_security', 'off', true), set_config('lock_timeout', @lock_timeout, true),
       set_config('parallel_tuple_cost', '0', true), pg_backend_pid()

-- name: retention_held_up
-- How many sessions wait for a lock of this one. pg_locks shows that to everybody,
-- pg_stat_activity only to those who may see it. CASE: pg_blocking_pids() holds up the
-- lock manager for a moment, so it is asked about those alone that wait.
SELECT count(DISTINCT k.pid)
FROM pg_locks k
WHERE CASE WHEN k.granted THEN false ELSE pg_backend_pid() = ANY (pg_blocking_pids(k.pid)) END

-- name: retention_conflict
-- Who holds, or waits for, a lock on the table that keeps writers out. pg_locks shows
-- it to everybody; what the session does, only to those who may see that.
SELECT k.pid, k.mode, k.granted, coalesce(left(a.query, 80), '') AS query
FROM pg_locks k
LEFT JOIN pg_stat_activity a ON a.pid = k.pid
WHERE k.locktype = 'relation' AND k.relation = @part::oid AND k.pid <> pg_backend_pid() -- in a test, the table may be its own
  AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND k.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
ORDER BY k.granted DESC, k.pid
LIMIT 1

-- name: retention_give_way
-- Ends a pass that keeps a session waiting, as in retention_held_up. True once that is so.
SELECT CASE
    WHEN EXISTS (
        SELECT FROM pg_locks k
        WHERE CASE WHEN k.granted THEN false ELSE @pid::int = ANY (pg_blocking_pids(k.pid)) END
    ) THEN pg_cancel_backend(@pid::int)
    ELSE false
END

-- name: retention_lag
-- How many bytes the replica is behind that is furthest behind; without the privileges
-- of pg_read_all_stats, nothing.
SELECT coalesce(application_name, '') AS name, pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint AS bytes
FROM pg_stat_replication
WHERE state IN ('streaming', 'catchup') AND replay_lsn IS NOT NULL
ORDER BY replay_lsn
LIMIT 1

-- name: retention_oldest
-- Who keeps dead versions of this database's rows from being removed for longest, if for
-- longer than @seconds: a transaction, a prepared one, a replica that reports what its
-- own queries need, a replication slot. The last two always hold some number, which is
-- only telling once it is old. VACUUM is left out, since it keeps nothing, and so are
-- index builds, which nobody wants to end for this. Of sessions of others a role without
-- the privileges of pg_read_all_stats sees nothing.
SELECT o.what, o.seconds
FROM (
    SELECT format('the transaction of pid %s', a.pid) AS what,
           extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds
    FROM pg_stat_activity a
    -- One that only reads in another database keeps nothing here.
    WHERE (a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL AND a.datname = current_database())
      AND a.pid <> pg_backend_pid()
      AND a.backend_type NOT IN ('autovacuum worker', 'walsender')
      AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum v WHERE v.pid = a.pid)
      AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index i WHERE i.pid = a.pid)
    UNION ALL
    SELECT format('the replica %s (hot_standby_feedback)', a.application_name), 'Infinity'::float8
    FROM pg_stat_activity a
    WHERE a.backend_type = 'walsender' AND a.datname IS NULL AND a.backend_xmin IS NOT NULL AND age(a.backend_xmin) > 10000
    UNION ALL
    SELECT format('the prepared transaction %L', p.gid), extract(epoch FROM clock_timestamp() - p.prepared)::float8
    FROM pg_prepared_xacts p
    UNION ALL
    SELECT format('the replication slot %I', s.slot_name), 'Infinity'::float8
    FROM pg_replication_slots s
    WHERE s.xmin IS NOT NULL AND age(s.xmin) > 10000
) o
WHERE o.seconds > @seconds::float8
ORDER BY o.seconds DESC
LIMIT 1

-- name: retention_detach
-- Takes a partition out of its table. It stays as a table of its own.
SELECT format('ALTER TABLE %s DETACH PARTITION %s', i.inhparent::regclass, i.inhrelid::regclass) AS detach,
       format('DROP TABLE %s', i.inhrelid::regclass) AS remove,
       format('LOCK TABLE ONLY %s IN SHARE MODE', i.inhrelid::regclass) AS lock,
       format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', i.inhparent::regclass) AS lock_all
FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
WHERE i.inhrelid = @part::oid AND p.relkind = 'p'

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
  -- In a test, this may be the transaction that has written what the job is to find.
  AND k.pid IS DISTINCT FROM pg_backend_pid()
  AND (@ids::text[] IS NULL OR k.virtualtransaction = ANY (@ids::text[]))
ORDER BY k.virtualtransaction

-- name: retention_relation
-- What a rule's table is. similar: what may have been meant, where there is none.
SELECT coalesce(c.oid, 0)::bigint AS oid,
       coalesce(c.relkind::text, '') AS kind,
       coalesce(n.nspname::text, '') AS schema,
       coalesce(c.relpersistence::text, '') AS persistence,
       coalesce((SELECT format('%I.%I', s.nspname, o.relname)
                 FROM pg_class o JOIN pg_namespace s ON s.oid = o.relnamespace
                 WHERE c.oid IS NULL AND o.relkind IN ('r', 'p')
                   AND lower(o.relname) = lower((parse_ident(@relation))[cardinality(parse_ident(@relation))])
                 ORDER BY s.nspname LIMIT 1), '') AS similar
FROM (SELECT to_regclass(@relation) AS oid) r
LEFT JOIN pg_class c ON c.oid = r.oid
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace

-- name: retention_volatile
-- Which of these may be names of functions that say something else each time, whatever
-- their arguments.
SELECT p.proname::text
FROM pg_proc p
WHERE p.proname = ANY (@functions::text[])
GROUP BY p.proname
HAVING bool_and(p.provolatile = 'v')
ORDER BY p.proname

-- name: retention_other_columns
-- The columns of a table, as SQL, but for some, and but for those that are made of others.
SELECT coalesce(string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum), '')
FROM pg_attribute a
WHERE a.attrelid = @part::oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  AND a.attname <> ALL (@columns::text[])
