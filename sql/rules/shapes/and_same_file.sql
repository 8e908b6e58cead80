-- Not if the table was rewritten since the pass (VACUUM FULL, CLUSTER): its rows
  -- have other places. Asked after the lock on the table was granted.
  AND (SELECT pg_relation_filenode(@_part::oid)) = @_file::oid
