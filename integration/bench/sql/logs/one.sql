DELETE FROM logs WHERE "timestamp" < now() - interval '30 days'
