-- Before a batch of updates, outside its transaction: reads its pages. Reading a
-- page by a range of ctids removes the dead versions of earlier batches, which
-- reading rows by single ctids does not. The lateral count(*) makes each page a
-- range of its own (Tid Range Scan).
SELECT coalesce(sum(p.n), 0)::bigint
FROM unnest(@_blocks::bigint[]) AS b (block)
CROSS JOIN LATERAL (
    SELECT count(*) AS n
    FROM {table} t
    WHERE t.ctid >= ('(' || b.block || ',0)')::tid AND t.ctid < ('(' || b.block + 1 || ',0)')::tid
) p
