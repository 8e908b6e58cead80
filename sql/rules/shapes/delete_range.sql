-- A batch: delete what the rule names on some consecutive pages. The rule looks at
-- nothing but the row itself, so a row that was changed meanwhile is looked at again
-- before it goes. This waits for locks, but not for longer than lock_timeout.
DELETE FROM {table} {alias}
WHERE {alias}.ctid >= @_first::tid AND {alias}.ctid < @_after::tid
  {and_same_file}
  AND (
{condition}
  )
