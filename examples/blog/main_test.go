package blog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql/platform"
)

func TestMain(m *testing.M) { os.Exit(testdb.Main(m)) }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// wait is for a machine with other things to do.
const wait = 3 * time.Minute

// prepared is a database with the scheduler's schema and the platform's tables.
var prepared = testdb.Template("prepared", func(ctx context.Context, url string) error {
	if _, err := scheduler.MigrateUp(ctx, scheduler.MigrateConfig{DatabaseURL: url, Logger: discard()}); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return platform.Create(ctx, conn)
})

// world is a database with a replica that works the jobs of this package.
type world struct {
	db     *testdb.DB
	pool   *pgxpool.Pool
	client *scheduler.Client
}

// start starts a replica with the jobs, none of which is scheduled, and ends it with the
// test.
func start(t *testing.T, config Config, list ...jobs.Job) *world {
	t.Helper()
	db := testdb.New(t, prepared)
	w := &world{db: db, pool: db.Pool(t)}
	w.replica(t, config, list...)
	client, err := scheduler.NewClient(t.Context(), db.URL, "")
	require.NoError(t, err)
	t.Cleanup(client.Close)
	w.client = client
	return w
}

// replica starts a replica and returns what ends it, at once, without time for its runs.
func (w *world) replica(t *testing.T, config Config, list ...jobs.Job) (end func() error) {
	t.Helper()
	registry := &jobs.Registry{}
	require.NoError(t, registry.Add(list...))
	configs := make([]scheduler.JobConfig, 0, len(list))
	for _, job := range list {
		configs = append(configs, scheduler.JobConfig{Name: job.Definition().Name, Schedule: "0 0 1 1 *"})
	}
	s, err := scheduler.New(scheduler.Config{
		DatabaseURL: w.db.URL, Registry: registry, Jobs: configs, App: jobs.Provide(config), BootstrapJobs: []string{}, ShutdownTimeout: time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	end = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := end(); !errors.Is(err, scheduler.ErrRunsLeft) { // which the test has asked about
			require.NoError(t, err)
		}
	})
	return end
}

// run runs a job and returns its run, which has ended.
func (w *world) run(t *testing.T, name string, parameters map[string]any, dryRun bool) scheduler.Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	// The job is there when a leader has written it down.
	testdb.WaitFor(t, "the job", wait, func(ctx context.Context) (bool, any, error) {
		var n int
		err := w.pool.QueryRow(ctx, "SELECT count(*) FROM scheduler.jobs WHERE job_name = $1", name).Scan(&n)
		return n == 1, n, err
	})
	id, err := w.client.RunNow(ctx, name, parameters, &dryRun)
	require.NoError(t, err)
	run, err := w.client.Wait(ctx, id, nil)
	require.NoError(t, err)
	return run
}

func targetsOf(t *testing.T, run scheduler.Run) jobs.Targets {
	t.Helper()
	var targets jobs.Targets
	require.NoError(t, json.Unmarshal(run.Targets, &targets))
	return targets
}

// succeeds expects that a run succeeded, and returns its targets.
func succeeds(t *testing.T, run scheduler.Run, rows int64) jobs.Targets {
	t.Helper()
	require.Equal(t, jobs.StatusSuccess, run.Status, "%v", run.Error)
	require.NotNil(t, run.RowsAffected)
	require.Equal(t, rows, *run.RowsAffected)
	return targetsOf(t, run)
}

// scalar reads one value.
func scalar[T any](t *testing.T, w *world, query string, args ...any) T {
	t.Helper()
	rows, err := w.pool.Query(t.Context(), query, args...)
	require.NoError(t, err)
	value, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	require.NoError(t, err)
	return value
}
