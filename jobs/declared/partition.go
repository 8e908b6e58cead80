package declared

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cron"
	"github.com/systempromptio/scheduler/jobs/retention"
	"github.com/systempromptio/scheduler/sql"
)

const (
	// ParameterAhead is how many partitions exist beyond the present one.
	ParameterAhead = "ahead"
	// ParameterMaxPartitions bounds the partitions of a run: with more, it is blocked
	// before it changes anything.
	ParameterMaxPartitions = "max_partitions"

	// AheadDefault is the default of [ParameterAhead] where none is configured.
	AheadDefault = 4
	// MaxPartitionsDefault is the default of [ParameterMaxPartitions].
	MaxPartitionsDefault = 500

	// OldDetach leaves an old partition as a table of its own.
	OldDetach = "detach"
	// OldDrop drops it, with its rows.
	OldDrop = "drop"

	aheadMax         = 1000
	maxPartitionsMax = 10_000
)

// The types of keys that partitions can be made for, as the server writes them.
const (
	typeDate        = "date"
	typeTimestamp   = "timestamp without time zone"
	typeTimestamptz = "timestamp with time zone"
)

// PartitionConfig says what a job of [Partition] does.
type PartitionConfig struct {
	// Definition describes the job. It has no parameters but those that Partition adds.
	Definition jobs.Definition

	// Table is the partitioned table, as it is written in SQL. It is partitioned by RANGE
	// on one column of the type date, timestamp or timestamptz. Required.
	Table string

	// Every is how long a partition is: "1 day", "3 months", "6 hours". Partitions begin
	// where the calendar does: days at midnight, weeks on Monday, months on the 1st.
	// Required.
	Every string

	// Ahead is how many partitions exist beyond the present one. Zero means
	// [AheadDefault]. It is the default of the parameter [ParameterAhead].
	Ahead int

	// Keep is how long ago a partition must have ended to be old, such as "90 days". Empty
	// means that none ever is.
	Keep string

	// Old says what becomes of old partitions: [OldDetach], or empty, leaves them as tables
	// of their own, [OldDrop] drops them with their rows.
	Old string

	// Name is the template of new partitions' names, with {table} and the parts of the time
	// at which they begin between braces, such as "{table}_{YYYY}_{MM}". Empty means
	// {table}_p{YYYYMMDD}, or {table}_p{YYYYMMDD_HH24MISS} for partitions of hours.
	Name string

	// TimeZone is the IANA name of the zone in which days begin. Empty means UTC. For a key
	// without a time zone it only says what time it is now. Partitions of hours of a
	// timestamptz are those of UTC.
	TimeZone string
}

// PartitionJob makes the next partitions of a table and takes old ones. It is safe for
// concurrent use.
type PartitionJob struct {
	definition jobs.Definition
	table      string
	every      span
	keep       *span
	isDrop     bool
	name       nameTemplate
	zone       *time.Location
}

var (
	_ jobs.BatchJob       = (*PartitionJob)(nil)
	_ jobs.Checker        = (*PartitionJob)(nil)
	_ retention.Explainer = (*PartitionJob)(nil)
)

// Partition makes a job that keeps a table partitioned by time: it makes the partitions
// that are missing, from the end of the last one until Ahead after the present one, and
// takes those that ended longer than Keep ago out of the table, or drops them.
//
// What exists is known by its bounds, whoever made it and whatever it is called. A new
// partition begins where another ends, or where a step of the calendar begins. The
// default partition, and one without an upper end, is never taken.
//
// Each partition is a transaction of its own, that takes its locks for a moment, or gives
// way and tries again. The error joins a [*jobs.FieldError] for each part that is wrong.
func Partition(config PartitionConfig) (*PartitionJob, error) {
	j := &PartitionJob{table: config.Table, definition: labelled(config.Definition, "partitions"), isDrop: config.Old == OldDrop}
	var errs []error
	check := func(field string, err error) {
		if err != nil {
			errs = append(errs, &jobs.FieldError{Field: "partition." + field, Err: err})
		}
	}
	if strings.TrimSpace(config.Table) == "" {
		check("table", errors.New("is empty; name the partitioned table"))
	}
	var err error
	if j.every, err = parseSpan(config.Every); err == nil {
		err = j.every.checkStep()
	}
	check("every", err)
	if err == nil {
		j.name, err = newNameTemplate(config.Name, j.every)
		check("name", err)
	}
	if config.Keep != "" {
		keep, err := parseSpan(config.Keep)
		check("keep", err)
		j.keep = &keep
	}
	if !slices.Contains([]string{"", OldDetach, OldDrop}, config.Old) {
		check("old", fmt.Errorf("is %q, must be %s or %s", config.Old, OldDetach, OldDrop))
	}
	if config.Old != "" && config.Keep == "" {
		check("old", errors.New("without keep, no partition is ever old: say how long they are kept, or leave it out"))
	}
	if config.Ahead < 0 || config.Ahead > aheadMax {
		check("ahead", fmt.Errorf("is %d, must be from 1 to %d", config.Ahead, aheadMax))
	}
	j.zone, err = cron.LoadLocation(config.TimeZone)
	check("timezone", err)
	for _, p := range config.Definition.Parameters {
		errs = append(errs, &jobs.FieldError{Field: "parameters." + p.Name, Err: fmt.Errorf("a partition job has no parameters but %s and %s; leave it out", ParameterAhead, ParameterMaxPartitions)})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if config.Ahead == 0 {
		config.Ahead = AheadDefault
	}
	j.definition.Parameters = []jobs.Parameter{
		{
			Name: ParameterAhead, Description: "How many partitions exist beyond the present one.",
			Type: jobs.TypeInteger, Default: config.Ahead, Minimum: jobs.Bound(1), Maximum: jobs.Bound(aheadMax),
		},
		{
			Name: ParameterMaxPartitions, Description: "A run that would make and take more partitions is blocked before it begins.",
			Type: jobs.TypeInteger, Default: MaxPartitionsDefault, Minimum: jobs.Bound(1), Maximum: jobs.Bound(maxPartitionsMax),
		},
	}
	return j, nil
}

// Definition describes the job.
func (j *PartitionJob) Definition() jobs.Definition { return j.definition }

// Start begins an attempt. What an earlier one has done is seen in the table.
func (j *PartitionJob) Start(_ context.Context, run *jobs.Run) (jobs.Batches, error) {
	w := &partitionWork{job: j, run: run, sql: sql.For(run.Schema)}
	if len(run.Cursor) > 0 {
		if err := json.Unmarshal(run.Cursor, &w.done); err != nil {
			return nil, jobs.Permanent(fmt.Errorf("the run's cursor %s is not one of a partition job; if the job was another kind when the run began, run it anew: %w", run.Cursor, err))
		}
	}
	return w, nil
}

// Check sees whether the table is one that partitions can be made for, and may be.
func (j *PartitionJob) Check(ctx context.Context, run *jobs.Run) error {
	savepoint, err := run.Tx.Begin(ctx)
	if err != nil {
		return fmt.Errorf("check the table: %w", err)
	}
	defer func() { _ = savepoint.Rollback(ctx) }() // nothing was changed
	table, err := j.look(ctx, savepoint, sql.For(sql.SchemaDefault))
	if err == nil {
		err = j.checkTable(table)
	}
	return err
}

const fieldPartitionTable = "partition.table"

func (j *PartitionJob) look(ctx context.Context, tx pgx.Tx, s *sql.Statements) (sql.PartitionedTable, error) {
	table, err := s.PartitionedTable(ctx, tx, j.table)
	var pg *pgconn.PgError
	if errors.As(err, &pg) && slices.Contains([]string{"42602", "42601", "22023"}, pg.Code) { // invalid_name, and what regclass makes of others
		return table, &jobs.FieldError{Field: fieldPartitionTable, Err: fmt.Errorf("%q is no table's name: write one as in SQL, with what needs it in double quotes: %w", j.table, err)}
	}
	return table, err
}

// checkTable says why partitions cannot be made for a table.
func (j *PartitionJob) checkTable(t sql.PartitionedTable) error {
	refuse := func(format string, args ...any) error {
		return &jobs.FieldError{Field: fieldPartitionTable, Err: fmt.Errorf(format, args...)}
	}
	switch {
	case t.OID == 0:
		return refuse("there is no table %s where the search_path of the scheduler's role leads: create it, or name its schema", j.table)
	case t.Kind != "p":
		return refuse("%s is not partitioned: CREATE TABLE … PARTITION BY RANGE (column) makes one that is", j.table)
	case t.Strategy != "r":
		return refuse("%s is partitioned by LIST or HASH, which have no next partition: only RANGE does", j.table)
	case t.Columns != 1:
		return refuse("%s is partitioned by %d columns: only one, of a time, has a next partition", j.table, t.Columns)
	case t.Key == "":
		return refuse("%s is partitioned by an expression: only a column is understood", j.table)
	case !slices.Contains([]string{typeDate, typeTimestamp, typeTimestamptz}, t.Type):
		return refuse("%s is partitioned by %s, of type %s: only date, timestamp and timestamptz are understood", j.table, t.Key, t.Type)
	case t.IsTemporary:
		return refuse("%s is temporary, of one session: a job works on others", j.table)
	case !t.IsOwner:
		return refuse("%s belongs to %s, and only the owner may attach and detach partitions: GRANT %s to the scheduler's role, or ALTER TABLE %s OWNER TO it", j.table, t.Owner, t.Owner, j.table)
	case !t.MayCreate:
		return refuse("the scheduler's role may not create tables in the schema %s: GRANT CREATE ON SCHEMA %s", t.Schema, t.Schema)
	case t.Type == typeDate && j.every.unit == unitHour:
		return &jobs.FieldError{Field: "partition.every", Err: fmt.Errorf("is %v, and %s is partitioned by a date: use days, or longer", j.every, j.table)}
	}
	return nil
}

// ExplainOn shows which partitions a run would make, and which it would take, with their
// bounds and statements, in the database of a run. Of the run it needs the schema, the
// parameters, Now and the beginner.
func (j *PartitionJob) ExplainOn(ctx context.Context, run *jobs.Run) ([]retention.Explanation, error) {
	w := &partitionWork{job: j, run: run, sql: sql.For(run.Schema)}
	err := w.plan(ctx)
	if jobs.IsBlocked(err) {
		return []retention.Explanation{{Target: targetCreated, Table: j.table, Action: "CREATE", Problem: err.Error()}}, nil
	}
	if err != nil {
		return nil, err
	}
	made := retention.Explanation{Target: targetCreated, Table: w.table.Name, Action: "CREATE"}
	taken := retention.Explanation{Target: j.takenTarget(), Table: w.table.Name, Action: strings.ToUpper(j.oldWord())}
	var created, old []string
	for _, s := range w.steps {
		switch {
		case s.problem != "":
			made.Problem = joinLines(made.Problem, s.problem)
		case s.take != nil:
			old = append(old, fmt.Sprintf("%s from %s to %s", takenName(*s.take), w.formatBound(s.take.Lower), w.formatBound(s.take.Upper)))
		default:
			created = append(created, fmt.Sprintf("%s from %s to %s", s.making.Name, w.format(s.window.lower), w.format(s.window.upper)))
			made.Batch = append(made.Batch, s.making.Make)
			if s.making.Own != "" {
				made.Batch = append(made.Batch, s.making.Own)
			}
			made.Batch = append(made.Batch, s.making.Attach)
		}
	}
	made.Plan = fmt.Sprintf("%d to be created: %s", len(created), listed(created))
	list := []retention.Explanation{made}
	if j.keep != nil {
		taken.Plan = fmt.Sprintf("%d that ended at %s or before: %s", len(old), w.format(w.calendar.cutoff(*j.keep)), listed(old))
		if taken.Batch, err = w.takings(ctx); err != nil {
			return nil, err
		}
		list = append(list, taken)
	}
	return list, nil
}

func (j *PartitionJob) oldWord() string {
	if j.isDrop {
		return OldDrop
	}
	return OldDetach
}

// The targets under which the ledger counts partitions.
const (
	targetCreated  = "created"
	targetDetached = "detached"
	targetDropped  = "dropped"
)

func (j *PartitionJob) takenTarget() string {
	if j.isDrop {
		return targetDropped
	}
	return targetDetached
}

// listedMax is the most names in one line.
const listedMax = 10

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	text := strings.Join(names[:min(len(names), listedMax)], ", ")
	if len(names) > listedMax {
		text += fmt.Sprintf(", and %d more", len(names)-listedMax)
	}
	return text
}

func joinLines(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// takenName is a partition's name, with about how many rows it has.
func takenName(p sql.Partition) string {
	if p.Tuples < 0 {
		return p.Name
	}
	return fmt.Sprintf("%s (about %.0f rows)", p.Name, p.Tuples)
}
