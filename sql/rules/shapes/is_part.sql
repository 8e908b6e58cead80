(
    WITH RECURSIVE above (oid) AS (
        SELECT @_part::oid
        UNION
        SELECT i.inhparent FROM above JOIN pg_inherits i ON i.inhrelid = above.oid AND NOT i.inhdetachpending
    )
    SELECT bool_or(oid = @_root::oid) FROM above)
