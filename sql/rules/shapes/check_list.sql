-- Checks that a condition is one, with a type of its own: between other brackets than
-- those that it stands in elsewhere, so that no text can close both kinds.
SELECT ARRAY[
{condition}
]
FROM {table} t
