package testdb_test

import (
	"context"
	"testing"
	"time"

	"github.com/systempromptio/scheduler/integration/testdb"
)

// A test that waits for something in its own database. In a package of tests,
// TestMain is: os.Exit(testdb.Main(m)).
func Example() {
	migrate := func(ctx context.Context, url string) error { return nil }

	_ = func(t *testing.T) {
		t.Parallel()
		pool := testdb.New(t, testdb.Template("migrated", migrate)).Pool(t)

		testdb.WaitFor(t, "one run", 10*time.Second, func(ctx context.Context) (bool, any, error) {
			var runs int
			err := pool.QueryRow(ctx, "SELECT count(*) FROM job_runs").Scan(&runs)
			return runs == 1, runs, err
		})
	}
}
