package integration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/migrations"
	"github.com/systempromptio/scheduler/sql"
)

// runOnce runs a replica that is expected to refuse.
func runOnce(t *testing.T, config scheduler.Config) error {
	t.Helper()
	config.Registry, config.Logger = testRegistry(), discard()
	s, err := scheduler.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = s.Run(ctx)
	if ctx.Err() != nil {
		t.Fatal("the replica did not refuse, it ran for a minute")
	}
	return err
}

func mentions(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("the error %v does not mention %q", err, word)
		}
	}
}

func TestRefusesMissingAndOldSchema(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	err := runOnce(t, scheduler.Config{DatabaseURL: db.URL})
	if !errors.Is(err, scheduler.ErrSchema) {
		t.Errorf("got %v, want ErrSchema", err)
	}
	mentions(t, err, "scheduler migrate up", "--migrate")
	if n := scalar[int64](t, db, "SELECT count(*) FROM pg_namespace WHERE nspname = 'scheduler'"); n != 0 {
		t.Error("the refusing replica made the schema")
	}

	config := scheduler.MigrateConfig{DatabaseURL: db.URL, Logger: discard()}
	if _, err := scheduler.MigrateUp(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if _, err := scheduler.MigrateDown(t.Context(), config, 1); err != nil {
		t.Fatal(err)
	}
	err = runOnce(t, scheduler.Config{DatabaseURL: db.URL})
	if !errors.Is(err, scheduler.ErrSchema) {
		t.Errorf("got %v, want ErrSchema", err)
	}
	latest, err2 := migrations.Latest()
	if err2 != nil {
		t.Fatal(err2)
	}
	mentions(t, err, fmt.Sprintf("version %d", latest-1), fmt.Sprintf("needs %d", latest), "scheduler migrate up")
}

func TestRefusesSchemaOfTheFuture(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	exec1(t, db, "UPDATE scheduler.schema_migrations SET version = 99")
	// A newer schema that only adds goes on working.
	if _, err := scheduler.MigrateUp(t.Context(), scheduler.MigrateConfig{DatabaseURL: db.URL, Logger: discard()}); err != nil {
		t.Errorf("migrating a newer schema: %v", err)
	}
	stop := runScheduler(t, scheduler.Config{DatabaseURL: db.URL})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.leader)")
	stop()
	exec1(t, db, "CREATE OR REPLACE FUNCTION scheduler.oldest_compatible_version() RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 98'")
	err := runOnce(t, scheduler.Config{DatabaseURL: db.URL})
	if !errors.Is(err, scheduler.ErrSchema) {
		t.Errorf("got %v, want ErrSchema", err)
	}
	mentions(t, err, "99", "98", "newer build")
}

func TestMigrateUpDownUp(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	config := scheduler.MigrateConfig{DatabaseURL: db.URL, Logger: discard()}
	catalog := func() string {
		return scalar[string](t, db, `SELECT coalesce(string_agg(kind || ' ' || name, E'\n' ORDER BY kind, name), '') FROM (
			SELECT relkind::text AS kind, oid::regclass::text AS name FROM pg_class WHERE relnamespace = to_regnamespace('scheduler')
			UNION ALL SELECT 'function', oid::regprocedure::text FROM pg_proc WHERE pronamespace = to_regnamespace('scheduler')
			UNION ALL SELECT 'trigger', tgrelid::regclass::text || '.' || tgname FROM pg_trigger
			          WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace('scheduler'))) c`)
	}
	status, err := scheduler.MigrateUp(t.Context(), config)
	if err != nil || !status.UpToDate() {
		t.Fatalf("up: %+v, %v", status, err)
	}
	first := catalog()
	if status, err = scheduler.MigrateDown(t.Context(), config, 0); err != nil || status.Version != 0 || status.Exists {
		t.Fatalf("down: %+v, %v", status, err)
	}
	if got := catalog(); got != "" {
		t.Errorf("after down there is left:\n%s", got)
	}
	if _, err = scheduler.MigrateUp(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if second := catalog(); second != first {
		t.Errorf("after down and up the schema differs:\n%s\n\nwas:\n%s", second, first)
	}
	for steps := int(status.Wanted); steps > 0; steps-- {
		if _, err := scheduler.MigrateDown(t.Context(), config, 1); err != nil {
			t.Fatalf("one step down: %v", err)
		}
		if _, err := scheduler.MigrateUp(t.Context(), config); err != nil {
			t.Fatalf("and up: %v", err)
		}
		if steps > 1 {
			if _, err := scheduler.MigrateDown(t.Context(), config, int(status.Wanted)-steps+1); err != nil {
				t.Fatalf("down to %d: %v", steps-1, err)
			}
		}
	}
}

// golang-migrate marks a version before it runs a migration, and again after it: a
// crash in between leaves a mark that says little.
func TestInterruptedMigrations(t *testing.T) {
	t.Parallel()
	version, err := migrations.Latest()
	if err != nil {
		t.Fatal(err)
	}
	latest := int(version)
	for name, interrupted := range map[string]struct {
		steps int
		mark  string
	}{
		"up, before it ran":       {1, "UPDATE scheduler.schema_migrations SET version = version + 1, dirty = true"},
		"up, after it ran":        {0, "UPDATE scheduler.schema_migrations SET dirty = true"},
		"the first one up":        {latest, "INSERT INTO scheduler.schema_migrations VALUES (1, true)"},
		"down, before it ran":     {0, "UPDATE scheduler.schema_migrations SET version = version - 1, dirty = true"},
		"down, after it ran":      {1, "UPDATE scheduler.schema_migrations SET dirty = true"},
		"the last one down":       {latest - 1, "UPDATE scheduler.schema_migrations SET version = 0, dirty = true"},
		"the last one down, done": {latest, "INSERT INTO scheduler.schema_migrations VALUES (0, true)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := testdb.New(t, migrated)
			config := scheduler.MigrateConfig{DatabaseURL: db.URL, Logger: discard()}
			if interrupted.steps > 0 {
				if _, err := scheduler.MigrateDown(t.Context(), config, interrupted.steps); err != nil {
					t.Fatal(err)
				}
			}
			exec1(t, db, interrupted.mark)
			if err := runOnce(t, scheduler.Config{DatabaseURL: db.URL}); !errors.Is(err, scheduler.ErrSchema) {
				t.Errorf("a replica started on it: %v", err)
			}
			status, err := scheduler.MigrateUp(t.Context(), config)
			if err != nil || !status.UpToDate() {
				t.Fatalf("it is not mended: %+v, %v", status, err)
			}
			if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.jobs"); n != 0 {
				t.Errorf("the view jobs has %d rows", n)
			}
		})
	}
}

func TestRefusesLeaderURLOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	db, other := testdb.New(t, migrated), testdb.New(t, migrated)
	err := runOnce(t, scheduler.Config{DatabaseURL: db.URL, LeaderDatabaseURL: other.URL})
	mentions(t, err, "leader_database_url", other.Name)
}

func TestMigrateAtOnce(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = scheduler.MigrateUp(t.Context(), scheduler.MigrateConfig{DatabaseURL: db.URL, Logger: discard()})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if n := scalar[int64](t, db, "SELECT count(*) FROM scheduler.leadership"); n != 1 {
		t.Errorf("there are %d rows of leadership, want 1", n)
	}
}

func TestMigrateDownRefusesWhileReplicasRun(t *testing.T) {
	t.Parallel()
	db := started(t, scheduler.Config{ReplicaID: "in-the-way"})
	_, err := scheduler.MigrateDown(t.Context(), scheduler.MigrateConfig{DatabaseURL: db.URL, Logger: discard()}, 0)
	mentions(t, err, "in-the-way", "stop")
}

func TestTwoSchemasAndRiverInPublic(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	exec1(t, db, "CREATE TABLE public.river_job (id int); CREATE TABLE public.scheduled_jobs (job_name text); CREATE TABLE public.river_migration (id int)")
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "first"})
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, ReplicaID: "second", Schema: "other_scheduler", Migrate: true})
	waitValue(t, db, waitRun, "first", "SELECT replica_id FROM scheduler.leader")
	waitValue(t, db, waitRun, true, "SELECT to_regclass('other_scheduler.leader') IS NOT NULL")
	waitValue(t, db, waitRun, "second", "SELECT replica_id FROM other_scheduler.leader")
	if a, b := scalar[string](t, db, "SELECT string_agg(replica_id, ',') FROM scheduler.replicas"),
		scalar[string](t, db, "SELECT string_agg(replica_id, ',') FROM other_scheduler.replicas"); a != "first" || b != "second" {
		t.Errorf("the replicas are %s and %s, want each schema's own", a, b)
	}
	run := scalar[int64](t, db, "SELECT other_scheduler.run_now('yearly_hit')")
	waitValue(t, db, waitRun, "success", "SELECT status FROM other_scheduler.runs WHERE id = $1", run)
	if n := scalar[int64](t, db, `SELECT (SELECT count(*) FROM public.river_job) + (SELECT count(*) FROM public.scheduled_jobs)
		+ (SELECT count(*) FROM scheduler.runs WHERE trigger = 'manual')`); n != 0 {
		t.Errorf("the application's tables, or the other scheduler's, were touched: %d rows", n)
	}
}

func TestRefusesPgBouncerInTransactionMode(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	pooled := testdb.PgBouncer(t, db, "transaction")
	err := runOnce(t, scheduler.Config{DatabaseURL: pooled})
	if !errors.Is(err, scheduler.ErrPooled) {
		t.Errorf("got %v, want ErrPooled", err)
	}
	mentions(t, err, "leader_database_url")

	// With a direct way for the lock session, the runs go through the pooler.
	runScheduler(t, scheduler.Config{DatabaseURL: pooled, LeaderDatabaseURL: db.URL})
	waitValue(t, db, waitRun, true, "SELECT count(*) >= 2 FROM scheduler.runs WHERE job_name = 'each_second' AND status = 'success'")
}

func TestAcceptsPgBouncerInSessionMode(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	runScheduler(t, scheduler.Config{DatabaseURL: testdb.PgBouncer(t, db, "session")})
	waitValue(t, db, waitRun, true, "SELECT count(*) >= 2 FROM scheduler.runs WHERE job_name = 'each_second' AND status = 'success'")
}

func TestRefusesStandby(t *testing.T) {
	t.Parallel()
	_, standby := testdb.Standby(t)
	err := runOnce(t, scheduler.Config{DatabaseURL: standby.URL("postgres"), Migrate: true})
	if !errors.Is(err, scheduler.ErrStandby) {
		t.Errorf("got %v, want ErrStandby", err)
	}
	mentions(t, err, "primary", "target_session_attrs")
}

func TestWrongPasswordIsToldAtOnce(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	u, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("postgres", "not the password")
	err = runOnce(t, scheduler.Config{DatabaseURL: u.String()})
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "28P01" {
		t.Errorf("got %v, want the server's refusal", err)
	}
	if err != nil && strings.Contains(err.Error(), "not the password") {
		t.Error("the error tells the password")
	}
	u.User = url.UserPassword("postgres", "postgres")
	u.Path = "/no_such_database"
	mentions(t, runOnce(t, scheduler.Config{DatabaseURL: u.String()}), "no_such_database")
}

// lines collects a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestWaitsForTheDatabaseAndSurvivesItsRestart(t *testing.T) {
	t.Parallel()
	server := testdb.Start(t, testdb.Options{})
	db := testdb.New(t, migrated, testdb.On(server))
	server.Stop(t)
	log := &lines{}
	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, Logger: slog.New(slog.NewTextHandler(log, nil))})
	testdb.WaitFor(t, "the wait is told", waitRun, func(context.Context) (bool, any, error) {
		text := log.String()
		return strings.Contains(text, "waiting for the database"), text, nil
	})
	server.Start(t)
	waitValue(t, db, time.Minute, true, "SELECT EXISTS (SELECT FROM scheduler.runs WHERE job_name = 'each_second' AND status = 'success')")
	epoch := scalar[int64](t, db, "SELECT epoch FROM scheduler.leadership")
	server.Kill(t)
	server.Start(t)
	waitValue(t, db, time.Minute, true, fmt.Sprintf("SELECT EXISTS (SELECT FROM scheduler.runs WHERE leader_epoch > %d AND status = 'success')", epoch))
	if n := scalar[int64](t, db, hitsDoubled); n != 0 {
		t.Errorf("%d ticks ran twice", n)
	}
	if n := strings.Count(log.String(), "the lock session is lost"); n != 1 {
		t.Errorf("the loss of the session is told %d times, want once:\n%s", n, log.String())
	}
}

func TestNothingInTheServersLog(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	exec1(t, db, "INSERT INTO sweep_rows SELECT g FROM generate_series(1, 500) g")
	replicas := make([]*replica, 3)
	for i := range replicas {
		replicas[i] = startReplica(t, db, fmt.Sprintf("quiet-%d", i))
	}
	waitValue(t, db, 30*time.Second, int64(3), "SELECT count(*) FROM scheduler.replicas")
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs)")
	run := scalar[int64](t, db, "SELECT scheduler.run_now('sweep')")
	waitStatus(t, db, run, jobs.StatusSuccess)
	begin := scalar[time.Time](t, db, "SELECT clock_timestamp()")
	waitValue(t, db, time.Minute, true, "SELECT clock_timestamp() > $1::timestamptz + interval '10 seconds'", begin)
	for _, r := range replicas {
		r.stop(t)
	}
	if log := db.Log(t); log != "" {
		t.Errorf("the server's log has:\n%s", log)
	}
}

func TestEveryStatementCanBePrepared(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformTables)
	exec1(t, db, pgCron)
	conn := db.Conn(t)
	statements := sql.For(scheduler.SchemaDefault)
	names := statements.Names()
	if len(names) < 20 {
		t.Fatalf("only %d statements were found", len(names))
	}
	for _, name := range names {
		text, _, err := pgx.NamedArgs{}.RewriteQuery(t.Context(), conn, statements.Text(name), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if slices.Contains([]string{"begin_run", "begin_batch", "transaction_name", "transaction_settings", "doctor_begin", "check_begin"}, name) {
			// Several commands, which go as a simple query.
			_, err = conn.Exec(t.Context(), text+"; ROLLBACK")
		} else {
			_, err = conn.Prepare(t.Context(), name, text)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
