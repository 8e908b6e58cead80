-- The images of the platform's markdown_content that no job has optimized. The table is
-- the application's, so its name is not qualified: search_path finds it. Each statement
-- names one table of the application and its columns without an alias; an error's position
-- then says which column is missing.

-- name: pending_images
-- The index on published_at gives the order, and the bound its beginning, however far down
-- a page is. The second condition on it is what decides; the first alone can use an index
-- of published_at only. What was published at infinity, or in a year that is none, is left
-- out: it has no place in an order by days.
SELECT id, slug, image, published_at, image_optimization_status
FROM markdown_content
WHERE image <> '' AND image_optimization_status IS DISTINCT FROM 'optimized'
  AND published_at >= '0001-01-01 00:00:00+00' AND published_at <= @before::timestamptz
  AND (published_at, id) < (@before::timestamptz, @before_id::text)
ORDER BY published_at DESC, id DESC
LIMIT @max

-- name: count_pending_images
SELECT count(*)
FROM markdown_content
WHERE image <> '' AND image_optimization_status IS DISTINCT FROM 'optimized'
  AND published_at >= '0001-01-01 00:00:00+00' AND published_at < @before::timestamptz

-- name: record_optimized_image
-- was is the image that was optimized, or null for any: another one may have been set
-- meanwhile.
UPDATE markdown_content
SET image = @image, image_optimization_status = 'optimized', updated_at = now()
WHERE id = @id AND (@was::text IS NULL OR image = @was::text)

-- name: has_content
SELECT EXISTS (SELECT FROM markdown_content WHERE id = @id)
