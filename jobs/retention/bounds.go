package retention

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/jobs"
)

// scanPagesMax bounds what the scans of foreign keys without an index may read, in
// pages: 8 GB, some seconds from memory.
const scanPagesMax = 1_000_000

// withinBounds blocks a run that has found more than its bounds allow.
func (a *attempt) withinBounds(ctx context.Context) error {
	err := a.checkBounds(ctx)
	if jobs.IsBlocked(err) {
		a.dropOwn(ctx)
	}
	return err
}

// checkBounds says whether what is left to work is within the bounds.
func (a *attempt) checkBounds(ctx context.Context) error {
	found := make(map[string]int64)
	for _, u := range a.cursor.Units {
		found[u.Target] += u.Total
	}
	err := a.boundsOf(ctx, found, a.total())
	if jobs.IsBlocked(err) {
		// Rows that several rules name were counted for each of them.
		isFewer, countErr := a.countOnce(ctx, found)
		if countErr != nil {
			return countErr
		}
		if isFewer {
			total := a.rows
			for _, rows := range found {
				total += rows
			}
			err = a.boundsOf(ctx, found, total)
		}
	}
	return err
}

// countOnce corrects what was found for targets whose rows an earlier target may take, as
// a dry run counts them.
func (a *attempt) countOnce(ctx context.Context, found map[string]int64) (isFewer bool, err error) {
	for i, rule := range a.job.rules {
		isLater := slices.ContainsFunc(a.job.deletesBefore(i), func(e int) bool { return found[a.job.rules[e].Target] > 0 })
		if found[rule.Target] == 0 || !isLater {
			continue
		}
		v, err := a.variantOf(ctx, i)
		if err != nil {
			return false, a.wrap(rule, err)
		}
		rows, err := a.countParts(ctx, v)
		if err != nil {
			return false, a.wrap(rule, err)
		}
		isFewer = isFewer || rows < found[rule.Target]
		found[rule.Target] = min(rows, found[rule.Target])
	}
	return isFewer, nil
}

// countParts is how many rows a rule names that no earlier one takes.
func (a *attempt) countParts(ctx context.Context, v *variant) (total int64, err error) {
	for _, part := range v.parts {
		var rows int64
		s := newStatements(shapes{sql: a.sql, rule: v.Rule, text: v.text, table: part.Name}, v.taken)
		err = a.whole(ctx, &work{parsedRule: v.parsedRule, part: part}, nil, func(tx pgx.Tx) error {
			return s.count.queryRow(ctx, tx, a.passValues(a.job.rules...)).Scan(&rows)
		})
		if err != nil {
			return 0, fmt.Errorf("count the rows: %w", err)
		}
		total += rows
	}
	return total, nil
}

// boundsOf blocks a run that would change so many rows of its targets, and so many in
// all.
func (a *attempt) boundsOf(ctx context.Context, found map[string]int64, total int64) error {
	if most := a.run.Parameters.Int(ParameterMaxRows); most > 0 && total > most {
		return jobs.Blocked(fmt.Errorf("%d rows would be changed, and %s is %d. Look at what they are: %s. If that is right, let it through once: %s",
			total, ParameterMaxRows, most, a.dryRunCall(), a.runCall(ParameterMaxRows, total)))
	}
	most := a.run.Parameters.Float(ParameterMaxShare)
	if most >= 1 {
		return nil
	}
	byTable := make(map[string]int64)
	for i, rule := range a.job.rules {
		if found[rule.Target] == 0 {
			continue
		}
		byTable[rule.Table] += found[rule.Target]
		rows := byTable[rule.Table]
		if rows < MaxShareRowsMin {
			continue
		}
		// One more than it must have for the share to be within the bound.
		enough := int64(min(float64(rows)/most, math.MaxInt32*math.MaxInt16)) + 1
		all, err := a.tableRows(ctx, i, enough)
		if err != nil {
			return a.wrap(rule, err)
		}
		if share := float64(rows) / float64(max(all, 1)); share > most {
			return jobs.Blocked(fmt.Errorf("%d of the %d rows of %s would be changed, and %s is %v. Look at what they are: %s. If that is right, let it through once: %s",
				rows, all, rule.Table, ParameterMaxShare, most, a.dryRunCall(), a.runCall(ParameterMaxShare, 1)))
		}
	}
	return nil
}

// tableRows is how many rows a table has, or enough if it has as many.
func (a *attempt) tableRows(ctx context.Context, i int, enough int64) (int64, error) {
	v, err := a.variantOf(ctx, i)
	if err != nil || len(v.parts) == 0 {
		return 0, err
	}
	values := maps.Clone(a.values)
	values["_enough"] = enough
	s := newStatement(shapes{sql: a.sql, rule: v.Rule, table: a.sql.InSchema(v.Table)}.make("count_some"))
	var rows int64
	err = a.whole(ctx, &work{parsedRule: v.parsedRule, part: v.parts[0]}, nil, func(tx pgx.Tx) error {
		return s.queryRow(ctx, tx, values).Scan(&rows)
	})
	if err != nil {
		return 0, fmt.Errorf("count the rows of the table: %w", err)
	}
	return rows, nil
}

// runCall is the SQL that asks for the same run with one parameter changed.
func (a *attempt) runCall(parameter string, value any) string {
	return fmt.Sprintf("SELECT %s.run_now('%s', '%s')", a.run.Schema, a.run.Job, a.given(jobs.Parameters{parameter: value}))
}

// dryRunCall is the SQL that asks for the same run, dry.
func (a *attempt) dryRunCall() string {
	given := a.given(nil)
	if given == "{}" {
		return fmt.Sprintf("SELECT %s.run_now('%s', dry_run => true)", a.run.Schema, a.run.Job)
	}
	return fmt.Sprintf("SELECT %s.run_now('%s', '%s', dry_run => true)", a.run.Schema, a.run.Job, given)
}

// given are the run's parameters that are not the defaults, with some changed, as a
// string in SQL holds them.
func (a *attempt) given(changed jobs.Parameters) string {
	given := jobs.Parameters{}
	defaults, err := jobs.Resolve(a.job.definition)
	for name, value := range a.run.Parameters {
		if err != nil || !reflect.DeepEqual(value, defaults[name]) {
			given[name] = value
		}
	}
	maps.Copy(given, changed)
	text, err := json.Marshal(given)
	if err != nil {
		return "{}"
	}
	return strings.ReplaceAll(string(text), "'", "''")
}

// checkReferences blocks a run whose deletes would make foreign keys read a table from
// end to end, again and again, or lose rows that are to be archived.
func (a *attempt) checkReferences(ctx context.Context, w *work, rows int64) error {
	errs := slices.Clone(w.lacking)
	for _, r := range w.references {
		if w.archives(a) && r.Cascades {
			errs = append(errs, fmt.Errorf("rows of %s would go along (foreign key %s cascades) and are not archived: delete them by a rule of their own first, or archive nothing", r.Table, r.Name))
			continue
		}
		if r.HasIndex || rows*r.Pages <= scanPagesMax {
			continue
		}
		errs = append(errs, fmt.Errorf("each of %d rows would make the foreign key %s read all of %s (%d pages), since it has no index on %s: CREATE INDEX CONCURRENTLY ON %s (%s)",
			rows, r.Name, r.Table, r.Pages, strings.Join(r.Columns, ", "), r.Table, strings.Join(r.Columns, ", ")))
	}
	if len(errs) == 0 {
		return nil
	}
	if !a.run.DryRun {
		a.dropOwn(ctx)
	}
	return jobs.Blocked(errors.Join(errs...))
}

// checkDone ends a batch that would take a run past its bounds: what a range holds, or a
// partition, may be more than was found there.
func (a *attempt) checkDone(rows int64) error {
	done := a.rows + rows
	if most := a.run.Parameters.Int(ParameterMaxRows); most > 0 && done > most {
		return jobs.Permanent(fmt.Errorf("%d rows have been changed, and there are more than were found: another batch would pass %s, which is %d", a.rows, ParameterMaxRows, most))
	}
	u := a.cursor.Units[0]
	beyond := -(u.Left + a.piece.rows - rows)
	if a.run.Parameters.Float(ParameterMaxShare) < 1 && beyond > max(MaxShareRowsMin, u.Total/10) {
		return jobs.Permanent(fmt.Errorf("%d rows have been changed, and there are many more than the %d that were found: they are left, since %s was held against those", a.rows, u.Total, ParameterMaxShare))
	}
	return nil
}

// dropOwn deletes the candidates of the run itself.
func (a *attempt) dropOwn(ctx context.Context) {
	for _, u := range a.cursor.Units {
		if err := a.clearPass(ctx, u.Pass); err != nil {
			return // the next run drops them
		}
	}
}

// archiveOf says where the rows go that a rule deletes.
func (a *attempt) archiveOf(rule Rule, columns []string) archive {
	switch {
	case rule.Set != "":
		return archive{}
	case rule.ArchiveTable != "":
		return archive{table: a.sql.InSchema(rule.ArchiveTable), columns: columns}
	}
	return archive{isJSON: a.run.Parameters.String(ParameterArchive) == ArchiveJSON}
}

func (w *work) archives(a *attempt) bool {
	to := a.archiveOf(w.Rule, nil)
	return to.isJSON || to.table != ""
}
