package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// replicaEnv makes the test binary run as a replica, with this database.
const replicaEnv = "SCHEDULER_TEST_REPLICA_URL"

const replicaIDEnv = "SCHEDULER_TEST_REPLICA_ID"

// testTables is what the test jobs work on. A trigger keeps account of every row
// that is changed, whoever changes it.
const testTables = `
CREATE TABLE hits (tick timestamptz NOT NULL, run_id bigint NOT NULL, attempt int NOT NULL, replica text);
CREATE TABLE sweep_rows (id bigint PRIMARY KEY, swept_by bigint);
CREATE TABLE sweep_audit (id bigint NOT NULL, run_id bigint NOT NULL);
CREATE FUNCTION audit_sweep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sweep_audit VALUES (NEW.id, NEW.swept_by);
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER UPDATE ON sweep_rows FOR EACH ROW EXECUTE FUNCTION audit_sweep();
`

const sweepBatch = 20

// testRegistry holds the jobs of the tests.
func testRegistry() *jobs.Registry {
	registry := &jobs.Registry{}
	err := registry.Add(
		jobs.Func(jobs.Definition{Name: "each_second", Schedule: "* * * * * *", MaxAttempts: 3}, hit),
		jobs.Func(jobs.Definition{Name: "yearly_hit", Schedule: "@yearly", Parameters: []jobs.Parameter{
			{Name: "size", Type: jobs.TypeInteger, Default: 1, Minimum: jobs.Bound(1), Maximum: jobs.Bound(100)},
			{Name: "mode", Type: jobs.TypeString, Default: "fast", Enum: []string{"fast", "slow"}},
			{Name: "names", Type: jobs.TypeStrings, Default: []string{}},
			{Name: "wait", Type: jobs.TypeDuration, Default: "1s", Minimum: jobs.Bound(0.001)},
			{Name: "hard", Type: jobs.TypeBoolean, Default: false},
		}}, hit),
		jobs.Func(jobs.Definition{Name: "panics", Schedule: "@yearly", MaxAttempts: 2, BackoffFunc: shortBackoff},
			func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
				if _, err := hit(ctx, run); err != nil {
					return jobs.Result{}, err
				}
				panic(fmt.Sprintf("attempt %d went wrong", run.Attempt))
			}),
		jobs.Func(jobs.Definition{Name: "fails_once", Schedule: "@yearly", MaxAttempts: 3, BackoffFunc: shortBackoff},
			func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
				result, err := hit(ctx, run)
				if err == nil && run.Attempt == 1 {
					err = errors.New("the first attempt fails")
				}
				return result, err
			}),
		jobs.Func(jobs.Definition{Name: "hopeless", Schedule: "@yearly", MaxAttempts: 9},
			func(context.Context, *jobs.Run) (jobs.Result, error) {
				return jobs.Result{}, jobs.Permanent(errors.New("another attempt would not help"))
			}),
		jobs.Func(jobs.Definition{Name: "times_out", Schedule: "@yearly", MaxAttempts: 1, Timeout: 300 * time.Millisecond}, endless),
		jobs.Func(jobs.Definition{Name: "endless", Schedule: "@yearly", MaxAttempts: 3}, endless),
		jobs.Func(jobs.Definition{Name: "needs_app", Schedule: "@yearly", MaxAttempts: 1},
			func(_ context.Context, run *jobs.Run) (jobs.Result, error) {
				mailer, err := jobs.App[fmt.Stringer](run)
				if err != nil {
					return jobs.Result{}, jobs.Permanent(err)
				}
				return jobs.Result{Message: mailer.String()}, nil
			}),
		jobs.Func(jobs.Definition{Name: "poison", Schedule: "@yearly", MaxAttempts: 2},
			func(ctx context.Context, _ *jobs.Run) (jobs.Result, error) {
				go func() { panic("nobody can recover from this") }()
				<-ctx.Done()
				return jobs.Result{}, ctx.Err()
			}),
		jobs.Func(jobs.Definition{Name: "locker", Schedule: "@yearly", MaxAttempts: 3}, locker),
		sweep{},
	)
	if err != nil {
		panic(err)
	}
	return registry
}

func shortBackoff(int) time.Duration { return 200 * time.Millisecond }

func hit(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
	tag, err := run.Tx.Exec(ctx, "INSERT INTO hits (tick, run_id, attempt, replica) VALUES ($1, $2, $3, current_setting('application_name'))",
		run.Tick, run.ID, run.Attempt)
	return jobs.Result{RowsAffected: tag.RowsAffected(), Message: "hit"}, err
}

func endless(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
	if _, err := hit(ctx, run); err != nil {
		return jobs.Result{}, err
	}
	run.Progress(ctx, jobs.Progress{Done: 1, Total: 2, Message: "waiting"})
	<-ctx.Done()
	return jobs.Result{}, ctx.Err()
}

// sweep marks rows, a few in each transaction.
type sweep struct{}

func (sweep) Definition() jobs.Definition {
	return jobs.Definition{Name: "sweep", Schedule: "@yearly", MaxAttempts: 20, BackoffFunc: shortBackoff}
}

func (sweep) Start(_ context.Context, run *jobs.Run) (jobs.Batches, error) {
	batches := &sweepBatches{run: run}
	if run.Cursor != nil {
		if err := json.Unmarshal(run.Cursor, &batches.last); err != nil {
			return nil, err
		}
	}
	return batches, nil
}

type sweepBatches struct {
	run  *jobs.Run
	last int64
}

func (b *sweepBatches) Next(ctx context.Context, batch *jobs.Batch) (bool, error) {
	rows, err := batch.Tx.Query(ctx, `
		UPDATE sweep_rows SET swept_by = $1
		WHERE id IN (SELECT id FROM sweep_rows WHERE id > $2 ORDER BY id LIMIT $3)
		RETURNING id`, b.run.ID, b.last, sweepBatch)
	if err != nil {
		return false, err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return false, err
	}
	if _, err := batch.Tx.Exec(ctx, "SELECT pg_sleep(0.01)"); err != nil {
		return false, err
	}
	for _, id := range ids {
		b.last = max(b.last, id)
	}
	batch.Targets["rows"] = jobs.Target{Rows: int64(len(ids)), Batches: 1}
	batch.Cursor = b.last
	return len(ids) < sweepBatch, nil
}

// runReplica is the life of a replica process.
func runReplica() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	s, err := scheduler.New(scheduler.Config{
		DatabaseURL:     os.Getenv(replicaEnv),
		Registry:        testRegistry(),
		ReplicaID:       os.Getenv(replicaIDEnv),
		ShutdownTimeout: 2 * time.Second,
		Logger:          slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err == nil {
		err = s.Run(ctx)
	}
	if err != nil && !errors.Is(err, scheduler.ErrRunsLeft) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// replica is a replica in a process of its own, which can be killed.
type replica struct {
	ID      string
	cmd     *exec.Cmd
	logPath string
	exited  chan struct{}
	exitErr error
}

// startReplica starts a replica process on the database; it is killed, at the
// latest, when the test ends.
func startReplica(t *testing.T, db *testdb.DB, id string) *replica {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0])
	cmd.Env = append(os.Environ(), replicaEnv+"="+testdb.ServeURL(db.URL), replicaIDEnv+"="+id, "GOCOVERDIR="+t.TempDir())
	return startProcess(t, cmd, id)
}

// startProcess starts a replica process and keeps its log.
func startProcess(t *testing.T, cmd *exec.Cmd, id string) *replica {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), id+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &replica{ID: id, cmd: cmd, logPath: log.Name(), exited: make(chan struct{})}
	go func() {
		defer close(r.exited)
		r.exitErr = cmd.Wait()
	}()
	t.Cleanup(func() {
		r.kill()
		if t.Failed() {
			content, _ := os.ReadFile(log.Name())
			t.Logf("log of replica %s:\n%s", id, content)
		}
		if err := log.Close(); err != nil {
			t.Errorf("close the log: %v", err)
		}
	})
	return r
}

// log is what the replica has written so far.
func (r *replica) log(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(r.logPath)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func (r *replica) kill() {
	_ = r.cmd.Process.Kill() // it may have ended already
	<-r.exited
}

// stop asks a replica to leave and waits for it.
func (r *replica) stop(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("replica %s: %v", r.ID, err)
	}
	<-r.exited
	if r.exitErr != nil {
		t.Errorf("replica %s left with: %v", r.ID, r.exitErr)
	}
}

// runScheduler runs a replica within the test, until the returned function is
// called or the test ends. Unless it is to migrate, it runs as the replicas' role.
func runScheduler(t *testing.T, config scheduler.Config) (stop func()) {
	t.Helper()
	if config.Registry == nil {
		config.Registry = testRegistry()
	}
	if config.ShutdownTimeout == 0 {
		config.ShutdownTimeout = 2 * time.Second
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.NewTextHandler(logWriter{t}, nil))
	}
	if !config.Migrate {
		config.DatabaseURL, config.LeaderDatabaseURL = testdb.ServeURL(config.DatabaseURL), testdb.ServeURL(config.LeaderDatabaseURL)
	}
	s, err := scheduler.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, scheduler.ErrRunsLeft) {
			t.Errorf("the replica ended with: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

type logWriter struct{ t *testing.T }

func (w logWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// execute runs statements on a connection of its own.
func execute(ctx context.Context, url, statements string) (err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, statements)
	return err
}

// scalar reads one value.
func scalar[T any](t *testing.T, db *testdb.DB, statement string, args ...any) T {
	t.Helper()
	rows, err := db.Pool(t).Query(t.Context(), statement, args...)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return v
}

func exec1(t *testing.T, db *testdb.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.Pool(t).Exec(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// waitValue waits until a statement gives a value.
func waitValue[T comparable](t *testing.T, db *testdb.DB, timeout time.Duration, want T, statement string, args ...any) {
	t.Helper()
	testdb.WaitFor(t, statement, timeout, func(ctx context.Context) (bool, any, error) {
		rows, err := db.Pool(t).Query(ctx, statement, args...)
		if err != nil {
			return false, nil, err
		}
		got, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
		if errors.Is(err, pgx.ErrNoRows) {
			return false, "no row", nil
		}
		return got == want, got, err
	})
}
