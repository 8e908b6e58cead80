-- First statement of a batch: lock, without waiting for anybody. FOR NO KEY
-- UPDATE leaves alone those who insert rows that refer to these.
SELECT t.ctid
FROM {table} t
WHERE t.ctid = ANY (@_ctids::tid[])
FOR NO KEY UPDATE SKIP LOCKED
