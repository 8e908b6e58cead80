package retention_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
)

func TestMain(m *testing.M) {
	code := testdb.MainForExamples(m, prepareExamples)
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// prepareExamples makes the scheduler's schema and the tables of the examples.
func prepareExamples(ctx context.Context, url string) (func() error, error) {
	if _, err := scheduler.MigrateUp(ctx, scheduler.MigrateConfig{DatabaseURL: url}); err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	_, err = conn.Exec(ctx, `
		CREATE TABLE invoices (id bigint PRIMARY KEY, paid_at timestamptz);
		CREATE TABLE lines (invoice_id bigint REFERENCES invoices ON DELETE CASCADE, text text);
		CREATE TABLE payments (id bigint PRIMARY KEY, invoice_id bigint);
		INSERT INTO invoices SELECT n, now() - interval '2 years' FROM generate_series(1, 5) n;
		INSERT INTO payments VALUES (1, 3)`)
	return nil, errors.Join(err, conn.Close(ctx))
}
