package retention_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/systempromptio/scheduler/integration/testdb"
)

func TestMain(m *testing.M) {
	code := testdb.MainForExamples(m, testdb.Migrated(`
		CREATE TABLE invoices (id bigint PRIMARY KEY, paid_at timestamptz);
		CREATE TABLE lines (invoice_id bigint REFERENCES invoices ON DELETE CASCADE, text text);
		CREATE TABLE payments (id bigint PRIMARY KEY, invoice_id bigint);
		INSERT INTO invoices SELECT n, now() - interval '2 years' FROM generate_series(1, 5) n;
		INSERT INTO payments VALUES (1, 3)`))
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
