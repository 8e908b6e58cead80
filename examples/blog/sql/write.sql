-- Insert files that are new, and update those that have changed, all of one source. The
-- condition of the update is checked on the locked row: what another source, or another
-- run, has written meanwhile stays. In the order of the slugs, so that two runs cannot
-- wait for each other.
--
-- Where the table has them, {columns} are further columns, {values} and {updates} what
-- becomes of them. {key} is what makes a row unique.
INSERT INTO markdown_content AS m
    (id, slug, title, description, body, author, published_at, keywords, kind, image, source_id, version_hash{columns})
SELECT gen_random_uuid()::text, f.slug, f.title, f.description, f.body, f.author, f.published_at, f.keywords, f.kind,
       nullif(f.image, ''), @source_id::text, f.version_hash{values}
FROM unnest(@slugs::text[], @titles::text[], @descriptions::text[], @bodies::text[], @authors::text[],
            @published::timestamptz[], @keywords::text[], @kinds::text[], @images::text[], @hashes::text[],
            @categories::text[], @links::text[])
    AS f (slug, title, description, body, author, published_at, keywords, kind, image, version_hash, category, links)
ORDER BY f.slug
ON CONFLICT ({key}) DO UPDATE
SET title = excluded.title, description = excluded.description, body = excluded.body, author = excluded.author,
    published_at = excluded.published_at, keywords = excluded.keywords, kind = excluded.kind, image = excluded.image,
    version_hash = excluded.version_hash, updated_at = now(){updates}
WHERE @override::boolean AND m.source_id = excluded.source_id AND m.version_hash <> excluded.version_hash
RETURNING m.slug
