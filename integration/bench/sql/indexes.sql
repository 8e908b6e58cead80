-- The indexes of these tables that belong to no constraint.
SELECT format('%I.%I', i.schemaname, i.indexname) AS name, i.indexdef AS definition
FROM pg_indexes i
WHERE i.schemaname = 'public' AND i.tablename = ANY (@tables::text[])
  AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conname = i.indexname)
ORDER BY i.indexname
