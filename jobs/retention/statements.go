package retention

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/sql"
)

// statement is a text and the names of its arguments.
type statement struct {
	text  string
	names []string
	// archives: it returns how many rows it deletes, and how many it archives.
	archives bool
}

func newStatement(text string) statement {
	r := ruleText{parts: []textPart{{text: text}}}
	return statement{text: text, names: r.arguments()}
}

// arguments are the values of a run's arguments. The engine's own begin with an
// underscore, which no parameter can.
type arguments map[string]any

// args picks the statement's own arguments, after the mode in which it is sent.
//
// A statement is planned for its values each time: a generic plan knows neither how
// few rows a batch has nor how little lies above a mark. It is not prepared on the
// connection, and the foreign keys' own statements keep their plans, which
// plan_cache_mode would take from them.
func (s statement) args(values arguments) []any {
	return []any{pgx.QueryExecModeDescribeExec, s.named(values)}
}

func (s statement) named(values arguments) sql.Arguments {
	named := make(sql.Arguments, len(s.names))
	for _, name := range s.names {
		if value, ok := values[name]; ok {
			named[name] = value
		}
	}
	return named
}

// errNotArchived: a trigger of the archive's drops rows, or puts them elsewhere.
var errNotArchived = errors.New("the archive has not taken every row: look at its triggers")

// exec returns how many rows the statement has changed.
func (s statement) exec(ctx context.Context, db sql.Querier, values arguments) (int64, error) {
	if s.archives {
		var gone, kept int64
		if err := s.queryRow(ctx, db, values).Scan(&gone, &kept); err != nil {
			return 0, err
		}
		if gone != kept {
			return 0, errNotArchived
		}
		return gone, nil
	}
	tag, err := db.Exec(ctx, s.text, s.args(values)...)
	return tag.RowsAffected(), err
}

func (s statement) queryRow(ctx context.Context, db sql.Querier, values arguments) pgx.Row {
	return db.QueryRow(ctx, s.text, s.args(values)...)
}

func queryColumn[T any](ctx context.Context, db sql.Querier, s statement, values arguments) ([]T, error) {
	rows, err := db.Query(ctx, s.text, s.args(values)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}

// statements are those of one rule, for one table, or one partition, and one variant
// of the rule.
type statements struct {
	rule     string
	count    statement
	pass     statement
	prune    statement // only for updates
	lock     statement
	children []statement // one for each Child: fails if a row is locked
	apply    statement
	// Those that take the place of the last two, if rows below were locked.
	childrenFree []statement // passes over them
	applyFree    statement   // leaves out rows with a row below that is not among them
	mark         statement   // only with a Mark

	// Those of a rule of the direct form; see plan.
	explain  statement
	rows     statement
	span     statement // only for deletes
	unlocked statement // only for deletes
	everyRow statement // only for deletes
	passSpan statement // only for deletes
}

// shapes makes the statements around the text of a rule.
type shapes struct {
	sql     *sql.Statements
	rule    Rule
	text    string
	direct  *direct
	table   string
	archive archive
}

// archive says where deleted rows go: nowhere, as JSON to the scheduler's own table, or
// to a table that has these columns.
type archive struct {
	isJSON  bool
	table   string
	columns []string
}

func (x shapes) make(name string, more ...string) string {
	keys := slices.Concat(more, []string{
		"{rule}", x.text, "{set}", x.rule.Set, "{strength}", "UPDATE",
		"{and_same_file}", x.sameFile("t"),
	})
	if x.direct != nil {
		keys = append(keys, "{alias}", x.direct.alias, "{condition}", x.direct.condition)
	}
	// The table comes last: it may be in any schema.
	return strings.ReplaceAll(x.sql.Shape(name, keys...), tableKey, x.table)
}

// sameFile is a condition on the table of that alias.
func (x shapes) sameFile(alias string) string {
	return x.sql.Shape("and_same_file", "{same}", alias, "{is_part}", x.sql.Shape("is_part"))
}

// archived makes a statement that deletes pass on what it deletes; alias is that of
// the table in it.
func (x shapes) archived(text, alias string) statement {
	keys := []string{"{delete}", text, "{returning}", alias}
	switch {
	case x.archive.table != "":
		keys = append(keys, "{archive}", x.archive.table, "{columns}", strings.Join(x.archive.columns, ", "))
		text = x.make("archive_table", keys...)
	case x.archive.isJSON:
		text = x.make("archive_json", keys...)
	default:
		return newStatement(text)
	}
	st := newStatement(text)
	st.archives = true
	return st
}

// newStatements makes the statements of a rule. taken are the texts of earlier rules
// that delete rows of the same table.
func newStatements(x shapes, taken []string) statements {
	st := statements{rule: strings.ReplaceAll(x.sql.InSchema(x.text), tableKey, x.table)}
	counted := make([]string, 0, len(taken)+1)
	for _, one := range append([]string{x.text}, taken...) {
		counted = append(counted, "(\n"+one+"\n)")
	}
	st.count = newStatement(x.make("count", "{rule}", strings.Join(counted, "\nEXCEPT\n")))
	st.pass = newStatement(x.make("pass"))
	apply, strength := "delete", "UPDATE"
	if x.rule.Set != "" {
		apply, strength = "set", "NO KEY UPDATE"
		st.prune = newStatement(x.make("prune"))
	}
	st.lock = newStatement(x.make("lock", "{strength}", strength))
	var ifFree, and string
	for i, child := range x.rule.Children {
		keys := []string{
			"{child}", child.Table, "{column}", child.Column, "{references}", child.References, "{locked}", childrenArgument(i),
		}
		st.children = append(st.children, newStatement(x.make("lock_children", append(keys, "{else}", "NOWAIT")...)))
		st.childrenFree = append(st.childrenFree, newStatement(x.make("lock_children", append(keys, "{else}", "SKIP LOCKED")...)))
		ifFree += "\n" + x.make("and_children", keys...)
	}
	if x.rule.Mark != nil {
		st.mark = newStatement(x.sql.Shape("mark", tableKey, x.rule.Mark.Table, "{column}", x.rule.Mark.Column))
		shape, by := "pass_written", "t.xmin"
		if x.direct != nil {
			shape, by = "pass_written_direct", x.direct.alias+".xmin"
		}
		st.pass = newStatement(x.make(shape, "{written}", x.make("written", "{written_by}", by)))
		and = "\n" + x.make("and_unchanged")
	}
	st.apply = x.archived(x.make(apply, "{and}", and), "t")
	st.applyFree = x.archived(x.make(apply, "{and}", ifFree+and), "t")
	if x.direct != nil {
		st.explain = newStatement(x.make("explain"))
		st.rows = x.archived(x.make(apply+"_rows"), "t")
		if x.rule.Set == "" {
			st.span = x.archived(x.make("delete_range", "{and_same_file}", x.sameFile(x.direct.alias)), x.direct.alias)
			st.unlocked = x.archived(x.make("delete_range_unlocked"), "t")
			st.everyRow = newStatement(x.make("every_row"))
			st.passSpan = newStatement(x.make("pass_span"))
		}
	}
	return st
}

func childrenArgument(i int) string { return "_children_" + strconv.Itoa(i) }

func relationNames(s *sql.Statements, relations []sql.Relation) []string {
	var names []string
	for _, r := range relations {
		names = append(names, s.InSchema(r.String()))
	}
	return names
}
