SELECT count(*) FROM user_contexts c
WHERE c.created_at < @began::timestamptz - interval '24 hours'
  AND NOT EXISTS (SELECT FROM task_messages m WHERE m.context_id = c.context_id)
  AND NOT EXISTS (SELECT FROM agent_tasks t JOIN task_messages m ON m.task_id = t.task_id WHERE t.context_id = c.context_id)
