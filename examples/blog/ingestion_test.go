package blog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/schedulertest"
)

// article is a file with a slug.
func article(slug, body string) string { return written(map[string]string{"slug": slug}, body) }

func change(t *testing.T, folder, name, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644))
}

func TestIngestion(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{
		"a.md": written(map[string]string{"slug": "a", "title": "A", "description": "about a", "keywords": "[x, y]", "image": "/images/a.png", "kind": "guide", "layout": "wide"}, "# A\n"),
		"b.md": article("b", "b"), "sub/c.md": article("c", "c"), "sub/same.md": article("a", "another a"),
		"bad.md": "# no front matter\n", "taken.md": article("taken", "mine"), "not-utf8.md": "---\n\xff", "readme.txt": "",
	})
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(folder, "passwd.md")))
	w := start(t, Config{Sources: []Source{{Name: "main", Path: folder, SourceID: "blog", Recursive: true, OverrideExisting: true}}}, Ingestion())
	_, err := w.pool.Exec(t.Context(), `INSERT INTO markdown_content (id, slug, title, body, author, published_at, source_id, version_hash) VALUES ('t', 'taken', 't', 't', 't', now(), 'other', 'x')`)
	require.NoError(t, err)

	targets := succeeds(t, w.run(t, IngestionName, nil, true), 3)
	require.Equal(t, int64(1), scalar[int64](t, w, "SELECT count(*) FROM markdown_content"), "a dry run changes nothing")
	require.Equal(t, "inserted", targets["main/a.md"].Note)

	run := w.run(t, IngestionName, nil, false)
	targets = succeeds(t, run, 3)
	require.Equal(t, "8 files: 3 inserted, 0 updated, 0 unchanged, 5 failed; fields of front matter that mean nothing here: layout (1)", targets["main"].Note)
	require.Equal(t, "8 of 8 files, 5 failed", *run.Message)
	require.Equal(t, "inserted", targets["main/sub/c.md"].Note)
	require.Equal(t, `failed: the slug "a" is taken by a.md of the source "main"; choose another`, targets["main/sub/same.md"].Note)
	require.Equal(t, `failed: the slug "taken" belongs to the source_id "other"; choose another`, targets["main/taken.md"].Note)
	require.Contains(t, targets["main/bad.md"].Note, "failed: no front matter")
	require.Contains(t, targets["main/not-utf8.md"].Note, "failed: byte 4 is not UTF-8")
	require.Contains(t, targets["main/passwd.md"].Note, "failed: a symbolic link")
	require.Len(t, targets, 9)
	require.Equal(t, "A|about a|# A\n|Ada|2026-01-31|x, y|guide|/images/a.png|blog|true", scalar[string](t, w,
		"SELECT concat_ws('|', title, description, body, author, (published_at AT TIME ZONE 'UTC')::date, keywords, kind, image, source_id, public::text) FROM markdown_content WHERE slug = 'a'"))
	log, err := w.client.Log(t.Context(), run.ID)
	require.NoError(t, err)
	require.Len(t, log, 5, "each file that failed")

	// Nothing has changed: no row is written.
	all := "SELECT string_agg(slug || id || xmin || ctid, ' ' ORDER BY slug) FROM markdown_content"
	before := scalar[string](t, w, all)
	targets = succeeds(t, w.run(t, IngestionName, nil, false), 0)
	require.Contains(t, targets["main"].Note, "8 files: 0 inserted, 0 updated, 3 unchanged, 5 failed")
	require.Equal(t, before, scalar[string](t, w, all))

	// One has, and another is gone: its row stays.
	id := scalar[string](t, w, "SELECT id FROM markdown_content WHERE slug = 'b'")
	change(t, folder, "b.md", article("b", "new"))
	require.NoError(t, os.Remove(filepath.Join(folder, "sub/c.md")))
	targets = succeeds(t, w.run(t, IngestionName, nil, false), 1)
	require.Equal(t, "updated", targets["main/b.md"].Note)
	require.Equal(t, id+"new", scalar[string](t, w, "SELECT id || body FROM markdown_content WHERE slug = 'b'"))
	require.Equal(t, int64(4), scalar[int64](t, w, "SELECT count(*) FROM markdown_content"))
}

// An image that is named anew was not optimized yet; one that is named as before was.
func TestIngestion_images(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"a.md": written(map[string]string{"slug": "a", "image": "/i/a.webp"}, "1"), "b.md": written(map[string]string{"slug": "b", "image": "/i/b.png"}, "1")})
	w := start(t, Config{Sources: []Source{{Name: "main", Path: folder, SourceID: "blog", OverrideExisting: true}}}, Ingestion())
	succeeds(t, w.run(t, IngestionName, nil, false), 2)
	_, err := w.pool.Exec(t.Context(), "UPDATE markdown_content SET image = replace(image, 'png', 'webp'), image_optimization_status = 'optimized'")
	require.NoError(t, err)
	change(t, folder, "a.md", written(map[string]string{"slug": "a", "image": "/i/a.webp"}, "2"))
	change(t, folder, "b.md", written(map[string]string{"slug": "b", "image": "/i/b.png"}, "2"))
	succeeds(t, w.run(t, IngestionName, nil, false), 2)
	require.Equal(t, "/i/a.webp optimized, /i/b.png ", scalar[string](t, w, "SELECT string_agg(image || ' ' || coalesce(image_optimization_status, ''), ', ' ORDER BY slug) FROM markdown_content"))
}

func TestIngestion_sources(t *testing.T) {
	t.Parallel()
	keeps := files(t, map[string]string{"a.md": article("a", "a"), "paper.md": written(map[string]string{"slug": "p", "kind": "paper"}, "")})
	second := files(t, map[string]string{"a.md": article("a", "mine"), "b.md": article("b", "b")})
	off := false
	w := start(t, Config{Sources: []Source{
		{Name: "gone", Path: filepath.Join(keeps, "no such folder"), SourceID: "gone"},
		{Name: "keeps", Path: keeps, SourceID: "one", AllowedKinds: []string{"article"}},
		{Name: "file", Path: filepath.Join(keeps, "a.md"), SourceID: "gone"},
		{Name: "off", Path: keeps, SourceID: "off", Enabled: &off},
		{Name: "second", Path: second, SourceID: "two", CategoryID: "main", OverrideExisting: true},
	}}, Ingestion())

	run := w.run(t, IngestionName, nil, false)
	require.Equal(t, jobs.StatusFailed, run.Status)
	require.Contains(t, *run.Error, `source "gone": the folder `+keeps+`/no such folder cannot be read: no such file or directory`)
	require.Contains(t, *run.Error, `source "file"`)
	require.Equal(t, 1, run.Attempt, "another attempt would find the same")
	targets := targetsOf(t, run)
	require.Contains(t, targets["gone"].Note, "not read: ")
	require.Equal(t, int64(1), targets["keeps"].Rows)
	require.Contains(t, targets["keeps/paper.md"].Note, `kind is "paper", must be one of the source's: article`)
	require.Equal(t, `failed: the slug "a" belongs to the source_id "one"; choose another`, targets["second/a.md"].Note)
	require.Equal(t, "a one, b two", scalar[string](t, w, "SELECT string_agg(slug || ' ' || source_id, ', ' ORDER BY slug) FROM markdown_content"))

	change(t, keeps, "a.md", article("a", "changed"))
	chosen := map[string]any{"sources": []string{"keeps"}}
	targets = succeeds(t, w.run(t, IngestionName, chosen, false), 0)
	require.Contains(t, targets["keeps"].Note, "1 differ and are kept, since override_existing is off")
	require.Len(t, targets, 2)

	for name, want := range map[string]string{"none": `there is no source "none"; there are: gone, keeps`, "off": `the source "off" is disabled`} {
		run := w.run(t, IngestionName, map[string]any{"sources": []string{name}}, false)
		require.Equal(t, jobs.StatusFailed, run.Status)
		require.Contains(t, *run.Error, want)
	}
}

// What an install has beside the contract's columns.
func TestIngestion_otherInstalls(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{
		"a.md": written(map[string]string{"slug": "a", "category": "own", "links": "[{title: T, url: /u}]"}, ""),
		"b.md": article("b", ""), "refused.md": written(map[string]string{"slug": "c", "title": "forbidden"}, ""), "long.md": article("d", strings.Repeat("x", 2000)),
	})
	w := start(t, Config{Sources: []Source{{Name: "main", Path: folder, SourceID: "blog", CategoryID: "its"}}}, Ingestion())
	_, err := w.pool.Exec(t.Context(), `
		ALTER TABLE markdown_content ADD category_id varchar(40) NOT NULL, ADD links jsonb NOT NULL, ADD created_at timestamptz NOT NULL DEFAULT now(),
			ADD CHECK (title <> 'forbidden'), ALTER body TYPE varchar(1000)`)
	require.NoError(t, err)
	targets := succeeds(t, w.run(t, IngestionName, nil, false), 2)
	require.Equal(t, `a own [{"url": "/u", "title": "T"}], b its []`, scalar[string](t, w, "SELECT string_agg(concat_ws(' ', slug, category_id, links), ', ' ORDER BY slug) FROM markdown_content"))
	require.Contains(t, targets["main/refused.md"].Note, "failed: the table refuses it: ")
	require.Contains(t, targets["main/refused.md"].Note, "23514")
	require.Contains(t, targets["main/long.md"].Note, "22001")

	_, err = w.pool.Exec(t.Context(), "ALTER TABLE markdown_content DROP CONSTRAINT markdown_content_slug_key, DROP CONSTRAINT markdown_content_title_check")
	require.NoError(t, err)
	run := w.run(t, IngestionName, nil, false)
	require.Equal(t, jobs.StatusFailed, run.Status)
	require.Contains(t, *run.Error, "(SQLSTATE 42P10); slug must be unique, by itself or with locale")

	_, err = w.pool.Exec(t.Context(), "DROP TABLE markdown_content")
	require.NoError(t, err)
	run = w.run(t, IngestionName, nil, false)
	require.Equal(t, jobs.StatusFailed, run.Status)
	require.Equal(t, 1, run.Attempt)
	require.Contains(t, *run.Error, `relation "markdown_content" does not exist (SQLSTATE 42P01); the table is the application's: migrate it`)
}

// Newer installs have a row for each locale of a slug, and say elsewhere which images are
// optimized. A file is the row of the default locale; the others are left alone.
func TestIngestion_locales(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"a.md": article("a", "old"), "b.md": article("b", "old"), "c.md": article("c", "old")})
	config := Config{Sources: []Source{{Name: "main", Path: folder, SourceID: "blog", OverrideExisting: true}}}
	w := start(t, config, Ingestion())
	_, err := w.pool.Exec(t.Context(), `
		ALTER TABLE markdown_content DROP COLUMN image_optimization_status, ADD locale text NOT NULL DEFAULT 'xx', DROP CONSTRAINT markdown_content_slug_key;
		CREATE UNIQUE INDEX ON markdown_content (slug, locale)`)
	require.NoError(t, err)
	succeeds(t, w.run(t, IngestionName, nil, false), 3)
	_, err = w.pool.Exec(t.Context(), `
		INSERT INTO markdown_content (id, slug, title, description, body, author, published_at, keywords, source_id, version_hash, locale)
		SELECT format('fr-%s', slug) AS id, m.slug, 'T', 'd', 'b', 'a', now(), 'k', 'other', 'h', 'fr' FROM markdown_content m`)
	require.NoError(t, err)
	succeeds(t, w.run(t, IngestionName, nil, false), 0)
	change(t, folder, "a.md", article("a", "new"))
	succeeds(t, w.run(t, IngestionName, nil, false), 1)
	require.Equal(t, "a en new, a fr b, b en old, b fr b, c en old, c fr b",
		scalar[string](t, w, "SELECT string_agg(concat_ws(' ', slug, locale, trim(body, E' \n')), ', ' ORDER BY slug, locale) FROM markdown_content"))

	// Without anything that makes a slug unique, nothing is written, and the error says so.
	_, err = w.pool.Exec(t.Context(), "DROP INDEX markdown_content_slug_locale_idx; DELETE FROM markdown_content")
	require.NoError(t, err)
	run := w.run(t, IngestionName, nil, false)
	require.Equal(t, jobs.StatusFailed, run.Status)
	require.Equal(t, 1, run.Attempt)
	require.Contains(t, *run.Error, "(SQLSTATE 42P10); slug must be unique, by itself or with locale")
}

func TestIngestion_aFileThatChanges(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"a.md": article("a", "1"), "b.md": article("b", "1")})
	var once sync.Once
	job := ingestion{readFunc: func(name string) {
		if name == "a.md" {
			once.Do(func() { change(t, folder, name, article("a", "longer than before")) })
		}
	}}
	w := start(t, Config{Sources: []Source{{Name: "main", Path: folder, SourceID: "blog"}}}, job)
	targets := succeeds(t, w.run(t, IngestionName, nil, false), 1)
	require.Equal(t, "failed: it changed while it was read; the next run takes it", targets["main/a.md"].Note)
	succeeds(t, w.run(t, IngestionName, nil, false), 1)
	require.Equal(t, "longer than before", scalar[string](t, w, "SELECT body FROM markdown_content WHERE slug = 'a'"))
}

// stopped is the job, which waits at a file until its run is to stop.
type stopped struct {
	at      int64
	reached chan struct{}
	reads   atomic.Int64
}

func (*stopped) Definition() jobs.Definition { return Ingestion().Definition() }

func (s *stopped) Start(ctx context.Context, run *jobs.Run) (jobs.Batches, error) {
	return ingestion{readFunc: func(string) {
		if s.reads.Add(1) == s.at {
			close(s.reached)
			<-ctx.Done()
		}
	}}.Start(ctx, run)
}

// A replica that goes in the middle leaves the rest to another, which knows which slugs are
// taken.
func TestIngestion_resumes(t *testing.T) {
	t.Parallel()
	contents := map[string]string{"zz-last.md": article("n-0001", "the slug of the first")}
	for i := range 450 {
		contents[fmt.Sprintf("n-%04d.md", i)] = article(fmt.Sprintf("n-%04d", i), "x")
	}
	folder := files(t, contents)
	config := Config{Sources: []Source{{Name: "main", Path: folder, SourceID: "blog", OverrideExisting: true}}}
	reached := make(chan struct{})
	job := &stopped{reached: reached, at: 250}
	w := &world{db: testdb.New(t, prepared)}
	w.pool = w.db.Pool(t)
	end := w.replica(t, config, job)
	var id int64
	testdb.WaitFor(t, "a run", wait, func(ctx context.Context) (bool, any, error) {
		err := w.pool.QueryRow(ctx, "SELECT scheduler.run_now($1)", IngestionName).Scan(&id)
		return err == nil, err, nil
	})
	<-reached
	require.ErrorIs(t, end(), scheduler.ErrRunsLeft)
	require.Equal(t, int64(200), scalar[int64](t, w, "SELECT count(*) FROM markdown_content"), "two batches")
	require.NotEqual(t, "success", scalar[string](t, w, "SELECT status FROM scheduler.runs WHERE id = $1", id))

	w.replica(t, config, Ingestion())
	testdb.WaitFor(t, "the run's end", wait, func(ctx context.Context) (bool, any, error) {
		var status string
		err := w.pool.QueryRow(ctx, "SELECT status FROM scheduler.runs WHERE id = $1", id).Scan(&status)
		return status == "success", status, err
	})
	note := scalar[string](t, w, "SELECT targets->'main'->>'note' FROM scheduler.runs WHERE id = $1", id)
	require.Equal(t, "451 files: 450 inserted, 0 updated, 0 unchanged, 1 failed; 250 of those that were written are not listed", note)
	require.Equal(t, int64(450), scalar[int64](t, w, "SELECT rows_affected FROM scheduler.runs WHERE id = $1", id))
	require.Contains(t, scalar[string](t, w, "SELECT targets->'main/zz-last.md'->>'note' FROM scheduler.runs WHERE id = $1", id), `is taken by n-0001.md`)
	require.Equal(t, int64(450), scalar[int64](t, w, "SELECT count(*) FROM markdown_content WHERE body = 'x'"))
}

// So does one that goes on behind large files, of which fewer are read at once.
func TestIngestion_resumesBehindLargeFiles(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("text ", batchBytes/8)
	folder := files(t, map[string]string{
		"1.md": article("one", large), "2.md": article("two", large), // a batch
		"3.md": article("three", "the first"), "4.md": article("four", large), "5.md": article("five", large), // another one
		"6.md": article("three", "the second"),
	})
	options := schedulertest.Options{
		App:        Config{Sources: []Source{{Name: "main", Path: folder, SourceID: "blog", OverrideExisting: true}}},
		BatchesMax: 2,
	}
	pool := testdb.New(t, prepared).Pool(t)
	begun := schedulertest.RunOnce(t, pool, Ingestion(), options)
	require.NoError(t, begun.Err)
	require.EqualValues(t, 5, begun.RowsAffected)

	options.BatchesMax, options.Attempt, options.Cursor, options.Done = 0, 2, begun.Cursor, begun.Targets
	options.SetUpFunc = func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO markdown_content (id, slug, title, body, author, published_at, source_id, version_hash)
			VALUES ('3', 'three', 't', 'the first', 't', now(), 'blog', 'x')`)
		return err
	}
	ended := schedulertest.RunOnce(t, pool, Ingestion(), options)
	require.NoError(t, ended.Err)
	require.Equal(t, `failed: the slug "three" is taken by 3.md of the source "main"; choose another`, ended.Targets["main/6.md"].Note)
	require.EqualValues(t, 5, ended.RowsAffected)
}

func TestIngestion_tenThousandFiles(t *testing.T) {
	t.Parallel()
	contents := make(map[string]string, 10_000)
	for i := range 10_000 {
		contents[fmt.Sprintf("%02d/n-%04d.md", i%50, i)] = article(fmt.Sprintf("n-%04d", i), strings.Repeat("text ", 200))
		if i%20 == 0 {
			contents[fmt.Sprintf("%02d/n-%04d.md", i%50, i)] = "broken"
		}
	}
	folder := files(t, contents)
	w := start(t, Config{Sources: []Source{{Name: "main", Path: folder, SourceID: "blog", Recursive: true}}}, Ingestion())
	targets := succeeds(t, w.run(t, IngestionName, nil, false), 9500)
	require.Contains(t, targets["main"].Note, "10000 files: 9500 inserted, 0 updated, 0 unchanged, 500 failed; 300 of those that failed are not listed here, but in the log")
	require.Len(t, targets, 401)

	before := scalar[string](t, w, "SELECT md5(string_agg(slug || xmin || ctid, ' ' ORDER BY slug)) FROM markdown_content")
	begin := time.Now()
	targets = succeeds(t, w.run(t, IngestionName, nil, false), 0)
	t.Logf("10,000 files, of which none has changed, took %v", time.Since(begin))
	require.Contains(t, targets["main"].Note, "9500 unchanged, 500 failed")
	require.Equal(t, before, scalar[string](t, w, "SELECT md5(string_agg(slug || xmin || ctid, ' ' ORDER BY slug)) FROM markdown_content"))
}
