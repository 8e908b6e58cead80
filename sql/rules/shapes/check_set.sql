-- Checks what a rule sets: with a FROM and a WHERE of its own, this would be no UPDATE
-- any more.
EXPLAIN
UPDATE {table} t
SET {set}
FROM (SELECT) nothing
WHERE (
{condition}
)
