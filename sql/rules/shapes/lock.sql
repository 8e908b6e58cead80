-- First statement of a batch: lock, without waiting for anybody. FOR UPDATE also
-- holds off, or is held off by, rows that refer to these: their foreign keys take
-- a key-share lock. FOR NO KEY UPDATE leaves those alone.
SELECT t.ctid
FROM {table} t
WHERE t.ctid = ANY (@_ctids::tid[])
  {and_same_file}
FOR {strength} SKIP LOCKED
