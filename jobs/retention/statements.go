package retention

import (
	"context"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/sql"
)

// statement is a text and the names of its arguments.
type statement struct {
	text  string
	names []string
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
	named := make(pgx.StrictNamedArgs, len(s.names))
	for _, name := range s.names {
		if value, ok := values[name]; ok {
			named[name] = value
		}
	}
	return []any{pgx.QueryExecModeDescribeExec, named}
}

func (s statement) exec(ctx context.Context, db sql.Querier, values arguments) (int64, error) {
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

// statements are those of one rule, for one schema and one variant of the rule.
type statements struct {
	rule     string
	count    statement
	pass     statement
	prune    statement // only for updates
	lock     statement
	children []statement // one for each Child
	apply    statement
	mark     statement // only with a Mark
	met      statement // only with a Mark
}

// newStatements makes the statements around the text of a rule. taken are the texts
// of earlier rules that delete rows of the same table.
func newStatements(s *sql.Statements, rule Rule, text string, taken []string) statements {
	shape := func(name string, more ...string) string {
		return s.Shape(name, append(more, "{rule}", text, "{table}", rule.Table, "{set}", rule.Set)...)
	}
	st := statements{rule: s.InSchema(text)}
	counted := make([]string, 0, len(taken)+1)
	for _, one := range append([]string{text}, taken...) {
		counted = append(counted, "(\n"+one+"\n)")
	}
	st.count = newStatement(s.Shape("count", "{rule}", strings.Join(counted, "\nEXCEPT\n")))

	var apply string
	if rule.Set != "" {
		st.pass = newStatement(shape("pass_waves"))
		st.prune = newStatement(shape("prune"))
		st.lock = newStatement(shape("lock_set"))
		apply = shape("set")
	} else {
		st.pass = newStatement(shape("pass"))
		st.lock = newStatement(shape("lock"))
		apply = shape("delete")
	}
	for i, child := range rule.Children {
		keys := []string{
			"{child}", child.Table, "{column}", child.Column, "{references}", child.References, "{locked}", childrenArgument(i),
		}
		st.children = append(st.children, newStatement(shape("lock_children", keys...)))
		apply += "\n" + shape("and_children", keys...)
	}
	if rule.Mark != nil {
		st.mark = newStatement(s.Shape("mark", "{table}", rule.Mark.Table, "{column}", rule.Mark.Column))
		st.met = newStatement(shape("met"))
		apply += "\n" + shape("and_unchanged")
	}
	st.apply = newStatement(apply)
	return st
}

func childrenArgument(i int) string { return "_children_" + strconv.Itoa(i) }

// Explanation shows what the engine does for one rule, as the statements that it
// sends: those for a database that has every table and column.
type Explanation struct {
	// Target is the rule's target, Table its table.
	Target, Table string
	// Action is "DELETE", or "SET" and what is set.
	Action string
	// Requires lists the tables and columns without which the target is absent.
	Requires []string
	// Optional lists the tables and columns that have a part in the rule where they
	// exist.
	Optional []string
	// Rule is the rule itself.
	Rule string
	// Count is the dry run.
	Count string
	// Pass notes the candidates.
	Pass string
	// Batch lists the statements of a batch, in their order: those that lock, and
	// the one that deletes or updates.
	Batch []string
}

// Explain shows what the job does for each of its rules, in their order, for the
// scheduler's schema.
func (j *Job) Explain(schema string) []Explanation {
	s := sql.For(schema)
	explanations := make([]Explanation, 0, len(j.rules))
	var texts []string
	for i, r := range j.rules {
		text := r.text.whole()
		var taken []string
		for _, e := range j.deletesBefore(i) {
			taken = append(taken, texts[e])
		}
		texts = append(texts, text)
		st := newStatements(s, r.Rule, text, taken)
		e := Explanation{
			Target: r.Target, Table: s.InSchema(r.Table), Action: strings.TrimSpace("SET " + r.Set),
			Requires: relationNames(s, r.requires()), Optional: relationNames(s, r.text.optional()),
			Rule: st.rule, Count: st.count.text, Pass: st.pass.text, Batch: []string{st.lock.text},
		}
		if r.Set == "" {
			e.Action = "DELETE"
		}
		for _, child := range st.children {
			e.Batch = append(e.Batch, child.text)
		}
		e.Batch = append(e.Batch, st.apply.text)
		explanations = append(explanations, e)
	}
	return explanations
}

func relationNames(s *sql.Statements, relations []sql.Relation) []string {
	var names []string
	for _, r := range relations {
		names = append(names, s.InSchema(r.String()))
	}
	return names
}
