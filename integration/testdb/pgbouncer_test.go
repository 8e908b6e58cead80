package testdb

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestPgBouncer(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"session", "transaction"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			db := New(t, Template("items", createTable))
			url := PgBouncer(t, db, mode)

			// Two clients that take turns: with a transaction pooler both get the one
			// server session that there is.
			var pids [2]int
			for i := range pids {
				config, err := pgx.ParseConfig(url)
				require.NoError(t, err)
				config.DefaultQueryExecMode = pgx.QueryExecModeExec
				conn, err := pgx.ConnectConfig(t.Context(), config)
				require.NoError(t, err)
				defer conn.Close(t.Context())
				require.NoError(t, conn.QueryRow(t.Context(), "SELECT pg_backend_pid() FROM (SELECT count(*) FROM item) AS item").Scan(&pids[i]))
			}
			require.Equal(t, mode == "transaction", pids[0] == pids[1], pids)
		})
	}
}

func TestPgBouncer_onAServerOfItsOwn(t *testing.T) {
	t.Parallel()
	primary, _ := Standby(t)
	db := New(t, On(primary))
	url := PgBouncer(t, db, "session")
	require.NoError(t, ping(t.Context(), url))
}

func TestPgBouncer_thatCannotStart(t *testing.T) {
	t.Parallel()
	db := New(t)
	r := record(t, func(t testing.TB) { PgBouncer(t, db, "no_such_mode") })
	require.Contains(t, r.String(), "testdb: start PgBouncer: ")
	require.Contains(t, r.String(), "pool_mode")
}
