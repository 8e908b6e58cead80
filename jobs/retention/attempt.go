package retention

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// cursor is what is committed with each batch. Replicas of different versions read
// it: fields are only ever added, and targets go by name.
type cursor struct {
	// Finished lists the targets that are done.
	Finished []string `json:"finished,omitempty"`
	// Target is the one being worked; empty between targets.
	Target string `json:"target,omitempty"`
	// Next is the number of its next candidate, from 1; Total the number of the last.
	Next  int64 `json:"next,omitempty"`
	Total int64 `json:"total,omitempty"`
	// Left counts the candidates that were left out.
	Left int64 `json:"left,omitempty"`
	// Mark, Horizon and Met are those of the pass, for a rule with a mark: the mark,
	// and how to tell what the pass has seen.
	Mark    int64    `json:"mark,omitempty"`
	Horizon int64    `json:"horizon,omitempty"`
	Met     []string `json:"met,omitempty"`
}

// attempt is the work of one attempt. Prepare and Next are called in turn.
type attempt struct {
	job    *Job
	run    *jobs.Run
	sql    *sql.Statements
	values arguments
	sizer  sizer

	cursor cursor
	// found is what Prepare found out, for the record of the next batch.
	found jobs.Targets
	// work is the target being worked; nil between targets.
	work *work
	// ctids are the candidates of the next batch.
	ctids []pgtype.TID
	// rows counts what the run has done, in all its attempts.
	rows int64
	// blocked counts single rows in a row that could not be changed in time.
	blocked int
}

// work is a rule in the variant that fits the database.
type work struct {
	parsedRule
	statements
}

var (
	_ jobs.Batches  = (*attempt)(nil)
	_ jobs.Preparer = (*attempt)(nil)
)

// Prepare finds the candidates of the next batch, or, in a dry run, counts the next
// target. It goes past targets that are absent, switched off or clean; the next
// batch records them.
func (a *attempt) Prepare(ctx context.Context) error {
	a.ctids = nil
	for {
		if a.work == nil {
			i := a.nextRule()
			if i < 0 {
				return nil
			}
			isOpen, err := a.open(ctx, i)
			if err != nil {
				return a.wrap(a.job.rules[i], err)
			}
			if !isOpen {
				continue
			}
		}
		w := a.work
		if a.run.DryRun {
			return a.wrap(w.parsedRule, a.count(ctx, w))
		}
		if err := a.load(ctx, w); err != nil {
			return a.wrap(w.parsedRule, err)
		}
		if len(a.ctids) > 0 {
			return nil
		}
		a.found = a.finish(a.found, jobs.Target{})
	}
}

// Next works the candidates that Prepare has found, and records what it did and what
// Prepare found out.
func (a *attempt) Next(ctx context.Context, batch *jobs.Batch) (bool, error) {
	if batch.Targets == nil {
		batch.Targets = make(jobs.Targets)
	}
	batch.Targets.Merge(a.found)
	a.found = nil
	if a.work != nil {
		if err := a.clean(ctx, batch); err != nil {
			return false, a.wrap(a.work.parsedRule, err)
		}
	}
	isDone := a.work == nil && a.nextRule() < 0
	stored := a.cursor
	stored.Finished = slices.Clone(stored.Finished)
	batch.Cursor = stored
	batch.Total = a.rows
	batch.Message = a.message(isDone)
	if a.work != nil {
		batch.Total += a.cursor.Total - a.cursor.Next + 1
	}
	return isDone, nil
}

// nextRule is the index of the rule that the cursor is at, or of the first that is
// not finished; -1 if all are.
func (a *attempt) nextRule() int {
	if a.cursor.Target != "" {
		if i := slices.IndexFunc(a.job.rules, func(r parsedRule) bool { return r.Target == a.cursor.Target }); i >= 0 {
			return i
		}
		a.cursor = cursor{Finished: a.cursor.Finished} // another version's rule
	}
	return slices.IndexFunc(a.job.rules, func(r parsedRule) bool { return !slices.Contains(a.cursor.Finished, r.Target) })
}

// open begins to work a rule, in the variant that fits the database. It reports
// false, and finishes the target, if there is nothing to work on.
func (a *attempt) open(ctx context.Context, i int) (bool, error) {
	rule := a.job.rules[i]
	if a.cursor.Target == "" {
		a.cursor.Target = rule.Target
	}
	if reason := a.isOff(rule); reason != "" {
		a.found = a.finish(a.found, jobs.Target{Note: reason})
		return false, nil
	}
	var absent []sql.Relation
	err := pgx.BeginFunc(ctx, a.run.Beginner, func(tx pgx.Tx) error {
		var text string
		var err error
		if text, absent, err = a.variant(ctx, tx, rule); err != nil || len(absent) > 0 {
			return err
		}
		var taken []string
		for _, e := range a.job.deletesBefore(i) {
			earlier, missing, err := a.variant(ctx, tx, a.job.rules[e])
			if err != nil {
				return err
			}
			if len(missing) == 0 && a.isOff(a.job.rules[e]) == "" {
				taken = append(taken, earlier)
			}
		}
		a.work = &work{parsedRule: rule, statements: newStatements(a.sql, rule.Rule, text, taken)}
		return a.checkTable(ctx, tx, rule)
	})
	if err != nil {
		a.work = nil
		return false, err
	}
	if len(absent) > 0 {
		note := "not in this database: " + strings.Join(relationNames(a.sql, absent), ", ")
		a.found = a.finish(a.found, jobs.Target{Absent: true, Note: note})
		return false, nil
	}
	return true, nil
}

func (a *attempt) isOff(rule parsedRule) string {
	if rule.OffFunc == nil {
		return ""
	}
	return rule.OffFunc(a.run.Parameters)
}

// variant is the text of a rule for this database, or what it lacks for it.
func (a *attempt) variant(ctx context.Context, tx pgx.Tx, rule parsedRule) (text string, absent []sql.Relation, err error) {
	required, optional := rule.requires(), rule.text.optional()
	local := make([]sql.Relation, 0, len(required)+len(optional))
	for _, r := range slices.Concat(required, optional) {
		local = append(local, sql.Relation{Relation: a.sql.InSchema(r.Relation), Attribute: r.Attribute})
	}
	missing, err := a.sql.MissingRelations(ctx, tx, local)
	if err != nil {
		return "", nil, err
	}
	isMissing := func(r sql.Relation) bool {
		return slices.Contains(missing, sql.Relation{Relation: a.sql.InSchema(r.Relation), Attribute: r.Attribute})
	}
	for _, r := range required {
		if isMissing(r) && !slices.Contains(absent, r) {
			absent = append(absent, r)
		}
	}
	return rule.text.without(isMissing), absent, nil
}

// checkTable refuses tables in which a ctid does not name a row.
func (a *attempt) checkTable(ctx context.Context, tx pgx.Tx, rule parsedRule) error {
	tables := []string{rule.Table}
	for _, child := range rule.Children {
		tables = append(tables, child.Table)
	}
	for _, table := range tables {
		isPlain, err := a.sql.PlainTable(ctx, tx, a.sql.InSchema(table))
		if err != nil {
			return err
		}
		if !isPlain {
			return jobs.Permanent(fmt.Errorf("%s is a view, a foreign table, or has partitions or heirs: a rule needs an ordinary table; write one for each partition", table))
		}
	}
	return nil
}

// count is the dry run of a target.
func (a *attempt) count(ctx context.Context, w *work) error {
	var rows int64
	err := pgx.BeginFunc(ctx, a.run.Beginner, func(tx pgx.Tx) error {
		return w.count.queryRow(ctx, tx, a.passValues(a.job.rules...)).Scan(&rows)
	})
	if err != nil {
		return fmt.Errorf("count the rows: %w", err)
	}
	a.rows += rows
	a.found = a.finish(a.found, jobs.Target{Rows: rows})
	return nil
}

// finish ends the current target and adds what is to be recorded of it to targets.
func (a *attempt) finish(targets jobs.Targets, target jobs.Target) jobs.Targets {
	if targets == nil {
		targets = make(jobs.Targets)
	}
	targets.Merge(jobs.Targets{a.cursor.Target: target})
	a.cursor = cursor{Finished: append(a.cursor.Finished, a.cursor.Target)}
	a.work = nil
	a.blocked = 0
	return targets
}

func (a *attempt) message(isDone bool) string {
	switch {
	case a.work != nil:
		return fmt.Sprintf("%s: %d of %d candidates", a.cursor.Target, a.cursor.Next-1, a.cursor.Total)
	case isDone && a.run.DryRun:
		return fmt.Sprintf("%d rows would be affected", a.rows)
	case isDone:
		return fmt.Sprintf("%d rows affected", a.rows)
	}
	return ""
}

// wrap names the target of an error, and the fix where the server's code tells it.
func (a *attempt) wrap(rule parsedRule, err error) error {
	if err == nil {
		return nil
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == codeInsufficientPrivilege {
		return fmt.Errorf("target %q (table %s): %w: grant the scheduler's role SELECT on the tables of the rule, and UPDATE (which locks rows) and DELETE on those that it locks and deletes from", rule.Target, rule.Table, err)
	}
	return fmt.Errorf("target %q (table %s): %w", rule.Target, rule.Table, err)
}
