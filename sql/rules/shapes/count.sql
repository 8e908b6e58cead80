-- Dry run: how many rows the rule names.
SELECT count(*)
FROM (
{rule}
) r
