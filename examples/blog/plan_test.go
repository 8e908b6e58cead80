package blog

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
)

// The statements reach their rows by an index, however many others there are.
func TestPlans(t *testing.T) {
	t.Parallel()
	conn := testdb.New(t, prepared).Conn(t)
	_, err := conn.Exec(t.Context(), `INSERT INTO markdown_content (id, slug, title, body, author, published_at, source_id, version_hash)
			SELECT n, 'n-' || n, 't', 'b', 'a', now(), 'blog', 'x' FROM generate_series(1, 200000) n;
		ANALYZE markdown_content`)
	require.NoError(t, err)
	slugs := make([]string, 0, batchFiles)
	for _, doc := range documents(batchFiles) {
		slugs = append(slugs, doc.slug)
	}
	var plan []struct {
		Plan struct {
			NodeType string `json:"Node Type"`
			Index    string `json:"Index Name"`
			Hit      int64  `json:"Shared Hit Blocks"`
			Read     int64  `json:"Shared Read Blocks"`
		} `json:"Plan"`
	}
	var text []byte
	require.NoError(t, conn.QueryRow(t.Context(), "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "+existingSQL, pgx.NamedArgs{"slugs": slugs}).Scan(&text))
	require.NoError(t, json.Unmarshal(text, &plan))
	require.Contains(t, plan[0].Plan.NodeType, "Index", "%s", text)
	require.Equal(t, "markdown_content_slug_key", plan[0].Plan.Index)
	require.Less(t, plan[0].Plan.Hit+plan[0].Plan.Read, int64(1000))

	// What is written is found by the index, too: the statement never goes through the table.
	scans := int64(-1)
	require.NoError(t, pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		statement, err := writeStatement(t.Context(), tx)
		require.NoError(t, err)
		written, err := write(t.Context(), tx, statement, Source{SourceID: "blog", OverrideExisting: true}, documents(batchFiles))
		require.NoError(t, err)
		require.Len(t, written, batchFiles)
		return tx.QueryRow(t.Context(), "SELECT pg_stat_get_xact_numscans('markdown_content'::regclass)").Scan(&scans)
	}))
	require.Zero(t, scans)
}

// documents are documents whose slugs are in the table.
func documents(n int) []*document {
	docs := make([]*document, 0, n)
	for i := range n {
		doc := &document{slug: fmt.Sprintf("n-%d", 1+i*1999), title: "new", author: "a", kind: "article"}
		doc.hash = doc.versionHash()
		docs = append(docs, doc)
	}
	return docs
}
