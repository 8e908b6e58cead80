-- MCP tool executions whose context is gone. A null or empty context_id names
-- none and is no orphan.
-- requires: user_contexts
SELECT e.ctid
FROM {table} e
WHERE e.context_id <> ''
  AND NOT EXISTS (SELECT FROM user_contexts c WHERE c.context_id = e.context_id)
