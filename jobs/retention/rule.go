package retention

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/systempromptio/scheduler/jobs"
)

// Rule says which rows of a table go, and how.
type Rule struct {
	// Target is the name under which the ledger counts the rows: lower-case
	// letters, digits and underscores. Required, unique within a job.
	Target string

	// Table is the table whose rows go, as it is written in SQL. Unqualified, the
	// application's search_path finds it; "scheduler.", here and in SQL, stands for
	// the scheduler's own schema. Where the table does not exist, the target is
	// absent. Required.
	Table string

	// SQL selects the ctid of each row to go, once: one column, of Table. Required, if
	// there is no Condition.
	//
	// Write Table as {table} in it:
	//
	//	SELECT l.ctid FROM {table} l WHERE l.created_at < @now::timestamptz - interval '30 days'
	//
	// In this form, with a single table in FROM, the engine can work the partitions of
	// a table one by one, and a rule that looks at nothing but the row itself in larger
	// batches. A function of one's own that reads tables hides that from the engine:
	// it then takes the careful way.
	//
	// Its arguments are written @name: the job's parameters, the mark, and @now, the
	// database's clock at the start of the attempt. It should be a plain SELECT: the
	// batches ask it about rows by their ctids, and DISTINCT, GROUP BY, LIMIT, window
	// functions or UNION may keep the planner from looking at those rows alone.
	//
	// Comment lines of three forms make it fit databases of different age:
	//
	//	-- requires: users, orders(paid_at)
	//	-- if exists: invoices
	//	-- end
	//
	// Where a required table or column is missing, the target is absent: a rule that
	// asks for rows without a partner must never take a missing table for one without
	// rows. Lines between "if exists" and "end" count only where all that is named
	// exists; such blocks do not nest.
	SQL string

	// Condition, in the place of SQL, is what follows WHERE in the form above, with the
	// alias t. It is for rules that come from a configuration: [Job.Check] proves against
	// the database that it is one condition, and that the rest of the rule fits.
	Condition string

	// Optional has [Job.Check] accept that the table of a rule with a Condition does not
	// exist: the target is absent then.
	Optional bool

	// Set, if not empty, updates the rows instead of deleting them, such as
	// "ended_at = now()". An updated row should not be named by the rule any more.
	Set string

	// ArchiveTable, if not empty, is a table that takes the rows that a rule deletes, in
	// the statement that deletes them. It has the columns of Table, and may have more
	// with defaults; a run is blocked while it lacks one. LIKE … INCLUDING ALL makes one
	// that will do. A row that it refuses stays. Optional; see also the parameter
	// [ParameterArchive].
	ArchiveTable string

	// Children are tables whose rows refer to the rows to go and to which others
	// refer in turn. Optional; only for rules that delete.
	Children []Child

	// Mark spares the batches a look through a big table without an index. Optional.
	Mark *Mark

	// OffFunc, if not nil, leaves the target out for the given parameters, if it
	// returns a reason. Optional.
	OffFunc func(parameters jobs.Parameters) (reason string)
}

// Child is a table below a rule's table, in which rows can be inserted that keep a
// row alive without a lock on that row itself.
//
// With a foreign key, whoever inserts below a row locks that row, and the engine
// passes over what is locked. But an insert below a row of Table locks only that. So
// a batch locks the rows of Table as well, and leaves out rows of which it could not
// lock all children.
type Child struct {
	// Table is the child table. It must have an index on Column. It is required, as
	// by "-- requires:".
	Table string
	// Column of Table holds the reference, with a foreign key.
	Column string
	// References is the column of the rule's table that is referred to.
	References string
}

// Mark lets a rule that must look through a big table without an index do so once,
// in the pass, and in the batches look only at what came since. The rule says
//
//	NOT EXISTS (SELECT FROM messages m WHERE m.topic = t.topic AND m.id > @mark::bigint)
//
// In a dry run and in the pass the mark lies below every bigint; in the batches it
// is the highest id that was committed before the pass. The pass begins when every
// transaction has ended that may have taken a lower id and not committed it yet.
//
// This relies on ids in ascending order: a sequence with CACHE above 1 is refused.
// Rows that are given an old id by hand, or changed after the pass so that they name
// another row, are not seen.
type Mark struct {
	// Name is the argument in the rule, without "@".
	Name string
	// Table is the big table. It is required, as by "-- requires:".
	Table string
	// Column is its integer key, with an index.
	Column string
}

var (
	targetRE   = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	argumentRE = regexp.MustCompile(`@([A-Za-z_][A-Za-z0-9_]*)`)
)

// argumentNow is the argument that is the start of the attempt.
const argumentNow = "now"

// check says what is wrong with a rule of a job that declares parameters.
func (r Rule) check(text ruleText, parameters []jobs.Parameter) error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !targetRE.MatchString(r.Target) {
		refuse("Target: a name is lower-case letters, digits and underscores and starts with a letter")
	}
	if r.Table == "" {
		refuse("Table is empty: name the table whose rows go")
	}
	if problem := r.checkForm(text); problem != "" {
		refuse("%s", problem)
	}
	if r.Set != "" && r.ArchiveTable != "" {
		refuse("ArchiveTable is only for rules that delete: leave out Set or ArchiveTable")
	}
	if r.Set != "" && len(r.Children) > 0 {
		refuse("Children is only for rules that delete: leave out Set or Children")
	}
	for _, c := range r.Children {
		if c.Table == "" || c.Column == "" || c.References == "" {
			refuse("Children: %+v: all of Table, Column and References are needed", c)
		}
	}
	if strings.Count(text.whole(), tableKey) > 1 {
		refuse("SQL: write %s once, for the table whose rows go, and others by their names: in a partition it stands for that alone", tableKey)
	}
	used := text.arguments()
	known := []string{argumentNow}
	for _, p := range parameters {
		known = append(known, p.Name)
	}
	if r.Mark != nil {
		if r.Mark.Name == "" || r.Mark.Table == "" || r.Mark.Column == "" {
			refuse("Mark: %+v: all of Name, Table and Column are needed", *r.Mark)
		}
		if slices.Contains(known, r.Mark.Name) || strings.HasPrefix(r.Mark.Name, "_") {
			refuse("Mark: Name %q is taken: choose another", r.Mark.Name)
		}
		if !slices.Contains(used, r.Mark.Name) {
			refuse("Mark: SQL does not use @%s", r.Mark.Name)
		}
		known = append(known, r.Mark.Name)
	}
	for _, name := range used {
		if !slices.Contains(known, name) {
			refuse("SQL: @%s is neither @now, nor the mark, nor a parameter of the job: declare it in the job's definition", name)
		}
	}
	for _, name := range newStatement(r.Set).names {
		if !slices.Contains(known, name) {
			refuse("Set: @%s is neither @now nor a parameter of the job: declare it in the job's definition", name)
		}
	}
	return errors.Join(errs...)
}

// checkForm says what is wrong with the rule's SQL, or with what it has in its place.
func (r Rule) checkForm(text ruleText) string {
	switch {
	case r.SQL != "" && r.Condition != "":
		return "SQL and Condition are both set: a rule has one of them"
	case r.Condition != "" && strings.TrimSpace(commentRE.ReplaceAllString(r.Condition, "")) == "":
		return "Condition is empty: say which rows are to go"
	case text.isEmpty():
		return "SQL is empty: give a SELECT of the ctid of the rows to go"
	}
	return ""
}

// source is the rule's SQL, in either form.
func (r Rule) source() string {
	if r.SQL == "" && r.Condition != "" {
		return "SELECT t.ctid FROM " + tableKey + " t WHERE (\n" + r.Condition + "\n)"
	}
	return r.SQL
}
