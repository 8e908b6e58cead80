package retention

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// SQLSTATE codes of what is wrong with a name.
const (
	codeUndefinedColumn = "42703"
	codeInvalidName     = "42602"
)

// The parts of a rule as they are called in a configuration file.
const (
	fieldTable     = "retention.table"
	fieldCondition = "retention.condition"
	fieldSet       = "retention.set"
	fieldArchive   = "retention.archive"
)

// Check says whether the rules that have a Condition fit a database: the table, the
// condition, its arguments, what is set, the archive, and the privileges of the role. Of
// the run it needs Tx, Schema, Parameters, Now and Logger. It only reads, and leaves the
// transaction as it was. The error joins a [*jobs.FieldError] for each part that does not
// fit.
//
// A condition must be one condition, wherever it stands: the server says so, asked in two
// ways. It must not call volatile functions, since the pass and the batches would each
// have an answer of their own; that is found by the functions' names. The conditions of
// other rules, which are part of a program, are not looked at.
func (j *Job) Check(ctx context.Context, run *jobs.Run) error {
	if !j.hasChecks() {
		return nil
	}
	savepoint, err := run.Tx.Begin(ctx)
	if err != nil {
		return fmt.Errorf("check the rules: %w", err)
	}
	defer func() { _ = savepoint.Rollback(ctx) }() // it has changed nothing but settings
	dry := *run
	dry.DryRun, dry.Beginner = true, savepoint
	// The scheduler's own table may not be there yet, and fits every rule.
	dry.Parameters = maps.Clone(run.Parameters)
	if _, ok := dry.Parameters[ParameterArchive]; ok {
		dry.Parameters[ParameterArchive] = ArchiveNone
	}
	a := j.newAttempt(&dry)
	a.isHasty = true
	if _, err := a.sql.BeginWhole(ctx, savepoint, j.config.LockWait); err != nil {
		return err
	}
	var errs []error
	for i, r := range j.rules {
		if r.Condition != "" {
			errs = append(errs, a.checkRule(ctx, i))
		}
	}
	return errors.Join(errs...)
}

// hasChecks says whether a rule has a Condition.
func (j *Job) hasChecks() bool {
	return slices.ContainsFunc(j.rules, func(r parsedRule) bool { return r.Condition != "" })
}

// checkRule checks one rule, part by part: a later one can only be looked at if the
// earlier ones are right.
func (a *attempt) checkRule(ctx context.Context, i int) error {
	rule := a.job.rules[i]
	facts, err := a.checkTable(ctx, rule)
	if err != nil || facts.OID == 0 {
		return err
	}
	condition, err := a.checkCondition(ctx, rule)
	if err != nil {
		return err
	}
	if rule.ArchiveTable != "" {
		if err := a.checkArchive(ctx, rule, facts); err != nil {
			return err
		}
	}
	if rule.Set != "" {
		if err := a.checkSet(ctx, rule, facts, condition); err != nil {
			return err
		}
	}
	return a.checkBatches(ctx, i)
}

var _ jobs.Checker = (*Job)(nil)

func refuseField(field, format string, args ...any) error {
	return &jobs.FieldError{Field: field, Err: fmt.Errorf(format, args...)}
}

// kinds are the relations that a rule cannot work on.
//
//nolint:gochecknoglobals // nothing changes it
var kinds = map[string]string{
	"v": "a view: name the table behind it",
	"m": "a materialized view: its query says what is in it",
	"f": "a foreign table: declare the job where the table is",
	"S": "a sequence", "i": "an index", "I": "an index", "c": "a type", "t": "a TOAST table",
}

func (a *attempt) checkTable(ctx context.Context, rule parsedRule) (facts sql.RelationFacts, err error) {
	table := a.sql.InSchema(rule.Table)
	err = a.inTx(ctx, func(tx pgx.Tx) (err error) {
		facts, err = a.sql.RelationFacts(ctx, tx, table)
		return err
	})
	kind, isWrong := kinds[facts.Kind]
	switch {
	case hasCode(err, codeInvalidName), hasCode(err, "22023"), hasCode(err, codeSyntaxError):
		return facts, refuseField(fieldTable, "%q is no table's name: write one as in SQL, with what needs it in double quotes: %w", rule.Table, err)
	case err != nil:
		return facts, err
	case facts.OID == 0 && rule.Optional:
		return facts, nil
	case facts.OID == 0 && facts.Similar != "":
		return facts, refuseField(fieldTable, "there is no table %s; was %s meant?", table, facts.Similar)
	case facts.OID == 0:
		return facts, refuseField(fieldTable, "there is no table %s where the search_path of the scheduler's role leads: create it, name its schema, or set optional: true", table)
	case isWrong:
		return facts, refuseField(fieldTable, "%s is %s", table, kind)
	case facts.Schema == "pg_catalog", facts.Schema == "information_schema", facts.Schema == "pg_toast":
		return facts, refuseField(fieldTable, "%s belongs to the server itself: nothing but its own commands may change it", table)
	case facts.Schema == a.sql.Schema():
		return facts, refuseField(fieldTable, "%s belongs to the scheduler: the job cleanup_job_runs keeps its ledger", table)
	case facts.Persistence == "t":
		return facts, refuseField(fieldTable, "%s is temporary, of one session: a job works on others", table)
	}
	return facts, nil
}

// checkCondition asks the server in two ways whether the condition is one, and returns
// what the planner says of it.
func (a *attempt) checkCondition(ctx context.Context, rule parsedRule) (e expectation, err error) {
	text := strings.TrimSuffix(strings.TrimPrefix(a.checkedDirect(rule).condition, "(\n"), "\n)")
	x := shapes{sql: a.sql, rule: rule.Rule, text: rule.text.whole(), table: a.sql.InSchema(rule.Table)}
	list := newStatement(x.make("check_list", "{condition}", text))
	err = a.inTx(ctx, func(tx pgx.Tx) error {
		text, _, err := list.named(a.checkValues(list)).RewriteQuery(ctx, tx.Conn(), list.text, nil)
		if err != nil {
			return err
		}
		prepared, err := tx.Prepare(ctx, "", text)
		if err != nil {
			return a.locate(ctx, list, fieldCondition, rule.Condition, err)
		}
		if oid := prepared.Fields[0].DataTypeOID; oid != pgtype.BoolArrayOID {
			return refuseField(fieldCondition, "is no condition: it must be true or false, and has the type %s", a.typeName(tx, oid))
		}
		return nil
	})
	if err != nil {
		return e, err
	}
	where := newStatement(x.make("explain", "{alias}", "t", "{condition}", text))
	err = a.inTx(ctx, func(tx pgx.Tx) (err error) {
		e, err = a.explain(ctx, tx, where, "t")
		if errors.Is(err, errNotDirect) {
			return refuseField(fieldCondition, "is more than one condition: it closes a bracket that it has not opened")
		}
		if hasCode(err, codeInsufficientPrivilege) {
			err = a.wrap(rule, err)
		}
		return a.locate(ctx, where, fieldCondition, rule.Condition, err)
	})
	if err != nil {
		return e, err
	}
	return e, a.inTx(ctx, func(tx pgx.Tx) error {
		volatile, err := a.sql.VolatileFunctions(ctx, tx, functions(text))
		if err == nil && len(volatile) > 0 {
			return refuseField(fieldCondition, "calls %s, which is VOLATILE: a row that is found would be another by the time it is changed; use @now for the time, and declare a function STABLE that only reads", strings.Join(volatile, ", "))
		}
		return err
	})
}

// checkedDirect is the rule in the form that has an alias and a condition; a rule with a
// Condition has it.
func (a *attempt) checkedDirect(rule parsedRule) direct {
	if d := readDirect(rule.text.whole()); d != nil {
		return *d
	}
	return direct{alias: "t", condition: rule.Condition}
}

func (a *attempt) typeName(tx pgx.Tx, arrayOID uint32) string {
	if t, ok := tx.Conn().TypeMap().TypeForOID(arrayOID); ok {
		return strings.TrimPrefix(t.Name, "_")
	}
	return "of OID " + fmt.Sprint(arrayOID)
}

func (a *attempt) checkArchive(ctx context.Context, rule parsedRule, table sql.RelationFacts) error {
	archive := a.sql.InSchema(rule.ArchiveTable)
	return a.inTx(ctx, func(tx pgx.Tx) error {
		facts, err := a.sql.RelationFacts(ctx, tx, archive)
		switch {
		case hasCode(err, codeInvalidName), hasCode(err, "22023"), hasCode(err, codeSyntaxError):
			return refuseField(fieldArchive, "%q is neither none nor json nor a table's name: %w", rule.ArchiveTable, err)
		case err != nil:
			return err
		case facts.OID == table.OID:
			return refuseField(fieldArchive, "%s is the table itself: each run would delete its rows and write them again", archive)
		case facts.OID == 0:
			return refuseField(fieldArchive, "there is no table %[1]s: CREATE TABLE %[1]s (LIKE %[2]s INCLUDING ALL)", archive, a.sql.InSchema(rule.Table))
		}
		return nil
	})
}

// checkSet checks what is set, and whether the condition would name a row again that it
// was set for.
func (a *attempt) checkSet(ctx context.Context, rule parsedRule, facts sql.RelationFacts, condition expectation) error {
	text := strings.TrimSuffix(strings.TrimPrefix(a.checkedDirect(rule).condition, "(\n"), "\n)")
	x := shapes{sql: a.sql, rule: rule.Rule, text: rule.text.whole(), table: a.sql.InSchema(rule.Table)}
	set := newStatement(x.make("check_set", "{condition}", text))
	err := a.inTx(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, set.text, set.args(a.checkValues(set))...)
		if err == nil {
			rows.Close()
			err = rows.Err()
		}
		return a.locate(ctx, set, fieldSet, rule.Set, err)
	})
	if err != nil || len(condition.others) > 0 {
		return err
	}
	return a.inTx(ctx, func(tx pgx.Tx) error {
		triggers, err := a.sql.TableFacts(ctx, tx, sql.FactsWanted{Part: facts.OID, Relation: a.sql.InSchema(rule.Table), Event: "UPDATE", Columns: setColumns(rule.Set)})
		if err != nil || len(triggers.ChangingTriggers) > 0 {
			return err
		}
		columns, err := a.sql.OtherColumns(ctx, tx, facts.OID, setColumns(rule.Set))
		if err != nil {
			return err
		}
		again := newStatement(x.make("check_again", "{columns}", columns, "{condition}", text))
		savepoint, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = savepoint.Rollback(ctx) }()
		_, err = a.explain(ctx, savepoint, again, "t")
		switch {
		case hasCode(err, codeUndefinedColumn):
			return nil
		case err != nil: // it asks for the row as a whole, in a way that only a table's row can be
			return nil // then it cannot be told
		}
		return refuseField(fieldSet, "a row for which this is set would be named by the condition again, by every run, since that does not look at %s: add to it what the row must not be yet", strings.Join(setColumns(rule.Set), ", "))
	})
}

// checkValues are arguments for a statement that is not executed: the engine's own are
// null.
func (a *attempt) checkValues(s statement) arguments {
	values := a.passValues(a.job.rules...)
	for _, name := range s.names {
		if strings.HasPrefix(name, "_") {
			values[name] = nil
		}
	}
	return values
}

// checkBatches has the server plan the statements of a batch, which asks for the
// privileges, too, and for what is written to an archive.
func (a *attempt) checkBatches(ctx context.Context, i int) error {
	rule := a.job.rules[i]
	v, err := a.variantOf(ctx, i)
	if err != nil {
		return refuseField(fieldTable, "%w", err)
	}
	if v.skip.Note != "" || len(v.parts) == 0 {
		return nil
	}
	w, err := a.newWork(ctx, v, v.largest())
	if err != nil {
		return refuseField(fieldTable, "%w", a.wrap(rule, err))
	}
	if len(w.lacking) > 0 {
		return &jobs.FieldError{Field: fieldArchive, Err: errors.Join(w.lacking...)}
	}
	for _, s := range []statement{w.count, w.lock, w.apply, w.rows} {
		if s.text == "" {
			continue
		}
		s.text = "EXPLAIN " + s.text
		err := a.inTx(ctx, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, s.text, s.args(a.checkValues(s))...)
			if err == nil {
				rows.Close()
				err = rows.Err()
			}
			return err
		})
		if err != nil {
			field := fieldTable
			if rule.ArchiveTable != "" && !hasCode(err, codeInsufficientPrivilege) {
				field = fieldArchive
			}
			return refuseField(field, "%w", a.wrap(rule, err))
		}
	}
	return nil
}

// locate makes of the server's error about a statement one about a part of the rule that
// stands in it, with the place there. nil stays nil.
func (a *attempt) locate(ctx context.Context, s statement, field, part string, err error) error {
	if err == nil {
		return nil
	}
	refusal := &jobs.FieldError{Field: field, Err: err}
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		refusal.Err = fmt.Errorf("%w; a parameter is sent as what the server takes it for: make_interval(days => @days) needs a number, and CAST(@text AS date) makes a date of a string", err)
		return refusal
	}
	if pg.Hint != "" {
		refusal.Err = fmt.Errorf("%w: %s", err, pg.Hint)
	}
	begin := strings.LastIndex(s.text, part)
	if begin < 0 || pg.Position <= 0 {
		return refusal
	}
	at := s.named(a.checkValues(s)).Position(ctx, s.text, int(pg.Position))
	from := len([]rune(s.text[:begin]))
	if at > from && at <= from+len([]rune(part)) {
		refusal.Position = at - from
	}
	return refusal
}
