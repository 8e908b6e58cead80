-- The rows below the locked ones: who inserts a row below one of these takes a
-- lock on it alone. New ones cannot come: they need the lock of the row above.
SELECT k.ctid
FROM {child} k
JOIN {table} t ON k.{column} = t.{references}
WHERE t.ctid = ANY (@_locked::tid[])
FOR UPDATE OF k SKIP LOCKED
