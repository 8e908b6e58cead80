package retention

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

const (
	// BatchTimeDefault is the time for which a batch aims to hold its locks, where
	// none is configured. Longer was slower, and worse for the application.
	BatchTimeDefault = 50 * time.Millisecond

	// BatchRowsMaxDefault is the most rows of a batch where none is configured.
	BatchRowsMaxDefault = 100_000

	// LockWaitDefault bounds the wait of a batch for a lock that it could not see
	// beforehand, where none is configured. It adds to the time for which the batch
	// holds its own.
	LockWaitDefault = 50 * time.Millisecond

	// LagMaxDefault is how many bytes of WAL a replica of the database may be behind
	// while a job goes on at its full rate, where no bound is configured.
	LagMaxDefault = 256 << 20

	// MaxShareDefault is the share of a table that a job which deletes may take without
	// being asked to, where none is configured.
	MaxShareDefault = 0.9

	// LagWaitDefault is how long a job waits in a minute for a replica of the database,
	// where none is configured.
	LagWaitDefault = 30 * time.Second

	// MarkWaitDefault bounds the wait for open transactions before the pass of a rule
	// with a mark, where none is configured.
	MarkWaitDefault = 30 * time.Second
)

// Config says what a cleanup job is.
type Config struct {
	// Definition is the job's definition. Its parameters are the rules' arguments.
	// Required. [New] adds the parameters that every cleanup job has.
	Definition jobs.Definition

	// Rules are worked in this order, each as a target of its own. Required.
	Rules []Rule

	// BatchTime is the time for which a batch aims to hold its locks. Zero means
	// [BatchTimeDefault]. It is the default of the parameter [ParameterBatchTime].
	BatchTime time.Duration

	// MaxRows is the default of the parameter [ParameterMaxRows]. Zero means no bound.
	MaxRows int64

	// MaxShare is the default of the parameter [ParameterMaxShare]. Zero means
	// [MaxShareDefault] for a job that deletes, and 1, no bound, for one that updates.
	MaxShare float64

	// Archive is the default of the parameter [ParameterArchive]. Empty means
	// [ArchiveNone]. Only for jobs that delete.
	Archive string

	// LagMax is how many bytes of WAL a replica of the database may be behind: beyond
	// that the job waits, or goes on slowly. It needs the privileges of
	// pg_read_all_stats. Zero means [LagMaxDefault]. In whole megabytes, at least one, it
	// is the default of the parameter [ParameterLagMax].
	LagMax int64

	// LagWait bounds the wait for a replica that does not catch up, once in a minute:
	// a replica that is behind on purpose, or for good, slows a run down, and does not
	// stop it. Zero means [LagWaitDefault].
	LagWait time.Duration

	// BatchRowsMax bounds the rows of a batch. Zero means [BatchRowsMaxDefault].
	BatchRowsMax int

	// LockWait bounds how long a batch waits, holding its locks, for one that
	// somebody else holds: on a row that a foreign key cascades to, or on a whole
	// table. The batch is then undone, and tried again with fewer rows. Zero means
	// [LockWaitDefault].
	LockWait time.Duration

	// MarkWait bounds the wait for open transactions before the pass of a rule with
	// a mark. When it is over the attempt fails, naming one of them. Zero means
	// [MarkWaitDefault].
	MarkWait time.Duration
}

// Job is a cleanup job made of rules. It is safe for concurrent use.
type Job struct {
	config     Config
	definition jobs.Definition
	rules      []parsedRule
}

// parsedRule is a rule with its text read.
type parsedRule struct {
	Rule

	text ruleText
}

// requires lists all that the rule cannot do without.
func (r parsedRule) requires() []sql.Relation {
	relations := []sql.Relation{{Relation: r.Table}}
	relations = append(relations, r.text.requires...)
	if r.ArchiveTable != "" {
		relations = append(relations, sql.Relation{Relation: r.ArchiveTable})
	}
	for _, c := range r.Children {
		relations = append(relations, sql.Relation{Relation: c.Table})
	}
	if r.Mark != nil {
		relations = append(relations, sql.Relation{Relation: r.Mark.Table})
	}
	return relations
}

var _ jobs.BatchJob = (*Job)(nil)

// New makes a job of rules. The error joins what is wrong with each of them.
func New(config Config) (*Job, error) {
	config = config.withDefaults()
	j := &Job{config: config}
	var errs []error
	if len(config.Rules) == 0 {
		errs = append(errs, errors.New("no Rules: give at least one"))
	}
	if config.BatchTime < 0 || config.BatchRowsMax < 0 || config.LockWait < 0 || config.MarkWait < 0 || config.MaxRows < 0 || config.LagMax < 0 || config.LagWait < 0 {
		errs = append(errs, errors.New("BatchTime, BatchRowsMax, LockWait, MarkWait, MaxRows, LagMax and LagWait cannot be negative"))
	}
	if config.MaxShare < 0 || config.MaxShare > 1 {
		errs = append(errs, fmt.Errorf("MaxShare is %v: it is a share, from 0 to 1", config.MaxShare))
	}
	if config.Archive != ArchiveNone && config.Archive != ArchiveJSON {
		errs = append(errs, fmt.Errorf("Archive is %q, must be %s or %s", config.Archive, ArchiveNone, ArchiveJSON))
	}
	if name := reservedParameter(config.Definition.Parameters); name != "" {
		errs = append(errs, fmt.Errorf("parameter %q: every cleanup job has one of that name: choose another", name))
	}
	seen := make(map[string]bool)
	for _, rule := range config.Rules {
		text, err := readRule(rule.source())
		if err == nil {
			err = rule.check(text, config.Definition.Parameters)
		}
		if err == nil && seen[rule.Target] {
			err = errors.New("its Target is used twice: each has a name of its own")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("rule %q: %w", rule.Target, err))
		}
		seen[rule.Target] = true
		j.rules = append(j.rules, parsedRule{Rule: rule, text: text})
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("job %q: %w: %w", config.Definition.Name, jobs.ErrInvalidJob, errors.Join(errs...))
	}
	// A copy: the caller may make variants of its own.
	j.definition = config.Definition
	j.definition.Parameters = slices.Concat(config.Definition.Parameters, j.parameters())
	return j, nil
}

// Must is [New] for an init: it panics if the job is refused, which is a mistake in
// the program.
func Must(config Config) *Job {
	j, err := New(config)
	if err != nil {
		panic(err)
	}
	return j
}

func (c Config) withDefaults() Config {
	c.Rules = slices.Clone(c.Rules)
	if c.BatchTime == 0 {
		c.BatchTime = BatchTimeDefault
	}
	if c.BatchRowsMax == 0 {
		c.BatchRowsMax = BatchRowsMaxDefault
	}
	if c.LockWait == 0 {
		c.LockWait = LockWaitDefault
	}
	if c.LagMax == 0 {
		c.LagMax = LagMaxDefault
	}
	if c.LagWait == 0 {
		c.LagWait = LagWaitDefault
	}
	if c.Archive == "" {
		c.Archive = ArchiveNone
	}
	if c.MarkWait == 0 {
		c.MarkWait = MarkWaitDefault
	}
	return c
}

// Config returns a copy of the job's configuration with its defaults filled in, of
// which [New] can make a variant.
func (j *Job) Config() Config { return j.config.withDefaults() }

// Definition describes the job.
func (j *Job) Definition() jobs.Definition { return j.definition }

// Start begins or resumes an attempt. It also deletes what ended runs of this or
// other jobs have left in the table of candidates; if that fails it only says so
// in the log.
func (j *Job) Start(ctx context.Context, run *jobs.Run) (jobs.Batches, error) {
	a := j.newAttempt(run)
	if len(run.Cursor) > 0 {
		if err := json.Unmarshal(run.Cursor, &a.cursor); err != nil {
			return nil, jobs.Permanent(fmt.Errorf("read the run's cursor %s: %w", run.Cursor, err))
		}
	}
	if !run.DryRun {
		a.dropLeftovers(ctx)
	}
	return a, nil
}

func (j *Job) newAttempt(run *jobs.Run) *attempt {
	a := &attempt{
		job:    j,
		run:    run,
		sql:    sql.For(run.Schema),
		values: make(arguments, len(run.Parameters)+1),
		rows:   run.Done.Rows(),

		counted: make(map[string]int64, len(j.rules)),
	}
	for target, done := range run.Done {
		a.counted[target] = done.Rows
	}
	a.sizers = newSizers(run.Parameters.Duration(ParameterBatchTime), j.config.BatchRowsMax)
	for name, value := range run.Parameters {
		if list, ok := value.([]string); ok {
			value = nonNil(list)
		}
		a.values[name] = value
	}
	a.values[argumentNow] = run.Now
	return a
}

// deletesBefore lists the rules before rule i that delete rows of the same table.
func (j *Job) deletesBefore(i int) []int {
	var before []int
	for e := range i {
		if j.rules[e].Table == j.rules[i].Table && j.rules[e].Set == "" {
			before = append(before, e)
		}
	}
	return before
}
