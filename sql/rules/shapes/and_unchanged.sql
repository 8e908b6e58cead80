  -- The rule looks only at what came after the pass, so the row must be one that
  -- the pass saw: another may have taken the place of one that has gone. The pass
  -- saw what was written by transactions below its horizon, which means: xmin does
  -- not lie between the horizon and now (32 bits, in a circle); and what was written
  -- by those that it met.
  AND ((t.xmin::text::bigint - @_horizon::bigint) & 4294967295
       >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint - @_horizon::bigint
       OR t.xmin::text = ANY (@_met::text[]))
