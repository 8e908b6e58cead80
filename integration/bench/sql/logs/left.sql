SELECT count(*) FROM logs WHERE "timestamp" < @began::timestamptz - interval '30 days'
