-- The pass, for a rule that is to name a good part of the table: on which pages its rows
-- are, from the first to the last, and how many.
SELECT min(r.ctid), max(r.ctid), count(*)
FROM (
{rule}
) r
