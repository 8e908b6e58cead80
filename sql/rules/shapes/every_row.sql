-- How many rows a partition has, and how many of them the rule does not name.
SELECT count(*), count(*) FILTER (WHERE (
{condition}
) IS NOT TRUE)
FROM {table} {alias}
