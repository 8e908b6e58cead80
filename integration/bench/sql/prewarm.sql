-- Reads these tables and their indexes into the buffers.
SELECT coalesce(sum(pg_prewarm(c.oid)), 0)
FROM pg_class c
WHERE c.oid IN (
    SELECT t::regclass FROM unnest(@tables::text[]) t
    UNION ALL
    SELECT i.indexrelid FROM unnest(@tables::text[]) t JOIN pg_index i ON i.indrelid = t::regclass
)
