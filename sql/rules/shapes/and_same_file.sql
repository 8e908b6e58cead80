-- Not if the place of a row means another row by now: the table was rewritten since
  -- the pass (VACUUM FULL, CLUSTER), another has taken its name, or it is no partition
  -- any more. Asked after the lock on the table was granted.
  AND {same}.tableoid = @_part::oid
  AND (SELECT pg_relation_filenode(@_part::oid)) = @_file::oid
  AND {is_part}
