package declared

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// The names that every statement may use beside the job's parameters.
const (
	argNow   = "now"    // the database's clock when the attempt began, timestamptz
	argTick  = "tick"   // the time that the run is for, timestamptz
	argRunID = "run_id" // the key of the run in the ledger, bigint
)

// ownArguments lists them.
func ownArguments() []string { return []string{argNow, argTick, argRunID} }

// statement is one SQL statement with named arguments.
type statement struct {
	// field is what errors call it.
	field string
	// target is its name in the ledger.
	target string
	// text is as it was declared, bound as the server gets it: with $1 for the first of
	// names.
	text, bound string
	names       []string
	// places are where each argument stands in text, at its @.
	places []sql.ArgumentUse
	// origins has for each byte of bound the one of text that it comes from.
	origins []int
	// head is the text without comments in front, in capitals and with single spaces.
	head string
}

// newStatement reads a statement, whose arguments are the definition's parameters and those
// of its own that it has beside them. It asks no server: whether it is SQL is not known
// then. Where only arguments are unknown, there is a statement beside the error.
func newStatement(field, text string, definition jobs.Definition, own ...string) (*statement, error) {
	refuse := func(format string, args ...any) error {
		return &jobs.FieldError{Field: field, Err: fmt.Errorf(format, args...)}
	}
	switch {
	case strings.ContainsRune(text, 0):
		return nil, refuse("holds a NUL character, which SQL cannot")
	case !utf8.ValidString(text):
		return nil, refuse("is not valid UTF-8")
	}
	s := &statement{field: field, text: text, head: headOf(text)}
	if s.head == "" {
		return nil, refuse("is empty; give a SQL statement")
	}
	if err := s.bind(definition); err != nil {
		return nil, refuse("cannot be read: %w", err)
	}
	return s, s.checkNames(definition, own)
}

// bind makes the text that the server gets. What has one type in any case is given it, where
// the server would guess: it takes the first of two unknowns for what the second is.
func (s *statement) bind(definition jobs.Definition) (err error) {
	if s.places, err = sql.ArgumentUses(s.text); err != nil {
		return err
	}
	var bound strings.Builder
	done := 0
	for _, place := range s.places {
		s.copy(&bound, done, place.Begin)
		done = place.End
		if !slices.Contains(s.names, place.Name) {
			s.names = append(s.names, place.Name)
		}
		number := fmt.Sprintf("$%d%s", slices.Index(s.names, place.Name)+1, castOf(place.Name, definition))
		bound.WriteString(number)
		s.origins = append(s.origins, slices.Repeat([]int{place.Begin}, len(number))...)
	}
	s.copy(&bound, done, len(s.text))
	s.bound = bound.String()
	return nil
}

// copy takes a part of the text over as it is.
func (s *statement) copy(bound *strings.Builder, from, to int) {
	bound.WriteString(s.text[from:to])
	for i := from; i < to; i++ {
		s.origins = append(s.origins, i)
	}
}

// castOf is the type that an argument has in every statement. A number or a string is
// what the statement takes it for: an integer, a bigint, a date.
func castOf(name string, definition jobs.Definition) string {
	switch name {
	case argNow, argTick:
		return "::timestamptz"
	case argRunID:
		return "::bigint"
	}
	for _, p := range definition.Parameters {
		switch {
		case p.Name != name:
		case p.Type == jobs.TypeDuration:
			return "::interval"
		case p.Type == jobs.TypeBoolean:
			return "::boolean"
		}
	}
	return ""
}

// refuse makes an error of the server's answer, with the place in the declared text.
func (s *statement) refuse(err error) error {
	refusal := &jobs.FieldError{Field: s.field, Err: err}
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return refusal
	}
	if pgErr.Position > 0 {
		refusal.Position = s.position(int(pgErr.Position))
	}
	if pgErr.Hint != "" {
		refusal.Err = fmt.Errorf("%w; %s", err, strings.TrimSuffix(pgErr.Hint, "."))
	}
	return refusal
}

// position is where a character of the bound text, from 1, stands in the declared one.
func (s *statement) position(bound int) int {
	for i := range s.bound {
		if bound--; bound == 0 {
			return utf8.RuneCountInString(s.text[:s.origins[i]]) + 1
		}
	}
	return utf8.RuneCountInString(s.text) + 1
}

// checkNames refuses arguments that are neither declared nor the statement's own.
func (s *statement) checkNames(definition jobs.Definition, own []string) error {
	known := slices.Clone(own)
	for _, p := range definition.Parameters {
		known = append(known, p.Name)
	}
	var errs []error
	for _, place := range s.places {
		if !slices.Contains(known, place.Name) {
			errs = append(errs, &jobs.FieldError{
				Field: s.field, Position: utf8.RuneCountInString(s.text[:place.Begin]) + 1,
				Err: fmt.Errorf("@%s is not known; declare it in parameters, or use one of @%s; if it is an operator, put a space behind its @", place.Name, strings.Join(known, ", @")),
			})
		}
	}
	return errors.Join(errs...)
}

// values are the statement's arguments in a run.
func (s *statement) values(now, tick time.Time, runID int64, parameters jobs.Parameters) []any {
	list := make([]any, 0, len(s.names)+1)
	// Described by the server each time, and not kept: a text is sent rarely, and one that
	// was kept breaks where a table changes.
	list = append(list, pgx.QueryExecModeDescribeExec)
	for _, name := range s.names {
		switch name {
		case argNow:
			list = append(list, now)
		case argTick:
			list = append(list, tick)
		case argRunID:
			list = append(list, runID)
		default:
			list = append(list, parameters[name])
		}
	}
	return list
}

// checkParameters refuses parameters that no statement uses, or whose name every
// statement has for something else.
func checkParameters(definition jobs.Definition, statements ...*statement) error {
	var errs []error
	for _, p := range definition.Parameters {
		refuse := func(text string) {
			errs = append(errs, &jobs.FieldError{Field: "parameters." + p.Name, Err: errors.New(text)})
		}
		switch {
		case slices.Contains(ownArguments(), p.Name):
			refuse("every statement has @" + p.Name + " already, the run's own; choose another name")
		case !slices.ContainsFunc(statements, func(s *statement) bool { return slices.Contains(s.names, p.Name) }):
			refuse("no statement uses @" + p.Name + "; use it, or leave the parameter out")
		}
	}
	return errors.Join(errs...)
}

var spaceRE = regexp.MustCompile(`\s+`)

// headOf is the text without what stands before its first word, in capitals and with
// single spaces. The first words say what kind of statement it is.
func headOf(text string) string {
	for {
		text = strings.TrimLeft(text, " \t\r\n\f\v;")
		switch {
		case strings.HasPrefix(text, "--"):
			_, text, _ = strings.Cut(text, "\n")
		case strings.HasPrefix(text, "/*"):
			text = afterComment(text)
		default:
			return strings.ToUpper(spaceRE.ReplaceAllString(text, " "))
		}
	}
}

// afterComment is the text after the comment with which it begins. They nest.
func afterComment(text string) string {
	depth := 0
	for i := 0; i+1 < len(text); i++ {
		switch text[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			i++
			if depth--; depth == 0 {
				return text[i+1:]
			}
		}
	}
	return ""
}

// What cannot be run in a transaction. What is not found here, the server refuses.
var outsideRE = regexp.MustCompile(`^(VACUUM\b|ALTER SYSTEM\b|(CREATE|DROP) (DATABASE|TABLESPACE|SUBSCRIPTION)\b` +
	`|CREATE (UNIQUE )?INDEX CONCURRENTLY\b|DROP INDEX CONCURRENTLY\b|REINDEX\b.*\bCONCURRENTLY\b|REINDEX (\(.*\) )?(SCHEMA|DATABASE|SYSTEM)\b` +
	`|ALTER TABLE\b.* DETACH PARTITION\b.* CONCURRENTLY\b)`)

// What would end or divide the transaction of the run, or outlive it on a connection
// that other jobs use after it.
var sessionRE = regexp.MustCompile(`^(BEGIN|START|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE|PREPARE|EXECUTE|DEALLOCATE|DECLARE|FETCH|MOVE|CLOSE|LISTEN|UNLISTEN|DISCARD|LOAD|RESET|SET)\b`)

var (
	setLocalRE = regexp.MustCompile(`^(SET LOCAL|SET CONSTRAINTS)\b`)
	roleRE     = regexp.MustCompile(`^SET LOCAL (ROLE|SESSION AUTHORIZATION)\b`)
	copyRE     = regexp.MustCompile(`^COPY\b.*\b(STDIN|STDOUT)\b`)
)

// checkSession refuses statements that are not for one transaction on a connection that
// is shared.
func (s *statement) checkSession() error {
	word, _, _ := strings.Cut(s.head, " ")
	word = strings.TrimRight(word, ";")
	var problem string
	switch {
	case roleRE.MatchString(s.head):
		problem = "changes the role: a job works as the scheduler's own; give that the privileges"
	case setLocalRE.MatchString(s.head):
	case copyRE.MatchString(s.head):
		problem = "COPY from or to the client: there is nobody at the other end; use INSERT, or COPY with a file or program of the server"
	case strings.HasPrefix(s.head, "SET "):
		problem = "changes a setting of a connection that other jobs use after it; use SET LOCAL, which ends with the transaction"
	case sessionRE.MatchString(s.head):
		problem = word + " is about transactions, cursors or the connection: the scheduler begins and ends the transaction of a run; leave it out"
	}
	if problem == "" {
		return nil
	}
	return &jobs.FieldError{Field: s.field, Err: errors.New(problem)}
}
