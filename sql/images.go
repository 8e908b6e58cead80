package sql

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// PendingImageRow is content whose image was not optimized.
type PendingImageRow struct {
	ID          string    `json:"id" db:"id"`
	Slug        string    `json:"slug"`
	Image       string    `json:"image"`
	PublishedAt time.Time `json:"published_at"`
	// ImageOptimizationStatus is nil where nobody has tried.
	ImageOptimizationStatus *string `json:"image_optimization_status"`
}

// PendingImages reads the images before a place in the order, newest first.
func (s *Statements) PendingImages(ctx context.Context, db Querier, before time.Time, beforeID string, limit int) ([]PendingImageRow, error) {
	return collect[PendingImageRow](ctx, db, "list the pending images", s.Text("pending_images"), pgx.NamedArgs{
		"before": before, "before_id": beforeID, "max": limit,
	})
}

// CountPendingImages counts the images of what was published before a time.
func (s *Statements) CountPendingImages(ctx context.Context, db Querier, before time.Time) (int64, error) {
	return call[int64](ctx, db, "count the pending images", s.Text("count_pending_images"), pgx.NamedArgs{"before": before})
}

// RecordOptimizedImage sets the image of content, and says whether there was any with
// that id, and with the image was unless that is nil.
func (s *Statements) RecordOptimizedImage(ctx context.Context, db Querier, id, image string, was *string) (bool, error) {
	tag, err := db.Exec(ctx, s.Text("record_optimized_image"), pgx.NamedArgs{"id": id, "image": image, "was": was})
	if err != nil {
		return false, fmt.Errorf("record the optimized image: %w", err)
	}
	return tag.RowsAffected() > 0, nil
}

// HasContent says whether there is content with an id.
func (s *Statements) HasContent(ctx context.Context, db Querier, id string) (bool, error) {
	return call[bool](ctx, db, "look for the content", s.Text("has_content"), pgx.NamedArgs{"id": id})
}
