package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// shopPool is the pool of an application that has a scheduler in it.
func shopPool(t *testing.T, db *testdb.DB, change func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(testdb.ServeURL(db.URL))
	require.NoError(t, err)
	config.MaxConns = 7
	config.ConnConfig.RuntimeParams["application_name"] = "shop"
	if change != nil {
		change(config)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// embed runs a scheduler until the returned function is called or the test ends.
func embed(t *testing.T, config scheduler.Config) (s *scheduler.Scheduler, stop func()) {
	t.Helper()
	if config.Registry == nil {
		config.Registry = testRegistry()
	}
	if config.Logger == nil {
		config.Logger = discard()
	}
	if config.MaxWorkers == 0 {
		config.MaxWorkers = 3
	}
	config.ShutdownTimeout = 2 * time.Second
	s, err := scheduler.New(config)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, scheduler.ErrRunsLeft) {
			t.Errorf("the scheduler ended with: %v", err)
		}
	})
	t.Cleanup(stop)
	return s, stop
}

// ready waits until a scheduler leads, and gives its client.
func ready(t *testing.T, s *scheduler.Scheduler) *scheduler.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitRun)
	defer cancel()
	client, err := s.Client(ctx)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	testdb.WaitFor(t, "somebody leads", waitRun, func(ctx context.Context) (bool, any, error) {
		err := client.Ready(ctx)
		list, listErr := client.Jobs(ctx)
		return err == nil && len(list) > 0, err, listErr
	})
	return client
}

// runAndWait asks for a run and waits for its end.
func runAndWait(t *testing.T, client *scheduler.Client, name string) scheduler.Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*waitRun)
	defer cancel()
	id, err := client.RunNow(ctx, name, nil, nil)
	require.NoError(t, err)
	run, err := client.Wait(ctx, id, nil)
	require.NoError(t, err)
	return run
}

func TestRunsWorkOnTheApplicationsPool(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	var mu sync.Mutex
	made := make(map[uint32]bool) // the connections that the pool has made
	pool := shopPool(t, db, func(c *pgxpool.Config) {
		c.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
			mu.Lock()
			defer mu.Unlock()
			made[conn.PgConn().PID()] = true
			return nil
		}
	})
	begun, goOn := make(chan uint32), make(chan struct{})
	registry := only(t, "bill", 1, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		begun <- run.Tx.Conn().PgConn().PID()
		select {
		case <-goOn:
		case <-ctx.Done():
		}
		_, err := hit(ctx, run)
		return jobs.Result{}, err
	})
	s, stop := embed(t, scheduler.Config{Pool: pool, Registry: registry, ReplicaID: "till"})
	client := ready(t, s)
	id, err := client.RunNow(t.Context(), "bill", nil, nil)
	require.NoError(t, err)
	pid := <-begun
	mu.Lock()
	require.True(t, made[pid], "the run's connection is one of the pool's")
	mu.Unlock()
	// A transaction of a run is known by its name, for the leader that has to end it if
	// the replica is gone; everything else of the pool is the application's.
	require.Equal(t, "scheduler worker till", scalar[string](t, db, "SELECT application_name FROM pg_stat_activity WHERE pid = $1", pid))
	require.ElementsMatch(t, []string{"scheduler worker till", "scheduler/till", "shop"}, scalar[[]string](t, db,
		"SELECT array_agg(DISTINCT application_name) FROM pg_stat_activity WHERE datname = current_database() AND usename = $1", scheduler.RolesDefault().Serve))
	close(goOn)
	waitStatus(t, db, id, jobs.StatusSuccess)
	stop()

	require.Zero(t, pool.Stat().AcquiredConns(), "Run gives back what it has taken")
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'scheduler%'"))
	conns := pool.AcquireAllIdle(t.Context())
	require.NotEmpty(t, conns, "the pool is the application's, and open")
	for _, conn := range conns {
		var name, interval string
		err := conn.QueryRow(t.Context(), "SELECT current_setting('application_name'), current_setting('client_connection_check_interval')").Scan(&name, &interval)
		require.NoError(t, err)
		require.Equal(t, "shop 0", name+" "+interval, "nothing of ours stays on a connection")
		conn.Release()
	}
}

type receipt struct {
	Run int64 `json:"run"`
}

func (receipt) Kind() string { return "receipt" }

type receiptWorker struct {
	river.WorkerDefaults[receipt]
	worked chan int64
}

func (w *receiptWorker) Work(_ context.Context, job *river.Job[receipt]) error {
	w.worked <- job.Args.Run
	return nil
}

// The application's own River, in its own schema, goes on beside ours, and a job of ours
// hands it work in the transaction of the run.
func TestTheApplicationsOwnRiver(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	pool := shopPool(t, db, func(c *pgxpool.Config) {
		c.MaxConns = 12
		c.ConnConfig.User, c.ConnConfig.Password = "postgres", db.Pool(t).Config().ConnConfig.Password
	})
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: discard()})
	require.NoError(t, err)
	_, err = migrator.Migrate(t.Context(), rivermigrate.DirectionUp, nil)
	require.NoError(t, err)
	worked := make(chan int64, 10)
	workers := river.NewWorkers()
	river.AddWorker(workers, &receiptWorker{worked: worked})
	theirs, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Workers: workers, Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2}}, Logger: discard(),
	})
	require.NoError(t, err)
	require.NoError(t, theirs.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, theirs.Stop(context.WithoutCancel(t.Context()))) })

	registry := &jobs.Registry{}
	needs := []jobs.Need{jobs.Needs[*river.Client[pgx.Tx]]("hands receipts on")}
	bill := func(ctx context.Context, run *jobs.Run) error {
		client, err := jobs.App[*river.Client[pgx.Tx]](run)
		if err != nil {
			return err
		}
		_, err = client.InsertTx(ctx, run.Tx, receipt{run.ID}, nil)
		return err
	}
	require.NoError(t, registry.Add(
		jobs.Func(jobs.Definition{Name: "bill", Schedule: "@yearly", Needs: needs}, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			return jobs.Result{}, bill(ctx, run)
		}),
		jobs.Func(jobs.Definition{Name: "bill_badly", Schedule: "@yearly", Needs: needs}, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			return jobs.Result{}, errors.Join(bill(ctx, run), jobs.Permanent(errors.New("after the insert")))
		})))
	s, _ := embed(t, scheduler.Config{Pool: pool, Registry: registry, App: jobs.Provide(theirs, pool)})
	client := ready(t, s)
	require.Equal(t, jobs.StatusFailed, runAndWait(t, client, "bill_badly").Status)
	run := runAndWait(t, client, "bill")
	require.Equal(t, jobs.StatusSuccess, run.Status, run.Error)
	require.Equal(t, run.ID, <-worked)
	require.EqualValues(t, 1, scalar[int64](t, db, "SELECT count(*) FROM public.river_job"), "what a failed run has handed on is rolled back with it")
	require.Equal(t, []string{"receipt"}, scalar[[]string](t, db, "SELECT array_agg(DISTINCT kind) FROM public.river_job"))
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM scheduler.river_job WHERE kind = 'receipt'"))
}

// Two schedulers in one program, on one pool, are two schedulers.
func TestTwoSchedulersInOneProgram(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	pool := shopPool(t, db, func(c *pgxpool.Config) {
		c.MaxConns = 14
		c.ConnConfig.User, c.ConnConfig.Password = "postgres", db.Pool(t).Config().ConnConfig.Password
	})
	clients := make(map[string]*scheduler.Client)
	for _, schema := range []string{"north", "south"} {
		registry := &jobs.Registry{}
		require.NoError(t, registry.Add(jobs.Func(jobs.Definition{Name: "told_" + schema, Schedule: "@yearly"}, func(_ context.Context, run *jobs.Run) (jobs.Result, error) {
			return jobs.Result{Message: run.Schema}, nil
		})))
		s, _ := embed(t, scheduler.Config{Pool: pool, Schema: schema, Migrate: true, Registry: registry})
		clients[schema] = ready(t, s)
	}
	for schema, client := range clients {
		run := runAndWait(t, client, "told_"+schema)
		require.Equal(t, "success "+schema, string(run.Status)+" "+*run.Message)
		list, err := client.Jobs(t.Context())
		require.NoError(t, err)
		require.Len(t, list, 1)
	}
}

// What an application asks its scheduler, while that runs and before.
func TestClientOfAScheduler(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	pool := shopPool(t, db, nil)
	s, err := scheduler.New(scheduler.Config{Pool: pool, Registry: testRegistry(), Logger: discard()})
	require.NoError(t, err)
	client, err := s.Client(t.Context())
	require.NoError(t, err)
	_, err = client.RunNow(t.Context(), "yearly_hit", nil, nil)
	require.ErrorIs(t, err, jobs.ErrUnknownJob, "nobody has led yet")

	s, stop := embed(t, scheduler.Config{Pool: pool})
	client = ready(t, s)
	run := runAndWait(t, client, "yearly_hit")
	require.Equal(t, jobs.StatusSuccess, run.Status)
	require.NoError(t, client.Pause(t.Context(), "yearly_hit", "stocktaking", false))
	_, err = client.RunNow(t.Context(), "yearly_hit", nil, nil)
	require.ErrorIs(t, err, scheduler.ErrJobNotRunnable)
	require.NoError(t, client.Resume(t.Context(), "yearly_hit"))
	require.Equal(t, jobs.StatusSuccess, runAndWait(t, client, "yearly_hit").Status)
	history, err := client.History(t.Context(), "yearly_hit", 10)
	require.NoError(t, err)
	require.Len(t, history, 1)
	stop()
	client.Close()
	require.NoError(t, pool.Ping(t.Context()), "the caller's pool stays open")
}

// Who waits for the schema waits for nothing once nobody brings it up to date any more.
func TestClientOfASchedulerThatCannotMigrate(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	exec1(t, db, "UPDATE scheduler.schema_migrations SET version = 99")
	exec1(t, db, "CREATE OR REPLACE FUNCTION scheduler.oldest_compatible_version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 98'")
	s, err := scheduler.New(scheduler.Config{DatabaseURL: db.URL, Migrate: true, Registry: testRegistry(), Logger: discard()})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), waitRun)
	defer cancel()
	waited := make(chan error, 1)
	go func() {
		_, err := s.Client(ctx)
		waited <- err
	}()
	require.ErrorIs(t, s.Run(t.Context()), scheduler.ErrSchema)
	err = <-waited
	require.ErrorIs(t, err, scheduler.ErrSchema)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	_, err = s.Client(ctx)
	require.ErrorIs(t, err, scheduler.ErrSchema)
}

func TestRunIsForOnce(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	s, stop := embed(t, scheduler.Config{Pool: shopPool(t, db, nil)})
	ready(t, s)
	require.ErrorIs(t, s.Run(t.Context()), scheduler.ErrAlreadyRun)
	stop()
	require.ErrorIs(t, s.Run(t.Context()), scheduler.ErrAlreadyRun)
}

// A pool that will not do is refused, with what to change, and before anything is done.
func TestPoolsThatAreRefused(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	for name, test := range map[string]struct {
		change func(*pgxpool.Config)
		config scheduler.Config
		says   []string
	}{
		"too small":     {func(c *pgxpool.Config) { c.MaxConns = 8 }, scheduler.Config{MaxWorkers: 5}, []string{"8 connections", "MaxConns (pool_max_conns) to 9", "MaxWorkers"}},
		"tiny":          {func(c *pgxpool.Config) { c.MaxConns = 4 }, scheduler.Config{}, []string{"4 connections", "MaxConns (pool_max_conns) to 5"}},
		"without types": {func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec }, scheduler.Config{}, []string{"QueryExecModeCacheDescribe"}},
		"two places":    {nil, scheduler.Config{DatabaseURL: db.URL}, []string{"DatabaseURL"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.config.Pool = shopPool(t, db, test.change)
			_, err := scheduler.New(test.config)
			errs := scheduler.ConfigErrors(err)
			require.Len(t, errs, 1, "%v", err)
			require.Equal(t, "pool", errs[0].Field)
			mentions(t, err, test.says...)
		})
	}
	// Where nothing is said, there are as many workers as there is room.
	s, err := scheduler.New(scheduler.Config{Pool: shopPool(t, db, func(c *pgxpool.Config) { c.MaxConns = 6 })})
	require.NoError(t, err)
	require.Equal(t, 2, s.Config().MaxWorkers)
}

// What jobs need is known at the start, all of it.
func TestMissingPiecesAreReportedAtTheStart(t *testing.T) {
	t.Parallel()
	registry := &jobs.Registry{}
	for _, name := range []string{"mails", "also_mails", "rests"} {
		require.NoError(t, registry.Add(jobs.Func(jobs.Definition{
			Name: name, Schedule: "@daily", DisabledByDefault: name == "rests",
			Needs: []jobs.Need{jobs.Needs[io.Writer]("writes the letter"), jobs.Needs[context.Context]("")},
		}, func(context.Context, *jobs.Run) (jobs.Result, error) { return jobs.Result{}, nil })))
	}
	config := scheduler.Config{Registry: registry, App: t.Context()}
	_, err := scheduler.New(config)
	errs := scheduler.ConfigErrors(err)
	require.Len(t, errs, 2, "%v", err)
	for i, name := range []string{"also_mails", "mails"} {
		require.Equal(t, name+" app", errs[i].Job+" "+errs[i].Field)
		require.ErrorIs(t, errs[i], jobs.ErrAppValue)
		mentions(t, errs[i], name, "io.Writer", "writes the letter", "jobs.Provide")
	}
	require.NoError(t, config.Validate(), "a program that only reads a configuration need not have them")
	config.OnlyListedJobs = true
	_, err = scheduler.New(config)
	require.NoError(t, err, "a job that is not scheduled needs nothing")
}

// What the application sets on a connection each time that it is taken is its own
// business; what a job leaves there is taken back.
func TestTheApplicationsSettingsAreLeftAlone(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	var taken atomic.Int64
	pool := shopPool(t, db, func(c *pgxpool.Config) {
		c.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (bool, error) {
			_, err := conn.Exec(ctx, "SELECT set_config('search_path', $1, false)", fmt.Sprintf("shop_%d, public", taken.Add(1)))
			return err == nil, err
		}
	})
	log := &lines{}
	var seen, mine sync.Map
	registry := only(t, "bill", 1, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		var path string
		if err := run.Tx.QueryRow(ctx, "SHOW search_path").Scan(&path); err != nil {
			return jobs.Result{}, err
		}
		_, known := seen.LoadOrStore(path, true)
		mine.Store(run.ID, known)
		return jobs.Result{}, nil
	})
	s, _ := embed(t, scheduler.Config{Pool: pool, Registry: registry, Logger: slog.New(slog.NewTextHandler(log, nil))})
	client := ready(t, s)
	for range 5 {
		run := runAndWait(t, client, "bill")
		require.Equal(t, jobs.StatusSuccess, run.Status)
		known, _ := mine.Load(run.ID)
		require.Equal(t, false, known, "the settings are those of this time")
	}
	require.NotContains(t, log.String(), "the job has changed settings")
}
