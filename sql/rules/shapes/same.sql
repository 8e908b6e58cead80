-- Whether the places of rows still mean the same rows, as and_same_file.sql asks.
SELECT coalesce(pg_relation_filenode(@_part::oid) = @_file::oid AND to_regclass(@_name)::oid = @_part::oid AND {is_part}, false)
