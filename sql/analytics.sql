-- What the platform's conversation_evaluations tell. The table is the application's, as
-- in images.sql: its name is not qualified, and its columns have no alias before them.
--
-- Everywhere: an evaluation without a time is none. A score or a confidence is a number
-- from 0 to 1; null, NaN and whatever else is none. They are compared as real, which is the
-- column's type: 0.9 as real is less than 0.9 as anything wider. Six digits are what real
-- holds. Texts are cut, so that a list has a bound.

-- name: has_evaluations
-- Whether the table is there, and may be read.
SELECT coalesce(has_table_privilege(to_regclass('conversation_evaluations'), 'SELECT'), false)

-- name: evaluation_categories
-- A day is one of the zone's.
SELECT category, to_char(day, 'YYYY-MM-DD') AS day, count(*) AS conversations, count(score) AS scored,
       round(avg(score)::numeric, 6)::double precision AS average_score,
       round(min(score)::numeric, 6)::double precision AS lowest_score,
       round(max(score)::numeric, 6)::double precision AS highest_score
FROM (
    SELECT left(coalesce(primary_category, ''), 500) AS category, (analyzed_at AT TIME ZONE @zone::text)::date AS day,
           CASE WHEN overall_score BETWEEN 0 AND 1 THEN overall_score END AS score
    FROM conversation_evaluations
    WHERE analyzed_at >= @from_time::timestamptz AND analyzed_at < @to_time::timestamptz
) e
GROUP BY category, e.day
ORDER BY e.day DESC, category
LIMIT @max

-- name: evaluation_low_scores
SELECT id, coalesce(context_id, '') AS context_id, left(coalesce(primary_category, ''), 500) AS category, coalesce(goal_achieved, '') AS goal_achieved,
       CASE WHEN goal_achievement_confidence BETWEEN 0 AND 1 THEN round(goal_achievement_confidence::numeric, 6)::double precision END AS confidence,
       round(overall_score::numeric, 6)::double precision AS score,
       left(issues_encountered, 4000) AS issues, left(evaluation_summary, 4000) AS summary, total_turns AS turns,
       conversation_duration_seconds AS duration_seconds, coalesce(completion_status, '') AS completion_status, analyzed_at
FROM conversation_evaluations
WHERE analyzed_at >= @from_time::timestamptz AND analyzed_at < @to_time::timestamptz
  AND overall_score >= 0 AND overall_score::real < @below::real
ORDER BY overall_score, analyzed_at DESC, id DESC
LIMIT @max

-- name: evaluation_issues
-- An issue is the whole text, but for blanks around it.
SELECT issue, count(*) AS conversations, max(at) AS last_at,
       round(avg(score)::numeric, 6)::double precision AS average_score
FROM (
    SELECT left(btrim(issues_encountered, E' \t\r\n'), 1000) AS issue, analyzed_at AS at,
           CASE WHEN overall_score BETWEEN 0 AND 1 THEN overall_score END AS score
    FROM conversation_evaluations
    WHERE analyzed_at >= @from_time::timestamptz AND analyzed_at < @to_time::timestamptz
) e
WHERE issue <> ''
GROUP BY issue
ORDER BY conversations DESC, last_at DESC, issue
LIMIT @max

-- name: evaluation_goals
SELECT goal_achieved, count(*) AS conversations,
       round(avg(confidence)::numeric, 6)::double precision AS average_confidence,
       count(*) FILTER (WHERE confidence >= 0.8::real) AS high,
       count(*) FILTER (WHERE confidence >= 0.5::real AND confidence < 0.8::real) AS medium,
       count(*) FILTER (WHERE confidence < 0.5::real) AS low,
       count(*) FILTER (WHERE confidence IS NULL) AS unknown
FROM (
    SELECT left(coalesce(goal_achieved, ''), 100) AS goal_achieved,
           CASE WHEN goal_achievement_confidence BETWEEN 0 AND 1 THEN goal_achievement_confidence::real END AS confidence
    FROM conversation_evaluations
    WHERE analyzed_at >= @from_time::timestamptz AND analyzed_at < @to_time::timestamptz
) e
GROUP BY goal_achieved
ORDER BY array_position(ARRAY['yes', 'partial', 'no'], goal_achieved), goal_achieved
LIMIT 100

-- name: list_evaluations
-- A page: what is before a place in the order. The bound of analyzed_at alone is what an
-- index on that column can use; with a category, the planner chooses.
SELECT id, coalesce(context_id, '') AS context_id, left(coalesce(primary_category, ''), 500) AS category, coalesce(goal_achieved, '') AS goal_achieved,
       CASE WHEN goal_achievement_confidence BETWEEN 0 AND 1 THEN round(goal_achievement_confidence::numeric, 6)::double precision END AS confidence,
       CASE WHEN overall_score BETWEEN 0 AND 1 THEN round(overall_score::numeric, 6)::double precision END AS score,
       left(issues_encountered, 4000) AS issues, left(evaluation_summary, 4000) AS summary, total_turns AS turns,
       conversation_duration_seconds AS duration_seconds, coalesce(completion_status, '') AS completion_status, analyzed_at
FROM conversation_evaluations
WHERE analyzed_at >= @from_time::timestamptz AND analyzed_at < @to_time::timestamptz
  AND analyzed_at <= @before::timestamptz AND (analyzed_at, id) < (@before::timestamptz, @before_id::bigint)
  AND (@category::text = '' OR primary_category = @category::text)
ORDER BY analyzed_at DESC, id DESC
LIMIT @max

-- name: evaluation_distribution
SELECT count(*) FILTER (WHERE score >= 0.9::real) AS excellent,
       count(*) FILTER (WHERE score >= 0.7::real AND score < 0.9::real) AS good,
       count(*) FILTER (WHERE score >= 0.5::real AND score < 0.7::real) AS fair,
       count(*) FILTER (WHERE score < 0.5::real) AS poor,
       count(*) FILTER (WHERE score IS NULL) AS unscored
FROM (
    SELECT CASE WHEN overall_score BETWEEN 0 AND 1 THEN overall_score::real END AS score
    FROM conversation_evaluations
    WHERE analyzed_at >= @from_time::timestamptz AND analyzed_at < @to_time::timestamptz
) e
