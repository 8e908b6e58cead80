-- Which of the columns that not every install has are there, and of which type.
SELECT a.attname || ' ' || format_type(a.atttypid, NULL)
FROM pg_attribute a
WHERE a.attrelid = to_regclass('markdown_content') AND a.attname IN ('category_id', 'links')
  AND a.attnum > 0 AND NOT a.attisdropped
