package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/sql"
)

// newRepository is a repository on a pool of a database.
func newRepository(t *testing.T, db scheduler.Querier) *scheduler.Repository {
	t.Helper()
	repository, err := scheduler.NewRepository(db, "")
	require.NoError(t, err)
	return repository
}

func TestNewRepositoryRefuses(t *testing.T) {
	t.Parallel()
	_, err := scheduler.NewRepository(nil, "")
	require.ErrorIs(t, err, scheduler.ErrBadArgument)
	_, err = scheduler.NewRepository(testdb.New(t).Pool(t), "public")
	require.ErrorContains(t, err, `schema "public"`)
}

// addContent adds content; an empty image or status is null.
func addContent(t *testing.T, db *testdb.DB, id, image, status, publishedAt string) {
	t.Helper()
	exec1(t, db, `INSERT INTO markdown_content (id, slug, title, body, author, published_at, image, image_optimization_status, source_id, version_hash, updated_at)
		VALUES ($1, $1, 'x', 'x', 'x', $4::text::timestamptz, $2, nullif($3, ''), 's', 'h', '2020-01-01')`, id, image, status, publishedAt)
}

func idsOf(images []scheduler.PendingImage) []string {
	ids := make([]string, 0, len(images))
	for _, image := range images {
		ids = append(ids, image.ID)
	}
	return ids
}

func TestImagesPending(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformTables)
	images := newRepository(t, db.Pool(t)).Images
	none, err := images.Pending(t.Context(), 10)
	require.NoError(t, err)
	require.Empty(t, none)

	addContent(t, db, "old", "/a.png", "", "2024-01-01")
	addContent(t, db, "tie-a", "/b.png", "failed", "2025-01-01")
	addContent(t, db, "tie-b", "/c.png", "", "2025-01-01")
	addContent(t, db, "newest", "/d.png", "pending", "2026-01-01")
	addContent(t, db, "future", "/é ñ.png", "", "9999-12-31 23:59:59.999999+00")
	addContent(t, db, "first", "/f.png", "", "0001-01-01 00:00:00+00")
	// None of these is pending, or has a place in the order.
	addContent(t, db, "done", "/e.webp", "optimized", "2026-02-01")
	addContent(t, db, "blank", "", "", "2026-02-01")
	addContent(t, db, "infinite", "/g.png", "", "infinity")
	addContent(t, db, "minus", "/h.png", "", "-infinity")
	addContent(t, db, "far", "/i.png", "", "20000-01-01")
	addContent(t, db, "before", "/j.png", "", "0044-03-15 BC")
	exec1(t, db, "INSERT INTO markdown_content (id, slug, title, body, author, published_at, source_id, version_hash) VALUES ('null', 'null', 'x', 'x', 'x', now(), 's', 'h')")

	want := []string{"future", "newest", "tie-b", "tie-a", "old", "first"}
	all, err := images.Pending(t.Context(), scheduler.PendingImagesMax)
	require.NoError(t, err)
	require.Equal(t, want, idsOf(all))
	require.Equal(t, "/é ñ.png", all[0].Image)
	require.Nil(t, all[0].ImageOptimizationStatus)
	require.Equal(t, "failed", *all[3].ImageOptimizationStatus)
	count, err := images.CountPending(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, len(want), count)

	// One after the other gives the same, also within a tie.
	var walked []scheduler.PendingImage
	page, err := images.Pending(t.Context(), 1)
	for ; err == nil && len(page) > 0; page, err = images.PendingAfter(t.Context(), page[0], 1) {
		walked = append(walked, page...)
	}
	require.NoError(t, err)
	require.Equal(t, want, idsOf(walked))

	for _, n := range []int{0, -1, scheduler.PendingImagesMax + 1} {
		_, err := images.Pending(t.Context(), n)
		require.ErrorIs(t, err, scheduler.ErrBadArgument, n)
	}
}

func TestImagesRecordOptimized(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformTables)
	images := newRepository(t, db.Pool(t)).Images
	addContent(t, db, "a", "/a.png", "", "2024-01-01")
	addContent(t, db, "b", "/b.png", "", "2024-01-01")
	state := func(id string) string {
		return scalar[string](t, db, `SELECT format('%s %s %s', image, image_optimization_status, updated_at > now() - interval '1 minute') FROM markdown_content WHERE id = $1`, id)
	}

	require.NoError(t, images.RecordOptimized(t.Context(), "a", "/a.webp"))
	require.Equal(t, "/a.webp optimized t", state("a"))
	require.Equal(t, "/b.png  f", state("b"))
	require.NoError(t, images.RecordOptimized(t.Context(), "a", "/a.webp"), "twice is no harm")

	for _, id := range []string{"c", "", "nul\x00", "\xff", "'; DROP TABLE markdown_content; --"} {
		err := images.RecordOptimized(t.Context(), id, "/c.webp")
		require.ErrorIs(t, err, scheduler.ErrContentNotFound)
		require.ErrorContains(t, err, fmt.Sprintf("content %q", id))
	}
	for _, image := range []string{"", "nul\x00", "\xff"} {
		require.ErrorIs(t, images.RecordOptimized(t.Context(), "b", image), scheduler.ErrBadArgument)
	}
	require.Equal(t, "/b.png  f", state("b"))

	// Another image was set while the former one was converted.
	pending, err := images.Pending(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, []string{"b"}, idsOf(pending))
	exec1(t, db, "UPDATE markdown_content SET image = '/other.png' WHERE id = 'b'")
	require.ErrorIs(t, images.RecordOptimizedOf(t.Context(), pending[0], "/b.webp"), scheduler.ErrImageChanged)
	require.Equal(t, "/other.png  f", state("b"))
	pending, err = images.Pending(t.Context(), 1)
	require.NoError(t, err)
	require.NoError(t, images.RecordOptimizedOf(t.Context(), pending[0], "/other.webp"))
	require.Equal(t, "/other.webp optimized t", state("b"))
	exec1(t, db, "DELETE FROM markdown_content WHERE id = 'b'")
	require.ErrorIs(t, images.RecordOptimizedOf(t.Context(), pending[0], "/other.webp"), scheduler.ErrContentNotFound)
}

// What is recorded in a transaction is only there if that commits.
func TestImagesInATransaction(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformTables)
	addContent(t, db, "a", "/a.png", "", "2024-01-01")
	tx, err := db.Conn(t).Begin(t.Context())
	require.NoError(t, err)
	images := newRepository(t, tx).Images
	require.NoError(t, images.RecordOptimized(t.Context(), "a", "/a.webp"))
	count, err := images.CountPending(t.Context())
	require.NoError(t, err)
	require.Zero(t, count)
	require.NoError(t, tx.Rollback(t.Context()))
	require.Equal(t, "/a.png", scalar[string](t, db, "SELECT image FROM markdown_content"))
}

func TestImagesOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T, statements string) scheduler.Images {
		t.Helper()
		db := testdb.New(t, platformTables)
		addContent(t, db, "a", "/a.png", "", "2024-01-01")
		exec1(t, db, statements)
		return newRepository(t, db.Pool(t)).Images
	}
	t.Run("no table", func(t *testing.T) {
		t.Parallel()
		images := setup(t, "DROP TABLE markdown_content")
		_, pending := images.Pending(t.Context(), 1)
		_, counted := images.CountPending(t.Context())
		recorded := images.RecordOptimized(t.Context(), "a", "/a.webp")
		for _, err := range []error{pending, counted, recorded} {
			require.ErrorIs(t, err, scheduler.ErrTableAbsent)
			var absent *scheduler.TableError
			require.ErrorAs(t, err, &absent)
			require.Equal(t, "markdown_content", absent.Table)
			require.Empty(t, absent.Column)
			require.ErrorContains(t, err, `table "markdown_content" is absent`)
		}
	})
	t.Run("no column", func(t *testing.T) {
		t.Parallel()
		images := setup(t, "ALTER TABLE markdown_content DROP COLUMN image_optimization_status")
		_, pending := images.Pending(t.Context(), 1)
		_, counted := images.CountPending(t.Context())
		recorded := images.RecordOptimized(t.Context(), "a", "/a.webp")
		for _, err := range []error{pending, counted, recorded} {
			require.ErrorIs(t, err, scheduler.ErrColumnAbsent)
			require.NotErrorIs(t, err, scheduler.ErrTableAbsent)
			var absent *scheduler.TableError
			require.ErrorAs(t, err, &absent)
			require.Equal(t, "image_optimization_status", absent.Column)
		}
	})
	t.Run("a trigger's table is not ours", func(t *testing.T) {
		t.Parallel()
		images := setup(t, `CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM no_such_table; RETURN NEW; END';
			CREATE TRIGGER broken BEFORE UPDATE ON markdown_content FOR EACH ROW EXECUTE FUNCTION broken()`)
		err := images.RecordOptimized(t.Context(), "a", "/a.webp")
		var server *pgconn.PgError
		require.ErrorAs(t, err, &server)
		require.Equal(t, "42P01", server.Code)
		require.NotErrorIs(t, err, scheduler.ErrTableAbsent)
	})
	t.Run("no privilege", func(t *testing.T) {
		t.Parallel()
		db := testdb.New(t, platformTables)
		conn := db.Conn(t)
		exec1(t, db, "DO $$ BEGIN CREATE ROLE nobody_of_images; EXCEPTION WHEN duplicate_object THEN END $$")
		_, err := conn.Exec(t.Context(), "SET ROLE nobody_of_images")
		require.NoError(t, err)
		_, err = newRepository(t, conn).Images.Pending(t.Context(), 1)
		require.ErrorIs(t, err, scheduler.ErrPrivilege)
		require.ErrorContains(t, err, "GRANT SELECT ON markdown_content")
	})
}

// read adds up the rows that the nodes on a table of a plan have read, and refuses a scan
// from end to end.
func read(t *testing.T, conn *pgx.Conn, table, statement string, args pgx.NamedArgs) float64 {
	t.Helper()
	total := 0.0
	require.NoError(t, pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
		var seen []explained
		rows, err := explainingTx{Tx: tx, seen: &seen}.Query(t.Context(), statement, args)
		if err != nil {
			return err
		}
		rows.Close()
		for _, e := range seen {
			for _, node := range e.nodes {
				if node.Relation == table {
					require.NotEqual(t, "Seq Scan", node.Type, e.statement)
					total += (node.Rows + node.Removed) * node.Loops
				}
			}
		}
		return rows.Err()
	}))
	return total
}

// A page of the pending images costs what it shows, however far down it is.
func TestImagesPlan(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformTables)
	exec1(t, db, `INSERT INTO markdown_content (id, slug, title, body, author, published_at, image, image_optimization_status, source_id, version_hash)
		SELECT 'c' || n, 's' || n, 't', 'b', 'a', '2020-01-01'::timestamptz + n * interval '1 minute', '/i' || n, CASE WHEN n % 3 = 0 THEN 'optimized' END, 's', 'h' FROM generate_series(1, 200000) n`)
	exec1(t, db, "VACUUM ANALYZE markdown_content")
	statements := sql.For(scheduler.SchemaDefault)
	conn := db.Conn(t)
	for _, before := range []time.Time{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC)} {
		n := read(t, conn, "markdown_content", statements.Text("pending_images"), pgx.NamedArgs{"before": before, "before_id": "", "max": 100})
		require.Positive(t, n)
		require.LessOrEqual(t, n, 300.0, before)
	}
	for _, name := range []string{"record_optimized_image", "has_content"} {
		n := read(t, conn, "markdown_content", statements.Text(name), pgx.NamedArgs{"id": "c4711", "image": "/new", "was": nil})
		require.LessOrEqual(t, n, 2.0, name)
	}
}
