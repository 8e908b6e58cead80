INSERT INTO agent_tasks (task_id, context_id, status) VALUES ($1, $2, 'working')
