-- What a variant is measured by, before and after.
SELECT pg_current_wal_lsn() - '0/0'::pg_lsn AS wal,
       pg_total_relation_size(@cleaned::regclass) AS size,
       (SELECT n_tup_upd FROM pg_stat_user_tables WHERE relid = @cleaned::regclass) AS updated,
       (SELECT n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = @cleaned::regclass) AS hot
