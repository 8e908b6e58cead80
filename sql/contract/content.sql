-- What a table holds, whatever the order of its rows, without some columns.
SELECT count(*) AS rows,
       coalesce(sum(hashtextextended((to_jsonb(t) - @columns::text[])::text, 0)::numeric), 0)::text AS hash
FROM {table} t
