-- The highest id that is committed.
SELECT max(m.{column})::bigint
FROM {table} m
