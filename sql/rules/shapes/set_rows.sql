-- A batch: lock, without waiting for anybody, and change what the rule still names.
-- One statement is enough, since the rule looks at nothing but the row itself: a row
-- that was changed meanwhile is looked at again when its lock is granted.
UPDATE {table} t
SET {set}
WHERE t.ctid = ANY (ARRAY(
    SELECT {alias}.ctid
    FROM {table} {alias}
    WHERE {alias}.ctid = ANY (@_ctids::tid[])
      AND (
{condition}
      )
    FOR NO KEY UPDATE SKIP LOCKED
  ))
  {and_same_file}
