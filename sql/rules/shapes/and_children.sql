  -- Not if a row below could not be locked: something may be going on there.
  AND NOT EXISTS (
    SELECT FROM {child} k
    WHERE k.{column} = t.{references} AND k.ctid <> ALL (@{locked}::tid[])
  )
