DELETE FROM logs
WHERE id IN (SELECT id FROM logs WHERE "timestamp" < now() - interval '30 days' ORDER BY "timestamp" LIMIT 1000)
