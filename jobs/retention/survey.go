package retention

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// Survey is what a job's next run would meet in a database.
type Survey struct {
	// Targets are the rules, in their order.
	Targets []SurveyTarget `json:"targets"`
	// Blocked says by which bound a run would be blocked now; empty: by none.
	Blocked string `json:"blocked,omitempty"`
}

// SurveyTarget is what a run would meet of one rule.
type SurveyTarget struct {
	Explanation

	// Absent: the database lacks what the rule requires; Plan says what.
	Absent bool `json:"absent,omitempty"`
	// IsOff: the parameters leave the target out; Plan says which.
	IsOff bool `json:"is_off,omitempty"`
	// Rows that the rule names now: counted if IsCounted, else as the planner expects.
	Found     int64 `json:"found"`
	IsCounted bool  `json:"is_counted"`
	// Pages is the size of the table, in pages of the server, with all its parts.
	Pages int64 `json:"pages"`
	// MissingIndexes are those that the foreign keys to the table lack.
	MissingIndexes []MissingIndex `json:"missing_indexes,omitempty"`
	// Err is why the rule could not be looked at. The others are.
	Err error `json:"-"`
}

// MissingIndex is an index that a foreign key lacks: without it, each row that is
// deleted makes the key read the whole referencing table.
type MissingIndex struct {
	// Constraint is the foreign key, Table the referencing table, as SQL; Pages its size.
	Constraint string `json:"constraint"`
	Table      string `json:"table"`
	Pages      int64  `json:"pages"`
	// DDL makes the index, without locking writers out.
	DDL string `json:"ddl"`
}

// Privilege is what the role that works a job's runs needs on a table.
type Privilege struct {
	Table string `json:"table"`
	// Privilege is SELECT, INSERT, UPDATE or DELETE.
	Privilege string `json:"privilege"`
}

// Survey looks at what a run with the same parameters would meet: its plan, how many
// rows it would find, which indexes are missing and which bound it would pass. It
// changes nothing and takes no lock that holds others up. Counting takes as
// long as the statement_timeout of the run's transactions allows, and as long as nobody
// waits for it; then the planner's expectation stands in its place. Of the run it needs what [Job.ExplainOn] needs.
func (j *Job) Survey(ctx context.Context, run *jobs.Run) (Survey, error) {
	dry := *run
	dry.DryRun = true
	a := j.newAttempt(&dry)
	a.isHasty = true
	survey := Survey{Targets: make([]SurveyTarget, len(j.rules))}
	found := make(map[string]int64)
	total := int64(0)
	for i, explanation := range j.Explain(run.Schema) {
		target := &survey.Targets[i]
		target.Explanation = explanation
		target.Err = a.wrap(j.rules[i], a.survey(ctx, i, target))
		if err := ctx.Err(); err != nil {
			return survey, fmt.Errorf("job %q: look at its targets: %w", j.definition.Name, err)
		}
		found[explanation.Target] = target.Found
		total += target.Found
	}
	err := a.boundsOf(ctx, found, total)
	switch {
	case jobs.IsBlocked(err):
		survey.Blocked = err.Error()
	case err != nil && !hasCode(err, codeQueryCanceled) && !hasCode(err, codeLockNotAvailable):
		return survey, err
	}
	return survey, nil
}

func (a *attempt) survey(ctx context.Context, i int, target *SurveyTarget) error {
	v, err := a.variantOf(ctx, i)
	if err != nil {
		return err
	}
	if v.skip.Note != "" || len(v.parts) == 0 {
		target.Plan, target.Absent = v.skip.Note, v.skip.Absent
		target.IsOff = target.Plan != "" && !target.Absent
		return nil
	}
	for _, part := range v.parts {
		target.Pages += part.Pages
	}
	w, err := a.newWork(ctx, v, v.largest())
	if err != nil {
		return err
	}
	target.Plan, target.Rows = w.describe(unit{}), int64(w.expectedRows)
	target.Found, err = a.countParts(ctx, v)
	target.IsCounted = err == nil
	if hasCode(err, codeQueryCanceled) {
		target.Found = target.Rows
	} else if err != nil {
		return err
	}
	for _, r := range w.references {
		if !r.HasIndex {
			target.MissingIndexes = append(target.MissingIndexes, missingIndex(r))
		}
	}
	if err := a.checkReferences(ctx, w, target.Found); err != nil {
		target.Problem = err.Error()
	}
	return nil
}

func missingIndex(r sql.Reference) MissingIndex {
	return MissingIndex{
		Constraint: r.Name, Table: r.Table, Pages: r.Pages,
		DDL: fmt.Sprintf("CREATE INDEX CONCURRENTLY ON %s (%s)", r.Table, strings.Join(r.Columns, ", ")),
	}
}

// Privileges lists what the role that works the job's runs needs, for tables that exist:
// SELECT on what the rules look at, UPDATE, which locks rows, and DELETE on what they
// change. A rule that is off needs none.
func (j *Job) Privileges(schema string, parameters jobs.Parameters) []Privilege {
	s := sql.For(schema)
	var list []Privilege
	need := func(table string, privileges ...string) {
		for _, privilege := range privileges {
			if p := (Privilege{Table: s.InSchema(table), Privilege: privilege}); !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
	}
	for _, rule := range j.rules {
		if rule.OffFunc != nil && rule.OffFunc(parameters) != "" {
			continue
		}
		need(rule.Table, "SELECT", "UPDATE")
		if rule.Set == "" {
			need(rule.Table, "DELETE")
		}
		for _, r := range slices.Concat(rule.requires(), rule.text.optional()) {
			need(r.Relation, "SELECT")
		}
		for _, child := range rule.Children {
			need(child.Table, "SELECT", "UPDATE")
		}
		if rule.ArchiveTable != "" && rule.Set == "" {
			need(rule.ArchiveTable, "INSERT")
		}
	}
	return list
}
