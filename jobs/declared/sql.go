package declared

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/scheduler/jobs"
)

// Statement is one SQL statement of a job.
type Statement struct {
	// Name is the target under which the ledger counts the statement's rows. Lower-case
	// letters, digits and underscores. Empty means statement_1 for the first, and so on.
	Name string
	// Text is the statement, in which @name stands for the parameter of that name, @now
	// for the database's clock when the attempt began, @tick for the time that the run is
	// for, and @run_id for its key in the ledger. They are sent as values and never become
	// part of the text. Required.
	Text string
}

// SQLConfig says what a job of [SQL] does.
type SQLConfig struct {
	// Definition describes the job. Each of its parameters must be used.
	Definition jobs.Definition
	// Statements are run one after the other, in one transaction. Required.
	Statements []Statement
	// Unchecked leaves out the look at the statements before the start: for statements
	// that need what an earlier one makes. The zero value looks.
	Unchecked bool
}

// SQL makes a job of SQL statements, which are run in the transaction that also holds
// the record of the run. Each is one statement, which the extended protocol sees to;
// what would end the transaction, or outlive it on the connection, is refused, as is
// what the server does not run in one (see [SQLOutsideTransaction]).
//
// The rows that INSERT, UPDATE, DELETE and MERGE affect are counted, a target for each
// statement. In a dry run the statements are run and rolled back.
//
// Before the start the server is asked to prepare each statement: what it refuses, such
// as an unknown column, is refused then. It does not look into utility commands, such as
// REFRESH, or functions. The error joins [*jobs.FieldError]s.
func SQL(config SQLConfig) (jobs.Job, error) {
	job := &sqlJob{definition: labelled(config.Definition, "SQL"), unchecked: config.Unchecked}
	if len(config.Statements) == 0 {
		return nil, &jobs.FieldError{Field: "sql", Err: errors.New("has no statement; give at least one")}
	}
	var errs []error
	seen := make(map[string]bool)
	for i, given := range config.Statements {
		name := given.Name
		if name == "" {
			name = fmt.Sprintf("statement_%d", i+1)
		}
		field := "sql." + name
		if seen[name] {
			errs = append(errs, &jobs.FieldError{Field: field, Err: fmt.Errorf("two statements have the name %q; rename one", name)})
			continue
		}
		seen[name] = true
		s, err := newStatement(field, given.Text, config.Definition, ownArguments()...)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.target = name
		errs = append(errs, s.checkSession(), s.checkInside())
		job.statements = append(job.statements, s)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := checkParameters(job.definition, job.statements...); err != nil {
		return nil, err
	}
	return job, nil
}

// labelled is the definition with the kind of the job in its description, where people
// look first.
func labelled(definition jobs.Definition, kind string) jobs.Definition {
	definition.Description = strings.TrimSpace(definition.Description + " [" + kind + "]")
	return definition
}

// checkInside refuses what the server does not run in a transaction.
func (s *statement) checkInside() error {
	if !outsideRE.MatchString(s.head) {
		return nil
	}
	return &jobs.FieldError{Field: s.field, Err: errors.New("cannot run in a transaction; " + outsideHint)}
}

const outsideHint = "declare it as sql_outside_transaction, a job of its own, and see what that cannot promise"

type sqlJob struct {
	definition jobs.Definition
	statements []*statement
	unchecked  bool
}

var (
	_ jobs.TxJob   = (*sqlJob)(nil)
	_ jobs.Checker = (*sqlJob)(nil)
)

// Definition describes the job.
func (j *sqlJob) Definition() jobs.Definition { return j.definition }

// Run runs the statements.
func (j *sqlJob) Run(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
	result := jobs.Result{Targets: jobs.Targets{}}
	for _, s := range j.statements {
		tag, err := s.exec(ctx, run.Tx, run)
		if err != nil {
			return jobs.Result{}, err
		}
		target := jobs.Target{}
		if tag.Insert() || tag.Update() || tag.Delete() || strings.HasPrefix(tag.String(), "MERGE") {
			target.Rows = tag.RowsAffected()
		} else {
			target.Note = tag.String() // it affects no rows that the server counts
		}
		result.Targets[s.target] = target
	}
	return result, nil
}

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// exec runs the statement. By Query, since Exec without arguments would take the simple
// protocol, in which one text may hold several statements.
func (s *statement) exec(ctx context.Context, db querier, run *jobs.Run) (pgconn.CommandTag, error) {
	rows, err := db.Query(ctx, s.bound, s.values(run.Now, run.Tick, run.ID, run.Parameters)...)
	if err == nil {
		rows.Close()
		err = rows.Err()
	}
	if err == nil {
		return rows.CommandTag(), nil
	}
	var pgErr *pgconn.PgError
	switch {
	case !errors.As(err, &pgErr):
	case pgErr.Code == "25001": // active_sql_transaction
		return pgconn.CommandTag{}, jobs.Permanent(fmt.Errorf("%s: %w; %s", s.target, err, outsideHint))
	case pgErr.Hint != "":
		return pgconn.CommandTag{}, fmt.Errorf("%s: %w; %s", s.target, err, strings.TrimSuffix(pgErr.Hint, "."))
	}
	return pgconn.CommandTag{}, fmt.Errorf("%s: %w", s.target, err)
}

// Check has the server prepare each statement.
func (j *sqlJob) Check(ctx context.Context, run *jobs.Run) error {
	if j.unchecked {
		return nil
	}
	var errs []error
	for i, s := range j.statements {
		err := s.check(ctx, run)
		part, isPart := errors.AsType[*jobs.FieldError](err)
		pgErr, isServer := errors.AsType[*pgconn.PgError](err)
		if isPart && isServer && i > 0 && strings.HasPrefix(pgErr.Code, "42") { // what it names is not there
			part.Err = fmt.Errorf("%w; if an earlier statement makes it, set check: false", part.Err)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// check has the server prepare the statement, and sees whether the parameters can be
// sent as what the server takes them for.
func (s *statement) check(ctx context.Context, run *jobs.Run) error {
	savepoint, err := run.Tx.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = savepoint.Rollback(ctx) }() // the transaction is rolled back in any case
	description, err := savepoint.Prepare(ctx, "", s.bound)
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr) && pgErr.Code == "42601" && pgErr.Routine == "exec_parse_message": // syntax_error, but of no parser
		return &jobs.FieldError{Field: s.field, Err: fmt.Errorf("holds several statements: %s (%w)", s.severalHint(), err)}
	case err != nil:
		return s.refuse(err)
	case len(description.ParamOIDs) != len(s.names):
		return &jobs.FieldError{Field: s.field, Err: errors.New("uses $1 and the like; name what it needs, such as @now, and declare it in parameters")}
	}
	var errs []error
	for i, name := range s.names {
		value, ok := run.Parameters[name]
		if !ok {
			continue // one of the run's own
		}
		types := savepoint.Conn().TypeMap()
		_, err := types.Encode(description.ParamOIDs[i], pgx.TextFormatCode, value, nil)
		if err != nil {
			_, err = types.Encode(description.ParamOIDs[i], pgx.BinaryFormatCode, value, nil)
		}
		if err != nil {
			errs = append(errs, &jobs.FieldError{Field: "parameters." + name, Err: fmt.Errorf(
				"%s needs a value that the server can take: %w; give it another type, or cast it in the statement, such as CAST(@%s AS bigint)", s.target, err, name)})
		}
	}
	if len(errs) > 0 || !plannedRE.MatchString(s.head) {
		return errors.Join(errs...)
	}
	// Privileges are looked at where a plan is made ready, which EXPLAIN does.
	rows, err := savepoint.Query(ctx, "EXPLAIN "+s.bound, s.values(run.Now, run.Now, 1, run.Parameters)...)
	if err == nil {
		rows.Close()
		err = rows.Err()
	}
	if err != nil {
		return &jobs.FieldError{Field: s.field, Err: err}
	}
	return nil
}

// severalHint says where the second of several statements belongs.
func (s *statement) severalHint() string {
	if s.field == outsideField {
		return "make each a job of its own"
	}
	return "make each an item of a list"
}

// plannedRE matches what can be explained.
var plannedRE = regexp.MustCompile(`^(INSERT|UPDATE|DELETE|MERGE|SELECT|WITH|VALUES|TABLE)\b`)
