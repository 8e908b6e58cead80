package blog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

const (
	// OptimizationName is the name of the job that [Optimization] makes.
	OptimizationName = "image_optimization"

	// pageSize is how many pending images are read at once.
	pageSize = 500
	// unreadableMax is how many images are remembered that could not be converted.
	unreadableMax = 10_000
)

// Optimization is the job image_optimization. It makes smaller files of the images that
// markdown_content names and that are pending, newest first: WebP, not larger than a
// longest edge, beside the original, which stays as it is. Then it records the new address.
//
// If the result is not smaller than the original, or the image moves, the original's own
// address is recorded as the optimized one.
//
// An image whose file is missing, or whose address is that of another server, stays
// pending and costs a look at each run. One that cannot be read stays pending as well; a
// replica tries it again when its file has changed, or when it was started anew.
//
// The file comes before the record. A run that ends between the two leaves a file that the
// next one finds, by its name, and records.
func Optimization() jobs.BatchJob { return &optimization{unreadable: map[string]stamp{}} }

type optimization struct {
	mu sync.Mutex
	// unreadable are the files that could not be converted, by path.
	unreadable map[string]stamp
}

// stamp tells whether a file has changed.
type stamp struct {
	size     int64
	modified int64
}

var _ jobs.BatchJob = (*optimization)(nil)

func (*optimization) Definition() jobs.Definition {
	return jobs.Definition{
		Name:        OptimizationName,
		Description: "makes smaller files of the images of markdown_content",
		Schedule:    "*/15 * * * *",
		Needs:       []jobs.Need{jobs.Needs[Config]("its folder of images")},
		Parameters: []jobs.Parameter{
			{Name: "limit", Description: "how many images a run converts at most", Type: jobs.TypeInteger, Default: 20, Minimum: jobs.Bound(1), Maximum: jobs.Bound(1000)},
			{Name: "longest_edge", Description: "in pixels; larger images are made smaller", Type: jobs.TypeInteger, Default: 1920, Minimum: jobs.Bound(16), Maximum: jobs.Bound(8192)},
			{Name: "quality", Description: "of WebP", Type: jobs.TypeInteger, Default: 80, Minimum: jobs.Bound(1), Maximum: jobs.Bound(99)},
		},
	}
}

func (o *optimization) Start(ctx context.Context, run *jobs.Run) (jobs.Batches, error) {
	config, err := jobs.App[Config](run)
	if err != nil {
		return nil, jobs.Permanent(err)
	}
	if err := config.Check(); err != nil {
		return nil, jobs.Permanent(fmt.Errorf("the blog's configuration: %w", err))
	}
	if config.Images.Folder == "" {
		return nil, jobs.Permanent(errors.New("no folder of images is configured; give the program one, or disable the job"))
	}
	attempt := &optimizing{
		optimization: o, run: run, images: config.Images, cursor: progress{Counts: map[string]int{}},
		convert: conversion{edge: int(run.Parameters.Int("longest_edge")), quality: int(run.Parameters.Int("quality"))},
		limit:   int(run.Parameters.Int("limit")),
	}
	if run.Cursor != nil {
		if err := json.Unmarshal(run.Cursor, &attempt.cursor); err != nil {
			return nil, jobs.Permanent(fmt.Errorf("read the run's cursor: %w", err))
		}
	}
	return attempt, nil
}

// optimizing is an attempt.
type optimizing struct {
	*optimization
	run     *jobs.Run
	images  Images
	convert conversion
	limit   int
	cursor  progress
	// page are the pending images that were read and not looked at, and last that there
	// are no more.
	page []scheduler.PendingImage
	last bool
	next *made
}

// progress is the run's cursor.
type progress struct {
	// After is the image that was looked at last.
	After *scheduler.PendingImage `json:"after,omitempty"`
	// Tried is how many were converted, or could not be.
	Tried int `json:"tried"`
	// Counts are the outcomes.
	Counts map[string]int `json:"counts"`
}

// The outcomes of an image.
const (
	optimized  = "optimized"
	asItIs     = "left as they are"
	missing    = "missing"
	elsewhere  = "elsewhere"
	unreadable = "unreadable"
	overtaken  = "changed meanwhile"
)

// made is an image that was tried.
type made struct {
	image scheduler.PendingImage
	path  string
	// address is what is to be recorded; empty if it could not be converted.
	address, outcome, note string
}

// Prepare converts the next image, outside of any transaction.
func (o *optimizing) Prepare(ctx context.Context) error {
	o.next = nil
	root, err := os.OpenRoot(o.images.Folder)
	if err != nil {
		return jobs.Permanent(fmt.Errorf("the folder of images %s cannot be read: %w", o.images.Folder, bare(err)))
	}
	defer root.Close() //nolint:errcheck // what was written in it is on disk
	for o.next == nil && o.cursor.Tried < o.limit {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(o.page) == 0 {
			if err := o.read(ctx); err != nil {
				return err
			}
			if len(o.page) == 0 {
				return nil
			}
		}
		image := o.page[0]
		o.page = o.page[1:]
		o.cursor.After = &image
		if err := o.try(ctx, root, image); err != nil {
			return err
		}
	}
	return nil
}

// read reads the next page of pending images.
func (o *optimizing) read(ctx context.Context) error {
	if o.last {
		return nil
	}
	return pgx.BeginFunc(ctx, o.run.Beginner, func(tx pgx.Tx) error {
		repository, err := scheduler.NewRepository(tx, o.run.Schema)
		if err != nil {
			return err
		}
		if o.cursor.After == nil {
			o.page, err = repository.Images.Pending(ctx, pageSize)
		} else {
			o.page, err = repository.Images.PendingAfter(ctx, *o.cursor.After, pageSize)
		}
		o.last = len(o.page) < pageSize
		if errors.Is(err, scheduler.ErrTableAbsent) || errors.Is(err, scheduler.ErrColumnAbsent) || errors.Is(err, scheduler.ErrPrivilege) {
			return jobs.Permanent(err)
		}
		return err
	})
}

// try converts an image, if there is a file that can be.
func (o *optimizing) try(ctx context.Context, root *os.Root, image scheduler.PendingImage) error {
	name, err := o.images.pathOf(image.Image)
	if err != nil {
		o.cursor.Counts[elsewhere]++
		o.run.Logger.DebugContext(ctx, "an image is left out", slog.String("slug", image.Slug), slog.String("image", shown(image.Image)), slog.String("reason", err.Error()))
		return nil
	}
	info, err := root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		o.cursor.Counts[missing]++
		o.run.Logger.DebugContext(ctx, "an image's file is missing", slog.String("slug", image.Slug), slog.String("file", shown(name)))
		return nil
	}
	if err != nil { // a link out of the folder, say; it has cost nothing yet
		o.cursor.Counts[unreadable]++
		o.run.Logger.WarnContext(ctx, "an image cannot be read", slog.String("slug", image.Slug), slog.String("file", shown(name)), slog.String("error", reason(bare(err))))
		return nil
	}
	if o.isKnown(name, info) {
		o.cursor.Counts[unreadable]++
		return nil
	}
	o.cursor.Tried++
	next := &made{image: image, path: name}
	content, err := reader{root: root, max: imageMax}.read(name)
	if err == nil {
		err = o.make(root, content, next)
	}
	if failure, ok := errors.AsType[*putError](err); ok {
		return failure // the disk is full, or may not be written: that is not the image's fault
	}
	if err != nil {
		next.outcome, next.note = unreadable, "stays pending: "+reason(bare(err))
		if !errors.Is(err, errChanged) {
			o.remember(name, info)
		}
		o.run.Logger.WarnContext(ctx, "an image cannot be optimized", slog.String("slug", image.Slug), slog.String("file", shown(name)), slog.String("error", reason(err)))
	}
	o.next = next
	return nil
}

// putError: the optimized file could not be written.
type putError struct{ err error }

func (e *putError) Error() string { return e.err.Error() }

func (e *putError) Unwrap() error { return e.err }

// make makes the optimized file, unless it is there already.
func (o *optimizing) make(root *os.Root, content []byte, next *made) error {
	name := o.convert.optimizedName(next.path, content)
	if size, ok := sizeOf(root, name); ok {
		next.address, next.outcome = o.images.addressOf(name), optimized
		next.note = fmt.Sprintf("%d bytes instead of %d; the file was there", size, len(content))
		return nil
	}
	smaller, err := o.convert.convert(content)
	switch {
	case errors.Is(err, errMoving):
		next.address, next.outcome, next.note = next.image.Image, asItIs, "left as it is: "+err.Error()
		return nil
	case err != nil:
		return err
	case len(smaller) >= len(content):
		next.address, next.outcome, next.note = next.image.Image, asItIs, fmt.Sprintf("left as it is: WebP would have %d bytes instead of %d", len(smaller), len(content))
		return nil
	}
	if !o.run.DryRun {
		if err := put(root, name, smaller); err != nil {
			return &putError{err}
		}
	}
	next.address, next.outcome = o.images.addressOf(name), optimized
	next.note = fmt.Sprintf("%d bytes instead of %d", len(smaller), len(content))
	return nil
}

func (o *optimization) isKnown(name string, info fs.FileInfo) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	known, ok := o.unreadable[name]
	return ok && known == stamp{info.Size(), info.ModTime().UnixNano()}
}

func (o *optimization) remember(name string, info fs.FileInfo) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.unreadable) >= unreadableMax {
		clear(o.unreadable)
	}
	o.unreadable[name] = stamp{info.Size(), info.ModTime().UnixNano()}
}

// Next records the image that Prepare has converted.
func (o *optimizing) Next(ctx context.Context, batch *jobs.Batch) (bool, error) {
	var rows int64
	if next := o.next; next != nil {
		if next.address != "" {
			err := o.record(ctx, batch.Tx, next)
			if err != nil {
				return false, err
			}
			if next.outcome != overtaken {
				rows = 1
			}
		}
		o.cursor.Counts[next.outcome]++
		batch.Targets["images/"+shown(next.path)] = jobs.Target{Note: next.note}
	}
	batch.Targets["images"] = jobs.Target{Rows: rows, Batches: rows, Note: o.note()}
	batch.Cursor = progress{After: o.cursor.After, Tried: o.cursor.Tried, Counts: maps.Clone(o.cursor.Counts)}
	batch.Message = o.note()
	return o.next == nil || o.cursor.Tried >= o.limit, nil
}

// record records the new address, unless the row has another image by now.
func (o *optimizing) record(ctx context.Context, tx pgx.Tx, next *made) error {
	repository, err := scheduler.NewRepository(tx, o.run.Schema)
	if err != nil {
		return err
	}
	err = repository.Images.RecordOptimizedOf(ctx, next.image, next.address)
	if errors.Is(err, scheduler.ErrImageChanged) || errors.Is(err, scheduler.ErrContentNotFound) {
		next.outcome, next.note = overtaken, "not recorded: "+reason(err)
		return nil
	}
	return err
}

// note is the run's line in the record.
func (o *optimizing) note() string {
	counts := o.cursor.Counts
	return fmt.Sprintf("%d optimized, %d left as they are; pending are: %d whose file is missing, %d that cannot be read, %d elsewhere, %d changed meanwhile",
		counts[optimized], counts[asItIs], counts[missing], counts[unreadable], counts[elsewhere], counts[overtaken])
}
