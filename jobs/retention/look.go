package retention

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// look looks through the tables of the targets, before anything is changed: so that a
// run that would go past its bounds can stop, and so that the work to do is known. It
// returns after each pass that has found something, to have that recorded, and reports
// true after the last.
func (a *attempt) look(ctx context.Context) (isDone bool, err error) {
	for {
		i := a.nextRule()
		if i < 0 {
			break
		}
		rule := a.job.rules[i]
		hasFound, err := a.lookAt(ctx, i)
		if err != nil {
			return false, a.wrap(rule, err)
		}
		if hasFound && a.nextRule() >= 0 {
			return false, nil
		}
	}
	if err := a.withinBounds(ctx); err != nil {
		return false, err
	}
	a.cursor.IsAllowed, a.cursor.Looked, a.cursor.LookedPart = true, nil, 0
	return true, nil
}

// lookAt makes the pass of a rule, or of its next part that has something to clean. A
// target with nothing to clean is finished.
func (a *attempt) lookAt(ctx context.Context, i int) (hasFound bool, err error) {
	rule := a.job.rules[i]
	v, err := a.variantOf(ctx, i)
	if err != nil {
		return false, err
	}
	if v.skip.Note != "" {
		a.looked(rule.Target, v.skip)
		return false, nil
	}
	for n, part := range v.parts {
		if part.OID <= a.cursor.LookedPart {
			continue
		}
		w, err := a.newWork(ctx, v, part)
		if err != nil {
			return false, err
		}
		found, err := a.pass(ctx, w)
		if err != nil {
			return false, err
		}
		a.cursor.LookedPart = part.OID
		if found.Total == 0 {
			continue
		}
		if err := a.checkWhole(ctx, w, &found); err != nil {
			return false, err
		}
		a.cursor.Units = append(slices.Clone(a.cursor.Units), found)
		if err := a.checkReferences(ctx, w, a.foundOf(rule.Target)); err != nil {
			return false, err
		}
		a.found = a.merge(a.found, rule.Target, jobs.Target{Plan: w.describe(found)})
		if n < len(v.parts)-1 {
			return true, nil
		}
		hasFound = true
	}
	a.looked(rule.Target, jobs.Target{})
	return hasFound, nil
}

// foundOf is how many candidates of a target there are left, in all of its parts.
func (a *attempt) foundOf(target string) int64 {
	var total int64
	for _, u := range a.cursor.Units {
		if u.Target == target {
			total += u.Total
		}
	}
	return total
}

// looked notes that a target has been looked through.
func (a *attempt) looked(target string, result jobs.Target) {
	a.cursor.LookedPart = 0
	if slices.ContainsFunc(a.cursor.Units, func(u unit) bool { return u.Target == target }) {
		a.cursor.Looked = append(slices.Clone(a.cursor.Looked), target)
		return
	}
	a.cursor.Finished = append(slices.Clone(a.cursor.Finished), target)
	a.found = a.merge(a.found, target, result)
}

func (a *attempt) merge(targets jobs.Targets, target string, result jobs.Target) jobs.Targets {
	if targets == nil {
		targets = make(jobs.Targets)
	}
	targets.Merge(jobs.Targets{target: result})
	return targets
}

// variant is a rule as it fits the database.
type variant struct {
	parsedRule

	// skip, if it has a note, says why there is nothing to work on.
	skip jobs.Target
	// text is the rule's; taken those of earlier rules that delete from the same table.
	text  string
	taken []string
	parts []sql.Part
	// root is the oid of the rule's table.
	root int64
	// notes are what people should know of it.
	notes []string
}

// largest is the part with the most pages, for which a rule is planned where one plan
// has to stand for all of them.
func (v *variant) largest() sql.Part {
	return slices.MaxFunc(v.parts, func(p, q sql.Part) int { return cmp.Compare(p.Pages, q.Pages) })
}

// variantOf finds out how a rule fits the database.
func (a *attempt) variantOf(ctx context.Context, i int) (*variant, error) {
	v := &variant{parsedRule: a.job.rules[i]}
	if reason := a.isOff(v.parsedRule); reason != "" {
		v.skip.Note = reason
		return v, nil
	}
	err := a.inTx(ctx, func(tx pgx.Tx) error {
		var absent []sql.Relation
		var err error
		if v.text, absent, err = a.textFor(ctx, tx, v.parsedRule); err != nil {
			return err
		}
		if len(absent) > 0 {
			v.skip = jobs.Target{Absent: true, Note: "not in this database: " + strings.Join(relationNames(a.sql, absent), ", ")}
			return nil
		}
		for _, e := range a.job.deletesBefore(i) {
			earlier, missing, err := a.textFor(ctx, tx, a.job.rules[e])
			if err != nil {
				return err
			}
			if len(missing) == 0 && a.isOff(a.job.rules[e]) == "" {
				v.taken = append(v.taken, earlier)
			}
		}
		v.parts, err = a.sql.Parts(ctx, tx, a.sql.InSchema(v.Table))
		if err != nil {
			return err
		}
		return a.checkParts(ctx, tx, v)
	})
	return v, err
}

func (a *attempt) isOff(rule parsedRule) string {
	if rule.OffFunc == nil {
		return ""
	}
	return rule.OffFunc(a.run.Parameters)
}

// textFor is the text of a rule for this database, or what it lacks for it.
func (a *attempt) textFor(ctx context.Context, tx pgx.Tx, rule parsedRule) (text string, absent []sql.Relation, err error) {
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

// checkParts keeps of a table's parts those that hold rows, and refuses tables in which
// a ctid does not name a row.
func (a *attempt) checkParts(ctx context.Context, tx pgx.Tx, v *variant) error {
	for _, part := range v.parts {
		if part.IsRoot {
			v.root = part.OID
		}
	}
	isWhole := len(v.parts) == 1 && v.parts[0].Kind == "r"
	kept := v.parts[:0]
	for _, part := range v.parts {
		switch {
		case part.Kind == "p":
			continue
		case part.Kind == "r":
			kept = append(kept, part)
		case part.IsRoot:
			return jobs.Permanent(fmt.Errorf("%s is a view or a foreign table: a rule needs a table of this database", v.Table))
		default:
			v.notes = append(v.notes, part.Name+" is a foreign table and was left alone")
		}
	}
	v.parts = kept
	if isWhole {
		v.parts[0].Name = a.sql.InSchema(v.Table) // as it is written in the rule
	} else if !isOfTable(v.text) {
		return jobs.Permanent(fmt.Errorf("%s has partitions or heirs, and a rule is worked in each by itself: write its SQL as SELECT t.ctid FROM %s t …", v.Table, tableKey))
	}
	for n, part := range v.parts {
		v.parts[n].Name = part.WithoutHeirs()
	}
	for _, child := range v.Children {
		below, err := a.sql.Parts(ctx, tx, a.sql.InSchema(child.Table))
		if err != nil {
			return err
		}
		if len(below) != 1 || below[0].Kind != "r" {
			return jobs.Permanent(fmt.Errorf("%s is a view, a foreign table, or has partitions or heirs: rows of it cannot be locked by their ctids; leave it out of Children", child.Table))
		}
	}
	return nil
}

// countNext is the dry run of the next target.
func (a *attempt) countNext(ctx context.Context) error {
	i := a.nextRule()
	if i < 0 {
		return nil
	}
	rule := a.job.rules[i]
	v, err := a.variantOf(ctx, i)
	if err != nil {
		return a.wrap(rule, err)
	}
	if v.skip.Note != "" || len(v.parts) == 0 {
		a.looked(rule.Target, v.skip)
		return nil
	}
	result := jobs.Target{}
	// Planned for the part that is largest, counted over all.
	largest := v.largest()
	w, err := a.newWork(ctx, v, largest)
	if err != nil {
		return a.wrap(rule, err)
	}
	if result.Rows, err = a.countParts(ctx, v); err != nil {
		return a.wrap(rule, err)
	}
	a.rows += result.Rows
	a.counted[rule.Target] = result.Rows
	result.Plan = w.describe(unit{Total: result.Rows})
	if err := a.checkReferences(ctx, w, result.Rows); jobs.IsBlocked(err) {
		result.Note = "a real run would be blocked: " + err.Error()
	} else if err != nil {
		return a.wrap(rule, err)
	}
	ofTable := make(map[string]int64)
	for _, r := range a.job.rules {
		if r.Table == rule.Table && result.Rows > 0 {
			ofTable[r.Target] = a.counted[r.Target]
		}
	}
	if err := a.boundsOf(ctx, ofTable, a.rows); jobs.IsBlocked(err) {
		result.Note = "a real run would be blocked: " + err.Error()
	} else if err != nil {
		return a.wrap(rule, err)
	}
	a.looked(rule.Target, result)
	return nil
}
