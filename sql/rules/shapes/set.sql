-- Last statement of a batch: a statement of its own, so that its snapshot sees
-- what was committed before the locks were granted. What the rule still names
-- changes.
UPDATE {table} t
SET {set}
WHERE t.ctid = ANY (@_locked::tid[])
  AND t.ctid IN (
    SELECT r.ctid
    FROM (
{rule}
    ) r
    WHERE r.ctid = ANY (@_locked::tid[])
  ){and}
