-- What the table has under the slugs of some files. It locks nothing and writes nothing.
-- Newer installs have a row for each locale of a slug; files are in the default one. Where
-- the table has no such column, locale is the one of the first FROM.
SELECT m.slug, m.source_id, m.version_hash
FROM (VALUES ('en')) AS every (locale)
CROSS JOIN LATERAL (
    SELECT slug, source_id, version_hash
    FROM markdown_content
    WHERE slug = ANY (@slugs::text[]) AND locale = 'en'
) m
