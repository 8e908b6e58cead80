package retention

import (
	"context"
	"fmt"
	"strings"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// Explanation shows what the engine does for one rule, as the statements that it
// sends: those for a database that has every table and column.
type Explanation struct {
	// Target is the rule's target, Table its table.
	Target string `json:"target"`
	Table  string `json:"table"`
	// Action is "DELETE", or "SET" and what is set.
	Action string `json:"action"`
	// Requires lists the tables and columns without which the target is absent.
	Requires []string `json:"requires"`
	// Optional lists the tables and columns that have a part in the rule where they
	// exist.
	Optional []string `json:"optional,omitempty"`
	// Plan says how the rows are going to be worked, and why, or why there is nothing to
	// work on; only from [Job.ExplainOn].
	Plan string `json:"plan,omitempty"`
	// Rows is how many the planner expects the rule to name in its largest part; 0 if it
	// was not asked. Only from ExplainOn.
	Rows int64 `json:"rows,omitempty"`
	// Problem says why a run that finds so many would be blocked; empty: it would not.
	// Only from ExplainOn.
	Problem string `json:"problem,omitempty"`
	// Rule is the rule itself.
	Rule string `json:"rule"`
	// Count is the dry run.
	Count string `json:"count"`
	// Pass finds the candidates.
	Pass string `json:"pass"`
	// Batch lists the statements of a batch, in their order: those that lock, and
	// the one that deletes or updates.
	Batch []string `json:"batch"`
	// OneStatement takes the place of Batch where the rule looks at nothing but the row
	// itself; Range that of both for a table to which nothing refers, where most rows
	// of a page go. Empty for a rule of another form, and Range for updates. Which it
	// is depends on the database: the plan in a run's details says it.
	OneStatement string `json:"one_statement,omitempty"`
	Range        string `json:"range,omitempty"`
}

// Explainer is a job that can say what it would do in a database. Of the run ExplainOn
// needs what [Job.ExplainOn] does.
type Explainer interface {
	jobs.Job

	ExplainOn(ctx context.Context, run *jobs.Run) ([]Explanation, error)
}

var _ Explainer = (*Job)(nil)

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
		st := newStatements(shapes{sql: s, rule: r.Rule, text: text, direct: readDirect(text), table: s.InSchema(r.Table)}, taken)
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
		e.OneStatement, e.Range = st.rows.text, st.span.text
		explanations = append(explanations, e)
	}
	return explanations
}

// ExplainOn is [Job.Explain] for the database of a run: Plan says how the rows of each
// target are going to be worked, and why. It looks at the catalog and asks the planner,
// but looks through no table. Of the run it needs the schema, the parameters, Now, the
// logger and the beginner.
func (j *Job) ExplainOn(ctx context.Context, run *jobs.Run) ([]Explanation, error) {
	dry := *run
	dry.DryRun = true
	a := j.newAttempt(&dry)
	explanations := j.Explain(run.Schema)
	for i := range explanations {
		e := &explanations[i]
		v, err := a.variantOf(ctx, i)
		if err != nil {
			return nil, a.wrap(j.rules[i], err)
		}
		if v.skip.Note != "" || len(v.parts) == 0 {
			e.Plan = v.skip.Note
			continue
		}
		largest := v.largest()
		w, err := a.newWork(ctx, v, largest)
		if err != nil {
			return nil, a.wrap(j.rules[i], err)
		}
		e.Plan = w.describe(unit{})
		if len(v.parts) > 1 {
			e.Plan += fmt.Sprintf("; each of %d parts by itself, planned for %s", len(v.parts), largest.Name)
		}
		e.Rows = int64(w.expectedRows)
		if err := a.checkReferences(ctx, w, e.Rows); err != nil {
			e.Problem = err.Error()
		}
	}
	return explanations, nil
}
