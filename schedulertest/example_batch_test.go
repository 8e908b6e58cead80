package schedulertest_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/schedulertest"
)

// In a package of yours: a job that normalizes addresses, a thousand rows at a time.
type normalizeEmails struct{}

func (normalizeEmails) Definition() jobs.Definition {
	return jobs.Definition{Name: "normalize_emails", Schedule: "30 2 * * *"}
}

// Start begins an attempt, or goes on after the last batch that was committed.
func (normalizeEmails) Start(_ context.Context, run *jobs.Run) (jobs.Batches, error) {
	n := &normalizing{}
	if run.Cursor != nil {
		if err := json.Unmarshal(run.Cursor, &n.after); err != nil {
			return nil, err
		}
	}
	return n, nil
}

type normalizing struct{ after int64 }

// Next does the next thousand rows. What it changes and what it notes commit together.
func (n *normalizing) Next(ctx context.Context, batch *jobs.Batch) (done bool, err error) {
	var last *int64
	var changed int64
	err = batch.Tx.QueryRow(ctx, `
		WITH page AS (SELECT id, email FROM contacts WHERE id > $1 ORDER BY id LIMIT 1000),
		changed AS (
			UPDATE contacts c SET email = lower(c.email) FROM page p
			WHERE c.id = p.id AND c.email <> lower(c.email) RETURNING 1
		)
		SELECT (SELECT max(id) FROM page), (SELECT count(*) FROM changed)`, n.after).Scan(&last, &changed)
	if err != nil || last == nil {
		return err == nil, err
	}
	batch.Targets["contacts"] = jobs.Target{Rows: changed}
	n.after, batch.Cursor = *last, *last
	return false, nil
}

// End of the example in docs/jobs.md.

// A job in batches must also stand that each batch is another replica's.
func ExampleContract_batches() {
	test = func(t *testing.T, pool *pgxpool.Pool) {
		t.Helper()
		schedulertest.Contract(t, pool, normalizeEmails{}, schedulertest.ContractOptions{
			Options: schedulertest.Options{SetUpFunc: func(ctx context.Context, tx pgx.Tx) error {
				_, err := tx.Exec(ctx, `
					CREATE TABLE contacts (id bigint PRIMARY KEY, email text);
					INSERT INTO contacts SELECT n, CASE n % 3 WHEN 0 THEN 'Someone' ELSE 'someone' END || n FROM generate_series(1, 2500) n`)
				return err
			}},
		})
	}
	// Output:
}

// TestDocsHaveTheExample keeps the code in docs/jobs.md the code that is run here.
func TestDocsHaveTheExample(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("example_batch_test.go")
	require.NoError(t, err)
	_, code, found := strings.Cut(string(source), "// In a package of yours:")
	code, _, ended := strings.Cut(code, "\n// End of the example")
	require.True(t, found && ended)
	docs, err := os.ReadFile("../docs/jobs.md")
	require.NoError(t, err)
	require.Contains(t, string(docs), "// In a package of yours:"+strings.TrimRight(code, "\n"), "docs/jobs.md has the example of example_batch_test.go")
}
