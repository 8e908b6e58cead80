INSERT INTO task_messages (task_id, message_id, role, context_id, sequence_number) VALUES ($1, $2, 'user', $3, 1)
