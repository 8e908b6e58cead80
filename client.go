package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

type (
	// Job is a job as the view jobs shows it.
	Job = sql.JobRow
	// Run is a run as the view runs shows it.
	Run = sql.RunRow
	// Leader is who leads.
	Leader = sql.LeaderRow
	// Replica is a replica that lives.
	Replica = sql.ReplicaRow
	// RunFilter selects runs.
	RunFilter = sql.RunFilter
)

var (
	// ErrJobNotRunnable: the job is paused, or the leader does not know it.
	ErrJobNotRunnable = errors.New("job cannot be run now")

	// ErrRunNotFound: no run of that id is in the ledger.
	ErrRunNotFound = errors.New("run not found")

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
	}
	return nil
}

// Client reads and steers a fleet through its views and functions: what it does
// can be done in psql as well. It is safe for concurrent use.
type Client struct {
	pool       *pgxpool.Pool
	statements *sql.Statements
}

// NewClient connects to the database and checks its schema. An empty schema means
// [SchemaDefault]. The errors are those of [Scheduler.Run].
func NewClient(ctx context.Context, databaseURL, schema string) (*Client, error) {
	if schema == "" {
		schema = SchemaDefault
	}
	if err := sql.CheckSchema(schema); err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("database_url: %w", err)
	}
	config.MaxConns = 2
	// Behind a pooler in transaction mode, named prepared statements may be another
	// client's, or gone.
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
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

// Close closes the connections.
func (c *Client) Close() { c.pool.Close() }

// Jobs lists all jobs, by name.
func (c *Client) Jobs(ctx context.Context) ([]Job, error) {
	return c.statements.ListJobs(ctx, c.pool, "")
}

// Job reads one job. The error wraps jobs.ErrUnknownJob if there is none.
func (c *Client) Job(ctx context.Context, name string) (Job, error) {
	list, err := c.statements.ListJobs(ctx, c.pool, name)
	if err != nil {
		return Job{}, err
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

// Runs lists runs, newest first. A limit of zero or less means 50.
func (c *Client) Runs(ctx context.Context, filter RunFilter) ([]Run, error) {
	if filter.Limit <= 0 {
		filter.Limit = 50
	}
	if filter.JobName != "" {
		if _, err := c.Job(ctx, filter.JobName); err != nil {
			return nil, err
		}
	}
	return c.statements.ListRuns(ctx, c.pool, filter)
}

// Run reads one run. The error wraps [ErrRunNotFound] if there is none.
func (c *Client) Run(ctx context.Context, id int64) (Run, error) {
	run, err := c.statements.GetRun(ctx, c.pool, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return Run{}, fmt.Errorf("run %d: %w; list them with: scheduler runs", id, ErrRunNotFound)
	}
	return run, err
}

// Leader reads who leads; nil if nobody does.
func (c *Client) Leader(ctx context.Context) (*Leader, error) {
	return c.statements.GetLeader(ctx, c.pool)
}

// Replicas lists the replicas that live.
func (c *Client) Replicas(ctx context.Context) ([]Replica, error) {
	return c.statements.ListReplicas(ctx, c.pool)
}

// RunNow asks for a run and returns its id. Parameters are set over the job's
// own; a nil dryRun leaves that to the job. The leader decides about it within
// milliseconds. The error wraps jobs.ErrUnknownJob, jobs.ErrInvalidParameter or
// [ErrJobNotRunnable]; then nothing was recorded.
func (c *Client) RunNow(ctx context.Context, name string, parameters map[string]any, dryRun *bool) (int64, error) {
	if parameters == nil {
		parameters = map[string]any{}
	}
	encoded, err := json.Marshal(parameters)
	if err != nil {
		return 0, fmt.Errorf("job %q: %w: %w", name, jobs.ErrInvalidParameter, err)
	}
	id, err := c.statements.RunNow(ctx, c.pool, name, encoded, dryRun)
	return id, translate(err)
}

// Pause stops a job from being enqueued until [Client.Resume]. A run that has
// begun goes on. A reason is required.
func (c *Client) Pause(ctx context.Context, name, reason string) error {
	return translate(c.statements.PauseJob(ctx, c.pool, name, reason))
}

// Resume lets a paused job run again, from now on.
func (c *Client) Resume(ctx context.Context, name string) error {
	return translate(c.statements.ResumeJob(ctx, c.pool, name))
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
		if state := run.Status + string(run.Progress) + string(run.Targets); seen != nil && state != last {
			last = state
			seen(run)
		}
		if jobs.Status(run.Status).Ended() {
			return run, nil
		}
		select {
		case <-ctx.Done():
			return run, ctx.Err()
		case <-ticker.C:
		}
	}
}

// translate gives the errors of our functions their sentinels. The server's
// message names the thing, its hint the fix.
func translate(err error) error {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return err
	}
	sentinel := sentinelOf(pgErr.Code)
	if sentinel == nil {
		return err
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
