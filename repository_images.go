package scheduler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/systempromptio/scheduler/sql"
)

var (
	// ErrContentNotFound: no content has that id.
	ErrContentNotFound = errors.New("content not found")

	// ErrImageChanged: the content has another image than the one that was optimized.
	ErrImageChanged = errors.New("the content has another image now")
)

// PendingImage is content whose image is to be optimized; see [sql.PendingImageRow].
type PendingImage = sql.PendingImageRow

// PendingImagesMax is how many [Images.Pending] lists at once.
const PendingImagesMax = 10_000

// contentTable is the platform's table of the images.
const contentTable = "markdown_content"

// Images tells which images of the platform's content are to be optimized: those that are
// set, and whose status is null or not optimized. The table is markdown_content.
//
// Nothing is claimed: two callers of Pending get the same. What must not be done twice at
// once belongs into a job, of which one run works at a time.
type Images struct {
	db         Querier
	statements *sql.Statements
}

// Pending lists the next n images to optimize, newest published_at first. An n that is not
// within 1 and [PendingImagesMax] is [ErrBadArgument].
func (i Images) Pending(ctx context.Context, n int) ([]PendingImage, error) {
	return i.PendingAfter(ctx, PendingImage{PublishedAt: timeEnd}, n)
}

// PendingAfter lists the n images that follow last in the order of [Images.Pending], of
// which only PublishedAt and ID count: for a caller that has to go on past images that it
// cannot optimize. The cost does not grow with what lies before.
func (i Images) PendingAfter(ctx context.Context, last PendingImage, n int) ([]PendingImage, error) {
	if n < 1 || n > PendingImagesMax {
		return nil, fmt.Errorf("%d pending images: %w: between 1 and %d can be listed at once", n, ErrBadArgument, PendingImagesMax)
	}
	list, err := i.statements.PendingImages(ctx, i.db, last.PublishedAt, last.ID, n)
	return list, i.translate(ctx, "pending_images", err)
}

// CountPending counts the images to optimize.
func (i Images) CountPending(ctx context.Context) (int64, error) {
	n, err := i.statements.CountPendingImages(ctx, i.db, timeEnd)
	return n, i.translate(ctx, "count_pending_images", err)
}

// RecordOptimized records where the optimized image of content is: it sets image, the
// status optimized, and updated_at. The error is [ErrContentNotFound] if no content has
// the id, and [ErrBadArgument] for an image that cannot be an address. Whatever image the
// content has by now is replaced: see [Images.RecordOptimizedOf].
func (i Images) RecordOptimized(ctx context.Context, id, image string) error {
	return i.record(ctx, id, image, nil)
}

// RecordOptimizedOf is [Images.RecordOptimized] for an image that was optimized outside of
// the transaction that found it: if the content has another image by now, that one stays,
// pending as it is, and the error is [ErrImageChanged].
func (i Images) RecordOptimizedOf(ctx context.Context, pending PendingImage, image string) error {
	return i.record(ctx, pending.ID, image, &pending.Image)
}

func (i Images) record(ctx context.Context, id, image string, was *string) error {
	if image == "" || !utf8.ValidString(image) || strings.ContainsRune(image, 0) {
		return fmt.Errorf("image %q of content %q: %w: an address is text, and not empty", image, id, ErrBadArgument)
	}
	if !utf8.ValidString(id) || strings.ContainsRune(id, 0) { // which the server could not even be asked for
		return fmt.Errorf("content %q: %w", id, ErrContentNotFound)
	}
	recorded, err := i.statements.RecordOptimizedImage(ctx, i.db, id, image, was)
	if err != nil || recorded {
		return i.translate(ctx, "record_optimized_image", err)
	}
	found, err := i.statements.HasContent(ctx, i.db, id)
	switch {
	case err != nil:
		return i.translate(ctx, "has_content", err)
	case found:
		return fmt.Errorf("content %q: %w than %q", id, ErrImageChanged, *was)
	}
	return fmt.Errorf("content %q: %w", id, ErrContentNotFound)
}

func (i Images) translate(ctx context.Context, statement string, err error) error {
	return tableError(ctx, contentTable, i.statements.Text(statement), err)
}
