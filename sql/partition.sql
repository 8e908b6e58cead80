-- What jobs that make and take partitions ask and do.

-- name: partition_table
-- What a table is, as the search_path sees it; oid 0 if there is none. A partitioned
-- table may take a tablespace and, since PostgreSQL 17, an access method that its
-- partitions are to have.
SELECT coalesce(c.oid, 0)::bigint AS oid,
       coalesce(c.oid::regclass::text, '') AS name,
       coalesce(c.relname::text, '') AS plain_name,
       coalesce(c.relkind::text, '') AS kind,
       coalesce(p.partstrat::text, '') AS strategy,
       coalesce(p.partnatts, 0)::int AS columns,
       coalesce(quote_ident(a.attname), '') AS key,
       coalesce(format_type(a.atttypid, NULL), '') AS type,
       coalesce(c.relpersistence = 't', false) AS is_temporary,
       coalesce(pg_has_role(c.relowner, 'USAGE'), false) AS is_owner,
       coalesce(pg_get_userbyid(c.relowner)::text, '') AS owner,
       coalesce(has_schema_privilege(c.relnamespace, 'CREATE'), false) AS may_create,
       coalesce(c.relnamespace::regnamespace::text, '') AS schema,
       CASE WHEN p.partdefid <> 0 THEN p.partdefid::regclass::text ELSE '' END AS default_partition,
       EXISTS (SELECT FROM pg_constraint k WHERE k.contype = 'f' AND (k.conrelid = c.oid OR k.confrelid = c.oid)) AS has_references
FROM (SELECT to_regclass(@relation) AS oid) r
LEFT JOIN pg_class c ON c.oid = r.oid
LEFT JOIN pg_partitioned_table p ON p.partrelid = c.oid
LEFT JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0] AND a.attnum > 0

-- name: partition_list
-- The partitions of a table but for the default one, or, with @part, one of them; by their
-- bounds. The server writes these as text; what has no time zone is taken for UTC, which
-- partition_settings sees to. tuples is an estimate, negative if the table was never
-- analyzed.
SELECT o.oid::bigint AS oid,
       o.oid::regclass::text AS name,
       CASE WHEN o.bounds[1] = 'MINVALUE' THEN '-infinity' WHEN o.bounds[1] = 'MAXVALUE' THEN 'infinity'
            ELSE btrim(o.bounds[1], '''')::timestamptz END AS lower,
       CASE WHEN o.bounds[2] = 'MINVALUE' THEN '-infinity' WHEN o.bounds[2] = 'MAXVALUE' THEN 'infinity'
            ELSE btrim(o.bounds[2], '''')::timestamptz END AS upper,
       o.tuples
FROM (
    SELECT c.oid, c.reltuples::float8 AS tuples,
           regexp_match(pg_get_expr(c.relpartbound, c.oid),
                        '^FOR VALUES FROM \((MINVALUE|MAXVALUE|''[^'']*'')\) TO \((MINVALUE|MAXVALUE|''[^'']*'')\)$') AS bounds
    FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = @table::oid AND (@part::bigint = 0 OR i.inhrelid = @part::oid)
) o
WHERE o.bounds IS NOT NULL
ORDER BY 3, 4

-- name: partition_settings
-- For the statements about one partition, returning what was in force before. Bounds are
-- written and read in one form. Whoever waits for a lock keeps those waiting who come
-- after, and DDL keeps them waiting while it runs: neither may take long.
SELECT current_setting('DateStyle') AS date_style, current_setting('TimeZone') AS time_zone,
       current_setting('lock_timeout') AS lock_timeout, current_setting('statement_timeout') AS statement_timeout,
       set_config('DateStyle', 'ISO', true), set_config('TimeZone', 'UTC', true),
       set_config('lock_timeout', @lock_timeout, true), set_config('statement_timeout', @statement_timeout, true)

-- name: partition_settings_back
-- The transaction goes on to write the run's record.
SELECT set_config('DateStyle', @date_style, true), set_config('TimeZone', @time_zone, true),
       set_config('lock_timeout', @lock_timeout, true), set_config('statement_timeout', @statement_timeout, true)

-- name: partition_in_a_hurry
-- From here on others may have to wait.
SELECT set_config('statement_timeout', @statement_timeout, true)

-- name: partition_make
-- The statements that make a partition. It is a table of its own until it is attached,
-- which keeps nobody from the other partitions: CREATE TABLE … PARTITION OF would. What
-- the partitioned table has that a LIKE does not bring, attaching does: indexes, unique
-- and foreign keys, triggers; an identity column must not be there before. To the owner
-- belongs what is in their table.
WITH n (schema, name, lower, upper) AS (
    SELECT c.relnamespace::regnamespace::text, @name::text,
           CASE @type::text
                WHEN 'date' THEN (@lower::timestamptz AT TIME ZONE 'UTC')::date::text
                WHEN 'timestamp without time zone' THEN (@lower::timestamptz AT TIME ZONE 'UTC')::text
                ELSE (@lower::timestamptz)::text END,
           CASE @type::text
                WHEN 'date' THEN (@upper::timestamptz AT TIME ZONE 'UTC')::date::text
                WHEN 'timestamp without time zone' THEN (@upper::timestamptz AT TIME ZONE 'UTC')::text
                ELSE (@upper::timestamptz)::text END
    FROM pg_class c WHERE c.oid = @table::oid
)
SELECT format('CREATE TABLE %s.%I (LIKE %s INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY)', n.schema, n.name, c.oid::regclass)
           || coalesce(' USING ' || quote_ident(m.amname), '') || coalesce(' TABLESPACE ' || quote_ident(s.spcname), '') AS make,
       CASE WHEN pg_get_userbyid(c.relowner) <> current_user
            THEN format('ALTER TABLE %s.%I OWNER TO %I', n.schema, n.name, pg_get_userbyid(c.relowner)) ELSE '' END AS own,
       format('ALTER TABLE %s ATTACH PARTITION %s.%I FOR VALUES FROM (%L) TO (%L)', c.oid::regclass, n.schema, n.name, n.lower, n.upper) AS attach,
       CASE WHEN p.partdefid <> 0
            THEN format('SELECT EXISTS (SELECT FROM %s t WHERE t.%I >= %L AND t.%I < %L)', p.partdefid::regclass, a.attname, n.lower, a.attname, n.upper)
            ELSE '' END AS look,
       format('%s.%I', n.schema, n.name) AS name,
       to_regclass(format('%s.%I', n.schema, n.name)) IS NOT NULL AS is_taken
FROM n
JOIN pg_class c ON c.oid = @table::oid
JOIN pg_partitioned_table p ON p.partrelid = c.oid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
LEFT JOIN pg_am m ON m.oid = c.relam
LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace

-- name: partition_identity
-- What a partition that was attached is to send to the subscribers of a publication: the
-- same as its table. Empty if that is the default.
SELECT CASE t.relreplident
           WHEN 'f' THEN format('ALTER TABLE %s REPLICA IDENTITY FULL', c.oid::regclass)
           WHEN 'n' THEN format('ALTER TABLE %s REPLICA IDENTITY NOTHING', c.oid::regclass)
           WHEN 'i' THEN coalesce((
               SELECT format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', c.oid::regclass, x.relname)
               FROM pg_index i
               JOIN pg_inherits h ON h.inhparent = i.indexrelid
               JOIN pg_index k ON k.indexrelid = h.inhrelid AND k.indrelid = c.oid
               JOIN pg_class x ON x.oid = k.indexrelid
               WHERE i.indrelid = t.oid AND i.indisreplident), '')
           ELSE '' END
FROM pg_class t, pg_class c
WHERE t.oid = @table::oid AND c.oid = to_regclass(@name)

-- name: partition_holder
-- Who has held a lock on a table, one of its partitions, or what it refers to, for longest.
SELECT coalesce(k.pid, 0)::int AS pid, k.relation::regclass::text AS relation, k.mode, coalesce(left(a.query, 80), '') AS query
FROM pg_locks k
LEFT JOIN pg_stat_activity a ON a.pid = k.pid
WHERE k.locktype = 'relation' AND k.granted AND k.pid IS DISTINCT FROM pg_backend_pid()
  AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (k.relation = @table::oid
       OR k.relation IN (SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = @table::oid)
       OR k.relation IN (SELECT f.confrelid FROM pg_constraint f WHERE f.contype = 'f' AND f.conrelid = @table::oid)
       OR k.relation IN (SELECT f.conrelid FROM pg_constraint f WHERE f.contype = 'f' AND f.confrelid = @table::oid))
ORDER BY a.xact_start NULLS FIRST, k.pid
LIMIT 1
