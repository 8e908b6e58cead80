-- A batch: lock, without waiting for anybody, and delete what the rule still names.
-- One statement is enough, since the rule looks at nothing but the row itself: a row
-- that was changed meanwhile is looked at again when its lock is granted.
DELETE FROM {table} t
WHERE t.ctid = ANY (ARRAY(
    SELECT {alias}.ctid
    FROM {table} {alias}
    WHERE {alias}.ctid = ANY (@_ctids::tid[])
      AND (
{condition}
      )
    FOR UPDATE SKIP LOCKED
  ))
  {and_same_file}
