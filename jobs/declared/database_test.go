package declared_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/systempromptio/scheduler/integration/testdb"
)

func TestMain(m *testing.M) {
	code := testdb.MainForExamples(m, testdb.Migrated(`
		CREATE TABLE tickets (id bigint PRIMARY KEY, state text, touched_at timestamptz);
		INSERT INTO tickets VALUES (1, 'open', now() - interval '10 days'), (2, 'open', now()), (3, 'closed', now() - interval '10 days');
		CREATE TABLE events (at timestamptz NOT NULL) PARTITION BY RANGE (at)`))
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
