-- Which of the columns that not every install has are there, of which type, and whether a
-- slug alone is unique.
SELECT a.attname, format_type(a.atttypid, NULL),
       EXISTS (
           SELECT FROM pg_index i
           WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum)
FROM pg_attribute a
WHERE a.attrelid = to_regclass('markdown_content')
  AND a.attname IN ('slug', 'category_id', 'links', 'image_optimization_status', 'locale')
  AND a.attnum > 0 AND NOT a.attisdropped
