CASE WHEN ({written_by}::text::bigint - @_horizon::bigint) & 4294967295
            < pg_snapshot_xmax(pg_current_snapshot())::text::bigint - @_horizon::bigint
       THEN {written_by}::text END
