-- How many rows a table has, counted no further than needed. An estimate will not do: it
-- follows the table's size, and of that the dead may be most.
SELECT count(*)
FROM (
    SELECT
    FROM {table}
    LIMIT @_enough::bigint
) r
