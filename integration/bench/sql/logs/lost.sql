-- Of the lines whose insertion was committed, those that are gone.
SELECT count(*) FROM unnest(@noted::text[]) AS n (id) WHERE NOT EXISTS (SELECT FROM logs l WHERE l.id = n.id)
