package integration

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/declared"
	"github.com/systempromptio/scheduler/schedulertest"
)

// Declared jobs stand what every job must.
func TestContractOfDeclaredJobs(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(server.Close)
	definition := jobs.Definition{Name: "nightly", Schedule: "@daily"}
	for name, makeJob := range map[string]func() (jobs.Job, error){
		"sql": func() (jobs.Job, error) {
			return declared.SQL(declared.SQLConfig{Definition: definition, Statements: []declared.Statement{
				{Text: "DELETE FROM carts WHERE at < @now - interval '1 day'"}, {Text: "UPDATE carts SET seen = true WHERE NOT seen"},
			}})
		},
		"http": func() (jobs.Job, error) {
			return declared.HTTP(declared.HTTPConfig{Definition: definition, URL: server.URL})
		},
		"exec": func() (jobs.Job, error) {
			return declared.Exec(declared.ExecConfig{Definition: definition, Command: []string{"/bin/sh", "-c", "echo done"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job, err := makeJob()
			require.NoError(t, err)
			schedulertest.Contract(t, testdb.New(t, migrated).Pool(t), job, schedulertest.ContractOptions{
				NoRows: name != "sql",
				Options: schedulertest.Options{SetUpFunc: func(ctx context.Context, tx pgx.Tx) error {
					_, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS carts (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL, seen boolean NOT NULL DEFAULT false);
						INSERT INTO carts (at) SELECT now() - i * interval '1 hour' FROM generate_series(1, 100) i`)
					return err
				}},
			})
		})
	}
}
