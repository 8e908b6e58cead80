-- Every second since the beginning has exactly one decision: a run, or a row of
-- missed ticks that covers it.
WITH decision AS (
    SELECT id, status, tick, coalesce(last_missed_tick, tick) AS last_tick
    FROM scheduler.job_runs
    WHERE job_name = 'each_second' AND trigger = 'schedule' AND coalesce(last_missed_tick, tick) >= @since
), covered AS (
    SELECT s.second, count(*) AS decisions, string_agg(format('run %s %s, ticks %s to %s', d.id, d.status, d.tick, d.last_tick), '; ') AS rows
    FROM decision d CROSS JOIN LATERAL generate_series(greatest(d.tick, @since), d.last_tick, interval '1 second') AS s (second)
    GROUP BY s.second
), wanted AS (
    SELECT generate_series(@since, (SELECT max(second) FROM covered), interval '1 second') AS second
)
SELECT CASE WHEN c.second IS NULL THEN 'tick_lost' ELSE 'tick_doubled' END AS kind,
       second::text AS key,
       coalesce(c.decisions - 1, 1) AS n,
       coalesce(c.rows, 'no row of the ledger covers it') AS detail
FROM wanted w FULL JOIN covered c USING (second)
WHERE coalesce(c.decisions, 0) <> 1 OR w.second IS NULL
ORDER BY second
