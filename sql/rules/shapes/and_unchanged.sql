  -- The rule looks only at what came after the pass, so the row must be one that
  -- the pass saw: another may have taken the place of one that has gone. Its
  -- version is older than every transaction that was running at the pass: its
  -- xmin does not lie between the oldest of those and now (32 bits, in a circle).
  AND (t.xmin::text::bigint - @_horizon::bigint) & 4294967295
      >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint - @_horizon::bigint
