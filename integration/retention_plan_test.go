package integration

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
)

// explainingTx runs each statement of a batch under EXPLAIN ANALYZE first, in the same
// transaction with the same values and settings, and takes that back.
type explainingTx struct {
	pgx.Tx

	seen *[]explained
}

type explained struct {
	statement string
	nodes     []planNode
}

type planNode struct {
	Type     string     `json:"Node Type"`
	Relation string     `json:"Relation Name"`
	Index    string     `json:"Index Name"`
	Rows     float64    `json:"Actual Rows"`
	Removed  float64    `json:"Rows Removed by Filter"`
	Loops    float64    `json:"Actual Loops"`
	Plans    []planNode `json:"Plans"`
}

// flat lists a node and all below it.
func (n planNode) flat() []planNode {
	nodes := []planNode{n}
	for _, below := range n.Plans {
		nodes = append(nodes, below.flat()...)
	}
	return nodes
}

func (x explainingTx) Begin(ctx context.Context) (pgx.Tx, error) {
	tx, err := x.Tx.Begin(ctx)
	return explainingTx{Tx: tx, seen: x.seen}, err
}

func (x explainingTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := x.explain(ctx, sql, args); err != nil {
		return pgconn.CommandTag{}, err
	}
	return x.Tx.Exec(ctx, sql, args...)
}

func (x explainingTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := x.explain(ctx, sql, args); err != nil {
		return nil, err
	}
	return x.Tx.Query(ctx, sql, args...) //nolint:rowserrcheck // the rows are the caller's
}

func (x explainingTx) explain(ctx context.Context, sql string, args []any) error {
	var plans []struct {
		Plan planNode `json:"Plan"`
	}
	savepoint, err := x.Tx.Begin(ctx)
	if err != nil {
		return err
	}
	var text []byte
	if err := savepoint.QueryRow(ctx, "EXPLAIN (ANALYZE, FORMAT JSON) "+sql, args...).Scan(&text); err != nil {
		return err
	}
	if err := json.Unmarshal(text, &plans); err != nil {
		return err
	}
	*x.seen = append(*x.seen, explained{statement: sql, nodes: plans[0].Plan.flat()})
	return savepoint.Rollback(ctx)
}

// Tables of 100,000 rows and more, of which each job has to change 2,000 or so.
const bigTables = `
INSERT INTO users (id, name, email) SELECT 'u' || n, 'u' || n, n || '@e' FROM generate_series(1, 100000) n;
INSERT INTO user_contexts (context_id, user_id, name, created_at)
SELECT 'c' || n, 'u' || n % 100000 + 1, 'x', now() - interval '3 days' FROM generate_series(1, 110000) n;
INSERT INTO agent_tasks (task_id, context_id, status) SELECT 't' || n, 'c' || n, 'done' FROM generate_series(1, 109000) n;
INSERT INTO task_messages (task_id, message_id, role, context_id, sequence_number)
SELECT 't' || n % 108000 + 1, 'm' || n, 'user', CASE WHEN n % 2 = 0 THEN 'c' || n % 108000 + 1 END, 1 FROM generate_series(1, 220000) n;
INSERT INTO mcp_tool_executions (mcp_execution_id, tool_name, server_name, started_at, input, status, user_id, context_id)
SELECT 'e' || n, 't', 's', now(), '', 'ok', 'u1', CASE WHEN n <= 100000 THEN 'c' || n ELSE 'none' || n END FROM generate_series(1, 102000) n;
INSERT INTO governance_decisions (id, context_id) SELECT 'g' || n, 'c' || n FROM generate_series(1, 100000) n;
INSERT INTO logs (id, "timestamp", level, module, message, user_id)
SELECT 'l' || n, now() - CASE WHEN n <= 2000 THEN interval '40 days' ELSE interval '1 day' END, 'INFO', 'm', 'x',
       CASE WHEN n > 102000 THEN 'none' ELSE 'u' || n % 100000 + 1 END
FROM generate_series(1, 104000) n;
INSERT INTO oauth_clients (client_id) VALUES ('c');
INSERT INTO oauth_refresh_tokens (token_id, client_id, user_id, expires_at, family_id)
SELECT 'r' || n, 'c', 'u' || n % 100000 + 1, now() + CASE WHEN n <= 2000 THEN interval '-1 day' ELSE '1 day' END, 'f' FROM generate_series(1, 102000) n;
INSERT INTO oauth_auth_codes (code, client_id, user_id, expires_at, refresh_token_id)
SELECT 'a' || n, 'c', 'u' || n % 100000 + 1, now() + CASE WHEN n <= 2000 THEN interval '-1 day' ELSE '1 day' END, 'r' || n FROM generate_series(1, 102000) n;
INSERT INTO user_sessions (session_id, user_id, last_activity_at)
SELECT 's' || n, 'u' || n % 100000 + 1, now() - CASE WHEN n <= 2000 THEN interval '1 day' ELSE '0' END FROM generate_series(1, 100000) n;
`

// After the pass, a batch looks at its own rows and at what belongs to them, in tables
// of any size.
func TestCleanupBatchesReadNoTableFromEndToEnd(t *testing.T) {
	t.Parallel()
	c := newCleaning(t, platformTables)
	c.exec(t, bigTables)
	c.exec(t, "VACUUM ANALYZE")
	const rowsMax = 400
	for _, job := range platformJobs() {
		r := c.newRun(t, small(t, job, rowsMax), nil)
		batches, err := r.start(t.Context())
		require.NoError(t, err)
		statements := 0
		for done := false; !done; {
			require.NoError(t, batches.(jobs.Preparer).Prepare(t.Context()))
			var seen []explained
			done, err = r.nextPrepared(t.Context(), explaining{batches, &seen}, nil)
			require.NoError(t, err)
			for _, e := range seen {
				requireSmall(t, e, rowsMax)
			}
			statements += len(seen)
		}
		worked := 0
		for _, target := range r.targets {
			worked += int(target.Batches)
		}
		require.Positive(t, worked)
		require.GreaterOrEqual(t, statements, worked, "each batch changes something")
		for target, rows := range rowsOf(r.targets) {
			if target != "state_bindings" && target != "jti_revocations" && target != "id_jag_replays" {
				require.Equal(t, int64(2000), rows, target)
			}
		}
	}
}

// requireSmall: a statement reads no table from end to end, and not more rows than a
// few for each of the batch.
func requireSmall(t *testing.T, e explained, rowsMax float64) {
	t.Helper()
	for _, node := range e.nodes {
		read := (node.Rows + node.Removed) * node.Loops
		if node.Relation != "retention_candidates" { // a row for a thousand candidates
			require.NotEqual(t, "Seq Scan", node.Type, "%s in\n%s", node.Relation, e.statement)
		}
		require.LessOrEqual(t, read, 5*rowsMax, "%s on %s %s in\n%s", node.Type, node.Relation, node.Index, e.statement)
	}
}

// explaining are batches whose statements are explained.
type explaining struct {
	jobs.Batches

	seen *[]explained
}

func (x explaining) Next(ctx context.Context, batch *jobs.Batch) (bool, error) {
	explained := *batch
	explained.Tx = explainingTx{Tx: batch.Tx, seen: x.seen}
	done, err := x.Batches.Next(ctx, &explained)
	explained.Tx = batch.Tx
	*batch = explained
	return done, err
}
