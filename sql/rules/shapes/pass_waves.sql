-- The pass, for rows that will be updated: within a segment of 16 MB, first the
-- first row of every page, then the second of every page, and so on. Rows of one
-- page then change in different transactions: a later one finds the room that an
-- earlier one's dead version left, stays on the page and touches no index (HOT).
INSERT INTO scheduler.retention_candidates (run_id, target, n, row_ctid)
SELECT @_run_id::bigint, @_target::text, row_number() OVER (ORDER BY p.block / 2048, p.wave, p.block), p.ctid
FROM (
    SELECT r.ctid, b.block, row_number() OVER (PARTITION BY b.block ORDER BY r.ctid) AS wave
    FROM (
{rule}
    ) r
    CROSS JOIN LATERAL (SELECT (r.ctid::text::point)[0]::bigint AS block) b
) p
