-- The same batch once more, if it had to wait for too long: without the rows that are
-- locked.
DELETE FROM {table} t
WHERE t.ctid = ANY (ARRAY(
    SELECT {alias}.ctid
    FROM {table} {alias}
    WHERE {alias}.ctid >= @_first::tid AND {alias}.ctid < @_after::tid
      AND (
{condition}
      )
    FOR UPDATE SKIP LOCKED
  ))
  {and_same_file}
