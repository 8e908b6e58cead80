-- The rows below the locked ones: who inserts a row below one of these takes a
-- lock on it alone. New ones cannot come: they need the lock of the row above.
-- If one is locked, nothing is done, and the batch is tried again with SKIP LOCKED;
-- rows of which one below is locked are left out then.
SELECT k.ctid
FROM {child} k
JOIN {table} t ON k.{column} = t.{references}
WHERE t.ctid = ANY (@_locked::tid[])
FOR UPDATE OF k {else}
