package retention

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/sql"
)

// way is the order in which the rows of a table are worked, and by what statements.
type way int

const (
	// wayRows: the rows in the order of the table.
	wayRows way = iota
	// wayWaves: the first row of every page, then the second of every page, and so on.
	// Rows of one page change in different transactions: a later one finds the room that
	// an earlier one's dead version left, stays on its page and touches no index (HOT).
	wayWaves
	// wayRanges: what the rule names on some consecutive pages at a time.
	wayRanges
)

// plan is how the rows of a table are worked, and why.
type plan struct {
	way way
	// oneStatement: a batch needs no second statement, since the rule looks at nothing
	// but the row itself.
	oneStatement bool
	// first is the size of the first batch, max the largest; 0: as configured.
	first, max int
	// expectedRows is how many rows the planner expects the rule to name; 0: unknown.
	expectedRows float64
	// isDense: the planner expects a good part of the table to go.
	isDense bool
	// hasDeferred: a constraint may be checked as late as the commit.
	hasDeferred bool
	// why is for people.
	why string
	// references are the foreign keys that a delete has to do with, triggers those that it
	// fires.
	references []sql.Reference
	triggers   []string
	// note is what people should know of the target.
	note string
	// lacking says which columns the archive lacks, and how to mend it.
	lacking []error
}

// newWork plans a rule for one part of its table.
func (a *attempt) newWork(ctx context.Context, v *variant, part sql.Part) (*work, error) {
	w := &work{parsedRule: v.parsedRule, part: part, root: v.root}
	x := shapes{sql: a.sql, rule: v.Rule, text: v.text, direct: readDirect(v.text), table: part.Name}
	var facts sql.TableFacts
	var expected expectation
	err := a.inTx(ctx, func(tx pgx.Tx) (err error) {
		event := "UPDATE"
		if v.Set == "" {
			event = "DELETE"
			if w.references, err = a.sql.References(ctx, tx, part.OID); err != nil {
				return err
			}
		}
		facts, err = a.sql.TableFacts(ctx, tx, sql.FactsWanted{
			Part: part.OID, Relation: a.sql.InSchema(v.Table), Event: event, Columns: setColumns(v.Set), Functions: functions(v.text), Archive: a.sql.InSchema(v.ArchiveTable),
		})
		if err != nil {
			return err
		}
		x.archive = a.archiveOf(v.Rule, facts.Columns)
		w.statements = newStatements(x, v.taken)
		if x.direct == nil {
			return nil
		}
		expected, err = a.explain(ctx, tx, w.explain, x.direct.alias)
		if errors.Is(err, errNotDirect) {
			x.direct = nil
			w.statements = newStatements(x, v.taken)
			return nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("plan the rule: %w", err)
	}
	w.plan = choose(w, x, facts, expected)
	for _, column := range facts.Lacking {
		w.lacking = append(w.lacking, fmt.Errorf("%[1]s lacks a column of %[2]s: ALTER TABLE %[1]s ADD COLUMN %[3]s", x.archive.table, part.Name, column))
	}
	if len(facts.StatementTriggers) > 0 {
		w.note = fmt.Sprintf("statement triggers of %s do not fire (%s): its partitions are worked one by one",
			a.sql.InSchema(v.Table), strings.Join(firstFew(facts.StatementTriggers), ", "))
	}
	return w, nil
}

// choose decides the way.
func choose(w *work, x shapes, facts sql.TableFacts, expected expectation) plan {
	p := plan{references: w.references, triggers: facts.Triggers, hasDeferred: facts.IsDeferrable, first: batchRowsFirst, expectedRows: expected.rows}
	var because []string
	say := func(format string, args ...any) { because = append(because, fmt.Sprintf(format, args...)) }
	switch {
	case x.direct == nil:
		say("locked first, and looked at again by a second statement: the rule is more than a condition on %s", tableKey)
	case len(expected.others) > 0:
		say("locked first, and looked at again by a second statement: the rule looks at %s, too", strings.Join(expected.others, ", "))
	case facts.CallsFunctions:
		say("locked first, and looked at again by a second statement: the rule calls functions that may look at anything")
	case len(w.Children) > 0 || w.Mark != nil:
		say("locked first, with the rows below, and looked at again by a second statement")
	default:
		p.oneStatement = true
		say("the rule looks at nothing but the row itself")
	}
	if len(w.references) > 0 || len(facts.Triggers) > 0 {
		p.first = batchRowsDear
		p.hasDeferred = facts.IsAnyDeferrable
	}
	if x.archive.table != "" {
		p.hasDeferred = facts.IsAnyDeferrable
	}
	columns := strings.Join(setColumns(w.Set), ", ")
	switch {
	case w.Set != "" && len(facts.Indexes) == 0:
		p.way, p.max = wayWaves, wavesRowsMax
		say("none of %d indexes has to do with %s, so that rows can stay on their page if those of one page change in different transactions", facts.IndexCount, columns)
		if len(facts.ChangingTriggers) > 0 {
			say("the trigger %s may change columns that indexes have to do with, and such rows cannot stay", strings.Join(firstFew(facts.ChangingTriggers), ", "))
		}
	case w.Set != "":
		say("each update touches the indexes, since %s has to do with %s", strings.Join(firstFew(facts.Indexes), ", "), columns)
	case !p.oneStatement:
	case len(w.references) > 0:
		say("foreign keys of %s are checked for each row", strings.Join(firstFew(tablesOf(w.references)), ", "))
	case len(facts.Triggers) > 0:
		say("the trigger %s fires", strings.Join(firstFew(facts.Triggers), ", "))
	case x.archive.table != "":
		say("%s may refuse a row", x.archive.table)
	default:
		p.way, p.first = wayRanges, batchRowsRange
		p.isDense = expected.rows >= float64(rangeDensity*w.part.Pages)
		say("nothing refers to the table, and a delete touches no index")
	}
	p.why = strings.Join(because, "; ")
	return p
}

func tablesOf(references []sql.Reference) []string {
	var tables []string
	for _, r := range references {
		if !slices.Contains(tables, r.Table) {
			tables = append(tables, r.Table)
		}
	}
	return tables
}

// firstFew keeps a list readable.
func firstFew(list []string) []string {
	const few = 3
	if len(list) <= few {
		return list
	}
	return append(slices.Clone(list[:few]), fmt.Sprintf("%d more", len(list)-few))
}

// describe is the explanation for people.
func (w *work) describe(u unit) string {
	name := "rows in the order of the table"
	switch w.way {
	case wayWaves:
		name = "waves"
	case wayRanges:
		name = "block ranges"
	case wayRows:
	}
	text := fmt.Sprintf("%s: %s", name, w.why)
	if u.Pages > 0 {
		text += fmt.Sprintf("; %d rows on %d of %d pages", u.Total, u.Pages, w.part.Pages)
		if u.Waves > 0 {
			text += fmt.Sprintf(", at most %d a page", u.Waves)
		}
		if w.way == wayWaves && u.Pages < waveRows {
			text += ", which is too few pages for waves: rows of one page change together"
		}
	}
	return text
}

// errNotDirect: what follows WHERE in a rule is more than a condition.
var errNotDirect = errors.New("not of the direct form")

// expectation is what the planner says of a rule.
type expectation struct {
	// rows is how many it is to name.
	rows float64
	// others are the tables that it looks at, beside the one whose rows go.
	others []string
}

// explain asks the planner.
func (a *attempt) explain(ctx context.Context, tx pgx.Tx, s statement, alias string) (expectation, error) {
	var e expectation
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return e, err
	}
	var text []byte
	err = s.queryRow(ctx, savepoint, a.passValues(a.job.rules...)).Scan(&text)
	if hasCode(err, codeSyntaxError) {
		return e, errors.Join(errNotDirect, savepoint.Rollback(ctx))
	}
	if err != nil {
		return e, err
	}
	var plans []struct {
		Plan planNode `json:"Plan"`
	}
	if err := json.Unmarshal(text, &plans); err != nil {
		return e, fmt.Errorf("read the planner's answer: %w", err)
	}
	for _, p := range plans {
		e.rows = p.Plan.Rows
		p.Plan.collect(alias, &e.others)
	}
	slices.Sort(e.others)
	return e, savepoint.Commit(ctx)
}

// planNode is a node of EXPLAIN (FORMAT JSON).
type planNode struct {
	Rows     float64    `json:"Plan Rows"`
	OneTime  string     `json:"One-Time Filter"`
	Relation string     `json:"Relation Name"`
	Function string     `json:"Function Name"`
	Alias    string     `json:"Alias"`
	Plans    []planNode `json:"Plans"`
}

// collect adds what is read beside the table of that alias. The planner names another
// table of the same alias otherwise.
func (n planNode) collect(alias string, others *[]string) {
	if n.OneTime != "" { // what it decides now, it may decide otherwise later
		*others = append(*others, "something that is empty now")
	}
	name := n.Relation + n.Function
	if name != "" && !strings.EqualFold(n.Alias, alias) && !slices.Contains(*others, name) {
		*others = append(*others, name)
	}
	for _, below := range n.Plans {
		below.collect(alias, others)
	}
}
