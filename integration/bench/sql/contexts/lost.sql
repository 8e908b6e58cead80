-- Of the messages whose insertion was committed, those that are gone.
SELECT count(*) FROM unnest(@noted::text[]) AS n (message_id)
WHERE NOT EXISTS (SELECT FROM task_messages m WHERE m.message_id = n.message_id)
