-- Contexts older than retention_hours without a message: none names the context,
-- and none hangs below it through its tasks. Both, because older installs leave
-- task_messages.context_id null.
-- requires: agent_tasks, task_messages
SELECT c.ctid
FROM {table} c
WHERE c.created_at < @now::timestamptz - make_interval(hours => @retention_hours)
  -- No index helps here. In the pass, message_mark lies below every id; in the
  -- batches after it, below those that came since.
  AND NOT EXISTS (SELECT FROM task_messages m WHERE m.context_id = c.context_id AND m.id > @message_mark::bigint)
  AND NOT EXISTS (SELECT FROM agent_tasks t JOIN task_messages m ON m.task_id = t.task_id WHERE t.context_id = c.context_id)
  -- Audit data stays, with the context that it names.
  -- if exists: mcp_tool_executions
  AND NOT EXISTS (SELECT FROM mcp_tool_executions e WHERE e.context_id = c.context_id)
  -- end
  -- if exists: governance_decisions
  AND NOT EXISTS (SELECT FROM governance_decisions d WHERE d.context_id = c.context_id)
  -- end
  -- A command line session that is still bound to its session will be used again.
  -- if exists: user_contexts(kind)
  AND NOT (c.kind = 'cli_session' AND c.session_id IS NOT NULL)
  -- end
