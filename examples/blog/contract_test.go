package blog

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/schedulertest"
)

func TestIngestion_contract(t *testing.T) {
	t.Parallel()
	contents := map[string]string{"zz-bad.md": "bad", "zz-same.md": article("n-000", "again")}
	for i := range 250 {
		contents[fmt.Sprintf("n-%03d.md", i)] = article(fmt.Sprintf("n-%03d", i), "text")
	}
	config := Config{Sources: []Source{
		{Name: "first", Path: files(t, contents), SourceID: "blog", OverrideExisting: true},
		{Name: "second", Path: files(t, map[string]string{"a.md": article("a", "")}), SourceID: "other"},
	}}
	require.NoError(t, config.Check())
	schedulertest.Contract(t, testdb.New(t, prepared).Pool(t), Ingestion(), schedulertest.ContractOptions{
		Options:       schedulertest.Options{App: config},
		Tables:        []string{"public.markdown_content"},
		IgnoreColumns: []string{"id", "updated_at"},
	})
}

func TestOptimization_contract(t *testing.T) {
	t.Parallel()
	contents := map[string]string{"bad.png": "no image"}
	for i := range 4 {
		contents[fmt.Sprintf("%d.png", i)] = string(pngOf(t, photo(50+i, 50)))
	}
	config := Config{Images: Images{Folder: files(t, contents), Address: "/images/"}}
	schedulertest.Contract(t, testdb.New(t, prepared).Pool(t), Optimization(), schedulertest.ContractOptions{
		Options: schedulertest.Options{App: config, SetUpFunc: func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO markdown_content (id, slug, title, body, author, published_at, source_id, version_hash, image)
				SELECT slug || '-id', slug, '', '', '', now() - n * interval '1 day', 'blog', '', '/images/' || slug || '.png'
				FROM unnest(ARRAY['0', 'gone', '1', 'bad', '2', '3']) WITH ORDINALITY AS list (slug, n)`)
			return err
		}},
		Tables:        []string{"public.markdown_content"},
		IgnoreColumns: []string{"updated_at"},
	})
}
