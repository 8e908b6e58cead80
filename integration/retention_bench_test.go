package integration

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
	"github.com/systempromptio/scheduler/sql/platform"
)

// cleaning is a database with the platform's tables and the scheduler's, and what is
// needed to drive a cleanup job in it as a worker would, without River.
type cleaning struct {
	// pool is the superuser's; work is that of the role of replicas, in which jobs do what
	// they do: nil where no roles were made.
	pool   *pgxpool.Pool
	work   *pgxpool.Pool
	schema string
	sent   *sentStatements
}

// sentStatements notes every statement that the pool sends.
type sentStatements struct {
	mu    sync.Mutex
	texts []string
}

func (s *sentStatements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts = append(s.texts, data.SQL)
	return ctx
}

func (s *sentStatements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// count says how many statements held the text.
func (s *sentStatements) count(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, sent := range s.texts {
		if strings.Contains(sent, text) {
			n++
		}
	}
	return n
}

// platformTables is a database with the scheduler's schema and the platform's tables,
// empty; platformSeeded the same with the seed's rows.
var (
	platformTables = testdb.Template("platform_tables", preparePlatform(0))
	platformSeeded = testdb.Template("platform_seeded", preparePlatform(1))
)

func preparePlatform(scale int) func(ctx context.Context, url string) error {
	return func(ctx context.Context, url string) error {
		config := scheduler.MigrateConfig{DatabaseURL: url, Logger: slog.New(slog.DiscardHandler)}
		if _, err := scheduler.MigrateUp(ctx, config); err != nil {
			return err
		}
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		if err := platform.Create(ctx, conn); err != nil {
			return err
		}
		// After the tables: the roles have on them what the script gives.
		if err := testdb.MakeRoles(ctx, url, scheduler.SchemaDefault); err != nil || scale == 0 {
			return err
		}
		return platform.Seed(ctx, conn, scale)
	}
}

// newCleaning makes a database from options, with its scheduler in the default schema.
func newCleaning(t *testing.T, options ...testdb.Option) *cleaning {
	t.Helper()
	return openCleaning(t, testdb.New(t, options...).URL)
}

func openCleaning(t *testing.T, url string) *cleaning {
	t.Helper()
	c := &cleaning{schema: scheduler.SchemaDefault, sent: &sentStatements{}}
	config, err := pgxpool.ParseConfig(url)
	require.NoError(t, err)
	config.ConnConfig.Tracer = c.sent
	config.MaxConns = 12
	c.pool, err = pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(c.pool.Close)
	if config, err = pgxpool.ParseConfig(testdb.ServeURL(url)); err == nil && config.ConnConfig.User != c.pool.Config().ConnConfig.User {
		config.ConnConfig.Tracer = c.sent
		config.MaxConns = 12
		c.work, err = pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		t.Cleanup(c.work.Close)
	}
	require.NoError(t, err)
	return c
}

// worker is the pool that runs work in.
func (c *cleaning) worker() *pgxpool.Pool {
	if c.work != nil {
		return c.work
	}
	return c.pool
}

// reset ends the connections of both pools when they are given back.
func (c *cleaning) reset() {
	c.pool.Reset()
	c.worker().Reset()
}

func (c *cleaning) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := c.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err, sql)
}

func fetch[T any](t *testing.T, c *cleaning, sql string, args ...any) T {
	t.Helper()
	var v T
	require.NoError(t, c.pool.QueryRow(t.Context(), sql, args...).Scan(&v), sql)
	return v
}

func (c *cleaning) count(t *testing.T, from string) int64 {
	t.Helper()
	return fetch[int64](t, c, "SELECT count(*) FROM "+from)
}

// ledgerRun is one run of a job: its row in the ledger, and what the worker keeps in it.
type ledgerRun struct {
	c       *cleaning
	job     jobs.BatchJob
	id      int64
	dryRun  bool
	given   map[string]any
	attempt int

	cursor  json.RawMessage
	targets jobs.Targets
	message string
	// progress, if not nil, takes what the job reports beside its batches, if there is
	// room.
	progress chan jobs.Progress
	batches  int
}

func (c *cleaning) newRun(t *testing.T, job jobs.BatchJob, given map[string]any) *ledgerRun {
	t.Helper()
	id := fetch[int64](t, c, `INSERT INTO `+c.schema+`.job_runs (job_name, tick, trigger, status, started_at)
		VALUES ($1, now(), 'manual', 'running', now()) RETURNING id`, job.Definition().Name)
	return &ledgerRun{c: c, job: job, id: id, given: given, targets: jobs.Targets{}}
}

func (c *cleaning) newDryRun(t *testing.T, job jobs.BatchJob, given map[string]any) *ledgerRun {
	t.Helper()
	r := c.newRun(t, job, given)
	r.dryRun = true
	return r
}

// start begins an attempt.
func (r *ledgerRun) start(ctx context.Context) (jobs.Batches, error) {
	parameters, err := jobs.Resolve(r.job.Definition(), r.given)
	if err != nil {
		return nil, err
	}
	r.attempt++
	run := &jobs.Run{
		ID: r.id, Job: r.job.Definition().Name, Trigger: jobs.TriggerManual, Attempt: r.attempt, MaxAttempts: 1000,
		DryRun: r.dryRun, Parameters: parameters, Logger: slog.New(slog.DiscardHandler), Schema: r.c.schema,
		Cursor: r.cursor, Done: r.targets, Beginner: r.c.worker(),
	}
	run.ProgressFunc = func(_ context.Context, p jobs.Progress) {
		select {
		case r.progress <- p:
		default:
		}
	}
	if err := r.c.pool.QueryRow(ctx, "SELECT now()").Scan(&run.Now); err != nil {
		return nil, err
	}
	return r.job.Start(ctx, run)
}

// errKilled is what happens to a batch whose worker dies before it commits.
var errKilled = errors.New("killed")

// next works one batch in a transaction as the worker does, with in, if not nil, called
// between the job's work and the commit.
func (r *ledgerRun) next(ctx context.Context, batches jobs.Batches, in func(tx pgx.Tx, batch *jobs.Batch) error) (bool, error) {
	if err := batches.(jobs.Preparer).Prepare(ctx); err != nil {
		return false, err
	}
	return r.nextPrepared(ctx, batches, in)
}

func (r *ledgerRun) nextPrepared(ctx context.Context, batches jobs.Batches, in func(tx pgx.Tx, batch *jobs.Batch) error) (bool, error) {
	tx, err := r.c.worker().BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return false, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	batch := &jobs.Batch{Tx: tx, Targets: jobs.Targets{}}
	done, err := batches.Next(ctx, batch)
	if err != nil {
		return false, err
	}
	if in != nil {
		if err := in(tx, batch); err != nil {
			return false, err
		}
	}
	cursor, err := json.Marshal(batch.Cursor)
	if err != nil {
		return false, err
	}
	if r.dryRun {
		err = tx.Rollback(ctx)
	} else {
		err = tx.Commit(ctx)
	}
	if err != nil {
		return false, err
	}
	r.cursor = cursor
	merged := jobs.Targets{}
	merged.Merge(r.targets)
	merged.Merge(batch.Targets)
	r.targets = merged
	r.batches++
	if batch.Message != "" {
		r.message = batch.Message
	}
	if done {
		_, err = r.c.pool.Exec(ctx, "UPDATE "+r.c.schema+".job_runs SET status = 'success', finished_at = now() WHERE id = $1", r.id)
	}
	return done, err
}

// work does the whole run in one attempt.
func (r *ledgerRun) work(ctx context.Context) error {
	batches, err := r.start(ctx)
	for done := false; err == nil && !done; {
		done, err = r.next(ctx, batches, nil)
	}
	return err
}

// mustWork does the whole run and returns what it did.
func (r *ledgerRun) mustWork(t *testing.T) jobs.Targets {
	t.Helper()
	require.NoError(t, r.work(t.Context()))
	require.Zero(t, fetch[int64](t, r.c, "SELECT count(*) FROM "+r.c.schema+".retention_candidates WHERE run_id = $1", r.id),
		"candidates are left behind")
	return r.targets
}

// small is the job with batches of so many rows, however long they take.
func small(t *testing.T, job *retention.Job, rows int) *retention.Job {
	t.Helper()
	return variant(t, job, func(c *retention.Config) { c.BatchRowsMax, c.BatchTime = rows, time.Minute })
}

func variant(t *testing.T, job *retention.Job, change func(c *retention.Config)) *retention.Job {
	t.Helper()
	config := job.Config()
	change(&config)
	changed, err := retention.New(config)
	require.NoError(t, err)
	return changed
}

// outcome is what was done to a target, without how.
func (r *ledgerRun) outcome(target string) jobs.Target {
	done := r.targets[target]
	done.Plan = ""
	return done
}

// rowsOf are the counts alone.
func rowsOf(targets jobs.Targets) map[string]int64 {
	rows := make(map[string]int64, len(targets))
	for name, target := range targets {
		rows[name] = target.Rows
	}
	return rows
}

// session is a connection of the application with a transaction open on it.
func (c *cleaning) session(t *testing.T) pgx.Tx {
	t.Helper()
	tx, err := c.pool.Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
	return tx
}
