package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/scheduler/internal/connection"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
	"github.com/systempromptio/scheduler/sql"
)

type (
	// Job is a job as the view jobs shows it; its fields are those of [sql.JobRow].
	Job = sql.JobRow
	// Run is a run as the view runs shows it; its fields are those of [sql.RunRow].
	Run = sql.RunRow
	// LogLine is a line of a run's log as the view run_logs shows it; see [sql.LogLineRow].
	LogLine = sql.LogLineRow
	// Leader is who leads; see [sql.LeaderRow].
	Leader = sql.LeaderRow
	// Replica is a replica that lives; see [sql.ReplicaRow].
	Replica = sql.ReplicaRow
	// RunFilter selects runs; the zero value, all. See [sql.RunFilter].
	RunFilter = sql.RunFilter
	// Rollout is what a target of a job in rollout would have lost so far; see [sql.RolloutRow].
	Rollout = sql.RolloutRow
	// State says whether the whole scheduler is paused; see [sql.StateRow].
	State = sql.StateRow
	// Backfill is a backfill as the view backfills shows it; see [sql.BackfillRow].
	Backfill = sql.BackfillRow
)

var (
	// ErrJobNotRunnable: the job or the scheduler is paused, the leader does not know
	// the job, or the run that is to be cancelled has ended.
	ErrJobNotRunnable = errors.New("job cannot be run now")

	// ErrRunNotFound: no run of that id is in the ledger.
	ErrRunNotFound = errors.New("run not found")

	// ErrBackfillNotFound: no backfill of that id was asked for.
	ErrBackfillNotFound = errors.New("backfill not found")

	// ErrBadArgument: an argument is missing or makes no sense.
	ErrBadArgument = errors.New("bad argument")
)

// sentinelOf gives the SQLSTATEs that the schema's functions raise their error;
// nil for any other.
func sentinelOf(sqlstate string) error {
	switch sqlstate {
	case "SC001":
		return jobs.ErrUnknownJob
	case "SC002":
		return jobs.ErrInvalidParameter
	case "SC003":
		return ErrJobNotRunnable
	case "SC004":
		return ErrBadArgument
	case "SC005":
		return ErrRunNotFound
	case "SC006":
		return ErrBackfillNotFound
	}
	return nil
}

// Client reads and steers a fleet through its views and functions: what it does
// can be done in psql as well. It is safe for concurrent use.
type Client struct {
	pool       *pgxpool.Pool
	statements *sql.Statements
	// shared: the pool is the caller's.
	shared bool
}

// NewClient connects to the database and checks its schema. An empty schema means
// [SchemaDefault]. The errors are those of [Scheduler.Run].
func NewClient(ctx context.Context, databaseURL, schema string) (*Client, error) {
	return newClient(ctx, connection.Source{URL: databaseURL}, schema)
}

// NewClientFromPool makes a client that works on the caller's pool, which it leaves open.
// Times are in the zone in which the pool's connections give them. Otherwise it is as
// [NewClient].
func NewClientFromPool(ctx context.Context, pool *pgxpool.Pool, schema string) (*Client, error) {
	if schema == "" {
		schema = SchemaDefault
	}
	if err := sql.CheckSchema(schema); err != nil {
		return nil, err
	}
	if err := checkExecMode(pool); err != nil {
		return nil, fmt.Errorf("the pool %w", err)
	}
	c := &Client{pool: pool, statements: sql.For(schema), shared: true}
	err := pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error { return checkSchema(ctx, conn.Conn(), c.statements) })
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Client gives a client of the scheduler's database, before, while and after Run runs. It
// works on Config.Pool if there is one, and otherwise connects by itself; close it. If
// Run is still to bring the schema up to date (Config.Migrate), it waits for that, until
// Run has returned. The errors are those of [Scheduler.Run], and that of ctx.
func (s *Scheduler) Client(ctx context.Context) (*Client, error) {
	var backoff connection.Backoff
	for {
		isOver := s.isOver.Load() // asked first: what Run has done by then is seen
		client, err := s.newClient(ctx)
		if !s.config.Migrate || isOver || !errors.Is(err, ErrSchema) {
			return client, err
		}
		if backoff.Wait(ctx); ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}

// DedicatedClient is [Scheduler.Client] with two connections of its own in any case, so that
// what it asks takes none from runs or the application. It waits for nothing: before the
// schema is up to date, the error is [ErrSchema].
func (s *Scheduler) DedicatedClient(ctx context.Context) (*Client, error) {
	return newClient(ctx, s.source(), s.config.Schema)
}

func (s *Scheduler) newClient(ctx context.Context) (*Client, error) {
	if s.config.Pool != nil {
		return NewClientFromPool(ctx, s.config.Pool, s.config.Schema)
	}
	return newClient(ctx, s.source(), s.config.Schema)
}

func newClient(ctx context.Context, source connection.Source, schema string) (*Client, error) {
	if schema == "" {
		schema = SchemaDefault
	}
	if err := sql.CheckSchema(schema); err != nil {
		return nil, err
	}
	config, err := source.PoolConfig()
	if err != nil {
		return nil, fmt.Errorf("database_url: %w", err)
	}
	config.MaxConns = 2
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "scheduler client"
	}
	if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
		return nil, fmt.Errorf("database_url: %w", err)
	}
	// Behind a pooler in transaction mode, named prepared statements may be another
	// client's, or gone.
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	// One zone, whatever the machine's: JSON is the same everywhere.
	config.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		conn.TypeMap().RegisterType(&pgtype.Type{
			Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC},
		})
		return nil
	}
	statements := sql.For(schema)
	conn, err := connect(ctx, config.ConnConfig)
	if err != nil {
		return nil, err
	}
	defer closeConn(ctx, conn)
	if err := checkSchema(ctx, conn, statements); err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the pool: %w", err)
	}
	return &Client{pool: pool, statements: statements}, nil
}

// Close closes the client's connections; a pool that is the caller's stays open.
func (c *Client) Close() {
	if !c.shared {
		c.pool.Close()
	}
}

// Jobs lists all jobs, by name.
func (c *Client) Jobs(ctx context.Context) ([]Job, error) {
	list, err := c.statements.ListJobs(ctx, c.pool, "")
	return list, c.translate(err)
}

// Explain shows what a job that can say so would do in this database, such as a cleanup
// job: see [retention.Job.ExplainOn]. The parameters that are not given are those that the job
// is declared with, or its own defaults if no leader has declared it yet.
func (c *Client) Explain(ctx context.Context, job retention.Explainer, given map[string]any) ([]retention.Explanation, error) {
	name := job.Definition().Name
	var declared map[string]any
	row, err := c.Job(ctx, name)
	switch {
	case errors.Is(err, jobs.ErrUnknownJob):
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(row.Parameters, &declared); err != nil {
			return nil, fmt.Errorf("job %q: read its parameters: %w", name, err)
		}
	}
	parameters, err := jobs.Resolve(job.Definition(), declared, given)
	if err != nil {
		return nil, err
	}
	now, err := c.Now(ctx)
	if err != nil {
		return nil, err
	}
	return job.ExplainOn(ctx, &jobs.Run{
		Job: name, Now: now, DryRun: true, Parameters: parameters, Schema: c.statements.Schema(),
		Logger: slog.New(slog.DiscardHandler), Beginner: c.pool,
	})
}

// Job reads one job. The error wraps jobs.ErrUnknownJob if there is none.
func (c *Client) Job(ctx context.Context, name string) (Job, error) {
	return findJob(ctx, c.pool, c.statements, name, c.translate)
}

func findJob(ctx context.Context, db sql.Querier, statements *sql.Statements, name string, translate func(error) error) (Job, error) {
	list, err := statements.ListJobs(ctx, db, name)
	if err != nil {
		return Job{}, translate(err)
	}
	if name == "" || len(list) == 0 {
		return Job{}, fmt.Errorf("job %q: %w; list them with: scheduler jobs", name, jobs.ErrUnknownJob)
	}
	return list[0], nil
}

// NextTicks computes the next n ticks of a job after a time, whether it is
// paused or not.
func NextTicks(job Job, after time.Time, n int) ([]time.Time, error) {
	schedule, err := jobs.ParseSchedule(job.JobName, job.Schedule, job.Timezone)
	if err != nil {
		return nil, err
	}
	ticks := make([]time.Time, 0, n)
	for range n {
		after = schedule.Next(after)
		if after.IsZero() {
			break
		}
		ticks = append(ticks, after)
	}
	return ticks, nil
}

// listLimitDefault is how much a list holds where nothing else is said.
const listLimitDefault = 50

// Rollouts reads what the jobs in rollout would have changed so far, or the named one;
// an empty name means all.
func (c *Client) Rollouts(ctx context.Context, jobName string) ([]Rollout, error) {
	list, err := c.statements.ListRollouts(ctx, c.pool, jobName)
	return list, c.translate(err)
}

// Runs lists runs, newest first. A limit of zero or less means 50.
func (c *Client) Runs(ctx context.Context, filter RunFilter) ([]Run, error) {
	if filter.Limit <= 0 {
		filter.Limit = listLimitDefault
	}
	if filter.JobName != "" {
		if _, err := c.Job(ctx, filter.JobName); err != nil {
			return nil, err
		}
	}
	list, err := c.statements.ListRuns(ctx, c.pool, filter)
	return list, c.translate(err)
}

// Run reads one run. The error wraps [ErrRunNotFound] if there is none.
func (c *Client) Run(ctx context.Context, id int64) (Run, error) {
	run, err := c.statements.GetRun(ctx, c.pool, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return Run{}, fmt.Errorf("run %d: %w; list them with: scheduler runs", id, ErrRunNotFound)
	}
	return run, c.translate(err)
}

// Log reads what is kept of a run's log: see Config.LogLines. The error wraps
// [ErrRunNotFound] if there is no such run.
func (c *Client) Log(ctx context.Context, id int64) ([]LogLine, error) {
	if _, err := c.Run(ctx, id); err != nil {
		return nil, err
	}
	list, err := c.statements.ListLog(ctx, c.pool, id)
	return list, c.translate(err)
}

// Leader reads who leads; nil if nobody does.
func (c *Client) Leader(ctx context.Context) (*Leader, error) {
	row, err := c.statements.GetLeader(ctx, c.pool)
	return row, c.translate(err)
}

// Replicas lists the replicas that live.
func (c *Client) Replicas(ctx context.Context) ([]Replica, error) {
	list, err := c.statements.ListReplicas(ctx, c.pool)
	return list, c.translate(err)
}

// State reads whether the whole scheduler is paused, since when, by whom and why.
func (c *Client) State(ctx context.Context) (State, error) {
	state, err := c.statements.GetState(ctx, c.pool)
	return state, c.translate(err)
}

// Backfills lists the newest backfills, at most 50.
func (c *Client) Backfills(ctx context.Context) ([]Backfill, error) {
	list, err := c.statements.ListBackfills(ctx, c.pool, 0, listLimitDefault)
	return list, c.translate(err)
}

// Backfill reads one backfill. The error wraps [ErrBackfillNotFound] if there is
// none.
func (c *Client) Backfill(ctx context.Context, id int64) (Backfill, error) {
	list, err := c.statements.ListBackfills(ctx, c.pool, id, 1)
	if err != nil {
		return Backfill{}, c.translate(err)
	}
	if id == 0 || len(list) == 0 {
		return Backfill{}, fmt.Errorf("backfill %d: %w; list them with: scheduler backfills", id, ErrBackfillNotFound)
	}
	return list[0], nil
}

// waitInterval is how often Wait looks.
const waitInterval = 100 * time.Millisecond

// Wait returns a run when it has ended. Each time that it has changed meanwhile,
// seen is called with it; nil is allowed.
func (c *Client) Wait(ctx context.Context, id int64, seen func(Run)) (Run, error) {
	ticker := time.NewTicker(waitInterval)
	defer ticker.Stop()
	var last string
	for {
		run, err := c.Run(ctx, id)
		if err != nil {
			return Run{}, err
		}
		if state := string(run.Status) + string(run.Progress) + string(run.Targets); seen != nil && state != last {
			last = state
			seen(run)
		}
		if run.Status.Ended() {
			return run, nil
		}
		select {
		case <-ctx.Done():
			return run, ctx.Err()
		case <-ticker.C:
		}
	}
}

// translate gives the errors of our functions their sentinels.
func (c *Client) translate(err error) error {
	if err == nil {
		return nil
	}
	return translate(c.pool.Config().ConnConfig.User, err)
}

// translate gives the errors of our functions their sentinels. The server's
// message names the thing, its hint the fix. An empty role is not known.
func translate(user string, err error) error {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return err
	}
	sentinel := sentinelOf(pgErr.Code)
	if sentinel == nil {
		return explainPrivilege(user, err)
	}
	message := pgErr.Message
	if pgErr.Hint != "" {
		message += ". " + pgErr.Hint
	}
	return &clientError{message: message, sentinel: sentinel, cause: err}
}

type clientError struct {
	message  string
	sentinel error
	cause    error
}

func (e *clientError) Error() string { return e.message }

func (e *clientError) Unwrap() []error { return []error{e.sentinel, e.cause} }

// ParameterSpecs reads what a job's runs can be told, as the leader has declared it.
func ParameterSpecs(job Job) ([]jobs.Parameter, error) {
	var specs []jobs.Parameter
	if err := json.Unmarshal(job.ParameterSpecs, &specs); err != nil {
		return nil, fmt.Errorf("job %q: read what its parameters are: %w", job.JobName, err)
	}
	return specs, nil
}
