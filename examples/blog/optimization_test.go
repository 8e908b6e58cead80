package blog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
)

// content inserts rows whose images these are, the first the newest.
func content(t *testing.T, w *world, images ...string) {
	t.Helper()
	for i, image := range images {
		slug := fmt.Sprintf("%03d", i)
		_, err := w.pool.Exec(t.Context(), `INSERT INTO markdown_content (id, slug, title, body, author, published_at, source_id, version_hash, image)
			VALUES ($1, $1, '', '', '', now() - $2 * interval '1 day', 'blog', '', $3)`, slug, i, image)
		require.NoError(t, err)
	}
}

func images(t *testing.T, w *world) []string {
	t.Helper()
	rows, err := w.pool.Query(t.Context(), "SELECT concat_ws(' ', image, image_optimization_status) FROM markdown_content ORDER BY slug")
	require.NoError(t, err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return list
}

func names(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	list := make([]string, 0, len(entries))
	for _, entry := range entries {
		list = append(list, entry.Name())
	}
	return list
}

func TestOptimization(t *testing.T) {
	t.Parallel()
	original := string(pngOf(t, photo(300, 200)))
	folder := files(t, map[string]string{
		"a.png": original, "sub/b c.jpg": string(jpegOf(t, photo(300, 200))), "moving.gif": string(gifOf(t, 3)), "corrupt.png": original[:200],
		"small.png": string(pngOf(t, picture(100, 100))), "text.png": "text",
	})
	w := start(t, Config{Images: Images{Folder: folder, Address: "/images/"}}, Optimization())
	content(t, w, "/images/gone.png", "/images/a.png", "/images/sub/b%20c.jpg", "/images/moving.gif", "/images/corrupt.png", "https://example.com/x.png", "/images/small.png", "/images/text.png", "/images/../x.png")
	all := map[string]any{"longest_edge": 100}

	targets := succeeds(t, w.run(t, OptimizationName, all, true), 4)
	require.Contains(t, targets["images/a.png"].Note, "bytes instead of")
	require.Len(t, names(t, folder), 6, "a dry run writes no file")
	require.Equal(t, int64(0), scalar[int64](t, w, "SELECT count(*) FROM markdown_content WHERE image_optimization_status IS NOT NULL"))

	name := (conversion{edge: 100, quality: 80}).optimizedName("a.png", []byte(original))
	run := w.run(t, OptimizationName, all, false)
	targets = succeeds(t, run, 4)
	require.Equal(t, "2 optimized, 2 left as they are; pending are: 1 whose file is missing, 2 that cannot be read, 2 elsewhere, 0 changed meanwhile", targets["images"].Note)
	require.Contains(t, targets["images/moving.gif"].Note, "left as it is: it moves")
	require.Contains(t, targets["images/small.png"].Note, "left as it is: WebP would have")
	list := images(t, w)
	require.Equal(t, "/images/gone.png", list[0])
	require.Equal(t, "/images/"+name+" optimized", list[1])
	require.Regexp(t, `^/images/sub/b%20c-[0-9a-f]{16}\.webp optimized$`, list[2])
	require.Equal(t, []string{"/images/moving.gif optimized", "/images/corrupt.png", "https://example.com/x.png", "/images/small.png optimized", "/images/text.png", "/images/../x.png"}, list[3:])
	kept, err := os.ReadFile(filepath.Join(folder, "a.png"))
	require.NoError(t, err)
	require.Equal(t, original, string(kept), "the original stays")
	require.Len(t, names(t, folder), 7)

	// What is left stays pending and is not tried again, unless it has changed.
	targets = succeeds(t, w.run(t, OptimizationName, all, false), 0)
	require.Len(t, targets, 1)
	require.Contains(t, targets["images"].Note, "1 whose file is missing, 2 that cannot be read")
	require.NoError(t, os.WriteFile(filepath.Join(folder, "corrupt.png"), []byte(original+" "), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "gone.png"), []byte(original), 0o644))
	succeeds(t, w.run(t, OptimizationName, all, false), 2)
}

// Those that cannot be optimized do not keep others from it.
func TestOptimization_queue(t *testing.T) {
	t.Parallel()
	good := string(pngOf(t, photo(60, 60)))
	contents := map[string]string{"good.png": good, "good2.png": good + " ", "good3.png": good + "  "}
	var list []string
	for i := range 6 {
		list = append(list, fmt.Sprintf("/images/gone-%d.png", i))
	}
	for i := range 6 {
		contents[fmt.Sprintf("bad-%d.png", i)] = "no image"
		list = append(list, fmt.Sprintf("/images/bad-%d.png", i))
	}
	folder := files(t, contents)
	long := strings.Repeat("x", 240) + ".png"
	require.NoError(t, os.WriteFile(filepath.Join(folder, long), []byte(good+"   "), 0o644))
	for i := range 6 {
		require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(folder, fmt.Sprintf("out-%d.png", i))))
		list = append(list, fmt.Sprintf("/images/out-%d.png", i), fmt.Sprintf("/images/good.png/%d.png", i), "/images/"+strings.Repeat("x", 300))
	}
	w := start(t, Config{Images: Images{Folder: folder, Address: "/images/"}}, Optimization())
	content(t, w, append(list, "/images/good.png", "/images/good2.png", "/images/good3.png", "/images/"+long)...)
	_, err := w.pool.Exec(t.Context(), `INSERT INTO markdown_content (id, slug, title, body, author, published_at, source_id, version_hash, image)
		SELECT 'n' || n, 'n' || n, '', '', '', now() + n * interval '1 day', 'blog', '', '/images/never-' || n || '.png' FROM generate_series(1, 1200) n`)
	require.NoError(t, err)

	limited := map[string]any{"limit": 4}
	succeeds(t, w.run(t, OptimizationName, limited, false), 0) // four that are bad
	targets := succeeds(t, w.run(t, OptimizationName, limited, false), 2)
	require.Contains(t, targets["images/good.png"].Note, "bytes instead of")
	require.Contains(t, targets["images/good2.png"].Note, "bytes instead of")
	targets = succeeds(t, w.run(t, OptimizationName, limited, false), 2)
	require.Contains(t, targets["images"].Note, "2 optimized, 0 left as they are; pending are: 1206 whose file is missing, 24 that cannot be read")
}

// A file without its record is found, and a file that somebody else has written halfway is
// nobody's.
func TestOptimization_betweenFileAndRow(t *testing.T) {
	t.Parallel()
	original := pngOf(t, photo(300, 200))
	folder := files(t, map[string]string{"a.png": string(original)})
	c := conversion{edge: 1920, quality: 80}
	name := c.optimizedName("a.png", original)
	w := start(t, Config{Images: Images{Folder: folder, Address: "/images/"}}, Optimization())
	content(t, w, "/images/a.png", "/images/a.png")

	// The temporary file of a process that was killed, and that of one that still writes.
	for temporary, age := range map[string]time.Duration{"." + name + ".OLD.tmp": 2 * leftoverAge, "." + name + ".NEW.tmp": 0} {
		path := filepath.Join(folder, temporary)
		require.NoError(t, os.WriteFile(path, []byte("half"), 0o644))
		require.NoError(t, os.Chtimes(path, time.Time{}, time.Now().Add(-age)))
	}
	targets := succeeds(t, w.run(t, OptimizationName, nil, false), 2)
	require.Contains(t, targets["images/a.png"].Note, "the file was there", "the second row has the same image")
	require.Equal(t, []string{"." + name + ".NEW.tmp", name, "a.png"}, names(t, folder))

	// The record is lost, as if the process had ended before it.
	_, err := w.pool.Exec(t.Context(), "UPDATE markdown_content SET image = '/images/a.png', image_optimization_status = NULL")
	require.NoError(t, err)
	before, err := os.Stat(filepath.Join(folder, name))
	require.NoError(t, err)
	succeeds(t, w.run(t, OptimizationName, nil, false), 2)
	after, err := os.Stat(filepath.Join(folder, name))
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after), "it is not written again")
	require.Equal(t, []string{"/images/" + name + " optimized", "/images/" + name + " optimized"}, images(t, w))

	// A file of that name that is none of ours is replaced by the whole one.
	require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte("half"), 0o644))
	_, err = w.pool.Exec(t.Context(), "UPDATE markdown_content SET image = '/images/a.png', image_optimization_status = NULL")
	require.NoError(t, err)
	succeeds(t, w.run(t, OptimizationName, nil, false), 2)
	whole, err := os.ReadFile(filepath.Join(folder, name))
	require.NoError(t, err)
	want, err := c.convert(original)
	require.NoError(t, err)
	require.Equal(t, want, whole)
}

// Two at once make the same file, and one records it.
func TestOptimization_twoAtOnce(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"a.png": string(pngOf(t, photo(300, 200)))})
	w := start(t, Config{Images: Images{Folder: folder, Address: "/images/"}}, Optimization())
	content(t, w, "/images/a.png")
	var wg sync.WaitGroup
	rows := make([]int64, 8)
	failures := make([]error, len(rows))
	for i := range rows {
		wg.Go(func() { rows[i], failures[i] = attempt(t.Context(), w, folder) })
	}
	wg.Wait()
	var recorded int64
	for i := range rows {
		require.NoError(t, failures[i])
		recorded += rows[i]
	}
	require.Equal(t, int64(1), recorded)
	require.Len(t, names(t, folder), 2)
}

// attempt works the job without a scheduler: each is a replica of its own.
func attempt(ctx context.Context, w *world, folder string) (rows int64, err error) {
	job := Optimization()
	parameters, err := jobs.Resolve(job.Definition())
	if err != nil {
		return 0, err
	}
	batches, err := job.Start(ctx, &jobs.Run{
		Job: OptimizationName, Parameters: parameters, Logger: discard(), Beginner: w.pool, App: Config{Images: Images{Folder: folder, Address: "/images/"}},
	})
	for done := false; err == nil && !done; {
		if err = batches.(jobs.Preparer).Prepare(ctx); err != nil {
			break
		}
		err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) (err error) {
			batch := &jobs.Batch{Tx: tx, Targets: jobs.Targets{}}
			done, err = batches.Next(ctx, batch)
			rows += batch.Targets.Rows()
			return err
		})
	}
	return rows, err
}

// An image that is replaced while it is converted stays pending.
func TestOptimization_anImageThatChanges(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"a.png": string(pngOf(t, photo(300, 200)))})
	w := start(t, Config{Images: Images{Folder: folder, Address: "/images/"}}, Optimization())
	content(t, w, "/images/a.png")
	job := Optimization()
	parameters, err := jobs.Resolve(job.Definition())
	require.NoError(t, err)
	batches, err := job.Start(t.Context(), &jobs.Run{Parameters: parameters, Logger: discard(), Beginner: w.pool, App: Config{Images: Images{Folder: folder, Address: "/images/"}}})
	require.NoError(t, err)
	require.NoError(t, batches.(jobs.Preparer).Prepare(t.Context()))
	_, err = w.pool.Exec(t.Context(), "UPDATE markdown_content SET image = '/images/other.png'")
	require.NoError(t, err)
	tx, err := w.pool.Begin(t.Context())
	require.NoError(t, err)
	batch := &jobs.Batch{Tx: tx, Targets: jobs.Targets{}}
	_, err = batches.Next(t.Context(), batch)
	require.NoError(t, err)
	require.NoError(t, tx.Commit(t.Context()))
	require.Zero(t, batch.Targets.Rows())
	require.Contains(t, batch.Targets["images/a.png"].Note, "not recorded: ")
	require.Equal(t, []string{"/images/other.png"}, images(t, w))
}

func TestOptimization_refusals(t *testing.T) {
	t.Parallel()
	w := start(t, Config{Images: Images{Folder: filepath.Join(t.TempDir(), "gone"), Address: "/images/"}}, Optimization())
	run := w.run(t, OptimizationName, nil, false)
	require.Equal(t, jobs.StatusFailed, run.Status)
	require.Contains(t, *run.Error, "gone cannot be read: no such file or directory")
	for config, want := range map[*Config]string{{}: "no folder of images is configured", {Images: Images{Folder: "x", Address: "x"}}: "must begin and end with a slash"} {
		_, err := Optimization().Start(t.Context(), &jobs.Run{App: *config, Logger: discard()})
		require.ErrorContains(t, err, want)
		require.True(t, jobs.IsPermanent(err))
	}
	_, err := Optimization().Start(t.Context(), &jobs.Run{Job: OptimizationName})
	require.ErrorIs(t, err, jobs.ErrAppValue)
}
