-- What the table has under the slugs of some files. It locks nothing and writes nothing.
SELECT slug, source_id, version_hash
FROM markdown_content
WHERE slug = ANY (@slugs::text[])
