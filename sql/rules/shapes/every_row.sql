-- Whether the rule names every row of a partition.
SELECT NOT EXISTS (
    SELECT
    FROM {table} {alias}
    WHERE (
{condition}
    ) IS NOT TRUE
)
