-- The tables that hold rows, but for those of the scheduler's schema, and those of it that
-- are named. A partition's root is the table that a job names.
SELECT format('%I.%I', n.nspname, c.relname) AS name,
       coalesce((SELECT format('%I.%I', rn.nspname, rc.relname)
                 FROM pg_class rc JOIN pg_namespace rn ON rn.oid = rc.relnamespace
                 WHERE rc.oid = pg_partition_root(c.oid)), format('%I.%I', n.nspname, c.relname)) AS root,
       coalesce(x.n_tup_ins + x.n_tup_upd + x.n_tup_del, 0) AS writes
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_xact_user_tables x ON x.relid = c.oid
WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND (n.nspname <> @schema OR format('%I.%I', n.nspname, c.relname) = ANY (@tables::text[]))
ORDER BY 1
