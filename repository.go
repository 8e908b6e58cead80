package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/scheduler/sql"
)

// Querier is what a [Repository] reads and writes with: a *pgxpool.Pool, a *pgx.Conn, or
// a pgx.Tx, such as a job's own.
type Querier = sql.Querier

// Repository is the platform's data as a program needs it, in one value. Jobs are the
// scheduler's own; Analytics and Images are tables of the platform, which the search_path
// of the connection finds. A database that lacks them is normal: the error is then
// [ErrTableAbsent].
//
// Each method is one statement, in the caller's transaction if the repository was made
// with one. It is as safe for concurrent use as what it was made with.
type Repository struct {
	Jobs      Jobs
	Analytics Analytics
	Images    Images
}

// NewRepository makes a repository. It asks the database nothing. An empty schema means
// [SchemaDefault]; one that cannot hold a scheduler is an error.
func NewRepository(db Querier, schema string) (*Repository, error) {
	if db == nil {
		return nil, fmt.Errorf("a repository needs a database: %w", ErrBadArgument)
	}
	schema = cmp.Or(schema, SchemaDefault)
	if err := sql.CheckSchema(schema); err != nil {
		return nil, err
	}
	statements := sql.For(schema)
	return repositoryOf(db, statements), nil
}

func repositoryOf(db Querier, statements *sql.Statements) *Repository {
	return &Repository{
		Jobs:      Jobs{db: db, statements: statements},
		Analytics: Analytics{db: db, statements: statements},
		Images:    Images{db: db, statements: statements},
	}
}

// Repository is the platform's data by the client's connections.
func (c *Client) Repository() *Repository { return repositoryOf(c.pool, c.statements) }

var (
	// ErrTableAbsent: the database has no such table; see [TableError].
	ErrTableAbsent = errors.New("the table is absent")

	// ErrColumnAbsent: the table is there and lacks a column; see [TableError].
	ErrColumnAbsent = errors.New("the column is absent")
)

// TableError says which of the platform's tables a [Repository] could not read. It is
// [ErrTableAbsent], [ErrColumnAbsent] or [ErrPrivilege].
type TableError struct {
	// Table is the table's name.
	Table string
	// Column is the one that is missing; empty if it is the table, or a privilege.
	Column string
	// Err is the server's error, a *pgconn.PgError.
	Err error

	reason error
}

func (e *TableError) Error() string {
	switch {
	case errors.Is(e.reason, ErrColumnAbsent):
		return fmt.Sprintf("table %q: column %q is absent; the platform's table of another version, or another program's table, has this name", e.Table, e.Column)
	case errors.Is(e.reason, ErrPrivilege):
		return fmt.Sprintf("table %q: %v; its owner has to grant it: GRANT SELECT ON %s TO the role (and UPDATE to record images)", e.Table, ErrPrivilege, e.Table)
	}
	return fmt.Sprintf("table %q is absent: no schema of the search_path has it; if the platform has it in another schema, put that into the search_path of the role, or of database_url (options=-csearch_path=...)", e.Table)
}

// Unwrap gives the sentinel and the server's error.
func (e *TableError) Unwrap() []error { return []error{e.reason, e.Err} }

// The server's codes for what a statement names and does not find.
const (
	codeUndefinedTable  = "42P01"
	codeUndefinedColumn = "42703"
)

// tableError gives an error of a statement that names one table of the platform its name.
// What a trigger or a policy of that table lacks is not the table: such an error has its
// place in another text.
func tableError(ctx context.Context, table, statement string, err error) error {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return err
	}
	ours := pgErr.Position > 0 && pgErr.InternalQuery == "" && pgErr.Where == ""
	switch {
	case pgErr.Code == codeUndefinedTable && ours:
		return &TableError{Table: table, Err: err, reason: ErrTableAbsent}
	case pgErr.Code == codeUndefinedColumn && ours:
		return &TableError{Table: table, Column: identifierAt(ctx, statement, int(pgErr.Position)), Err: err, reason: ErrColumnAbsent}
	case pgErr.Code == codeInsufficientPrivilege && pgErr.Where == "":
		return &TableError{Table: table, Err: err, reason: ErrPrivilege}
	}
	return err
}

// identifierAt is the name at a position, which counts characters from 1, of a statement
// as the server got it.
func identifierAt(ctx context.Context, statement string, position int) string {
	text, _, err := pgx.NamedArgs{}.RewriteQuery(ctx, nil, statement, nil)
	if err != nil || position < 1 || position > len(text) {
		return ""
	}
	name := string([]rune(text)[position-1:])
	end := strings.IndexFunc(name, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if end >= 0 {
		name = name[:end]
	}
	return name
}

// The first and the last instant that a method of a [Repository] looks at, if nothing else
// is said: JSON has no other years, and a date that is infinite has no day.
var (
	timeFirst = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)     //nolint:gochecknoglobals // a constant
	timeEnd   = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant
)
