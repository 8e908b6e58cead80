// Package sql holds every statement of the scheduler, as .sql files, one file an
// entity, and beside each the code that gives and takes Go values.
//
// In the files a statement begins with a line "-- name: the_name" and names our
// tables in the schema "scheduler", so that it can be pasted into psql as it is.
// [For] puts the configured schema in its place. Arguments are pgx named
// arguments, such as @job_name.
package sql

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed *.sql
var files embed.FS

// Querier is what runs a statement: a connection, a pool or a transaction.
type Querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Batcher is what sends several statements at once: a connection or a pool, on
// which they are one transaction, or a transaction.
type Batcher interface {
	SendBatch(ctx context.Context, batch *pgx.Batch) pgx.BatchResults
}

// Statements are the scheduler's statements for one schema. They are safe for
// concurrent use.
type Statements struct {
	schema string
	texts  map[string]string
}

var (
	nameLineRE = regexp.MustCompile(`(?m)^-- name: (\w+)\n`)
	schemaRE   = regexp.MustCompile(`\bscheduler\.`)
	schemaOKRE = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,45}$`)
)

// SchemaDefault is the schema where none is configured.
const SchemaDefault = "scheduler"

// CheckSchema says whether a schema's name can hold a scheduler. River allows 46
// characters, because it puts the name into those of its channels.
func CheckSchema(schema string) error {
	if !schemaOKRE.MatchString(schema) || strings.HasPrefix(schema, "pg_") {
		return fmt.Errorf("schema %q: a name is lower-case letters, digits and underscores, does not start with a digit or pg_, and has at most 46 characters", schema)
	}
	if schema == "public" {
		return fmt.Errorf(`schema "public" belongs to the application: choose a schema of the scheduler's own, such as %q`, SchemaDefault)
	}
	return nil
}

//nolint:gochecknoglobals // parsed once, never changed
var parsed = sync.OnceValue(func() map[string]string {
	texts := make(map[string]string)
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		content, err := files.ReadFile(name)
		if err != nil {
			panic(err)
		}
		marks := nameLineRE.FindAllStringSubmatchIndex(string(content), -1)
		for i, mark := range marks {
			end := len(content)
			if i+1 < len(marks) {
				end = marks[i+1][0]
			}
			key := string(content[mark[2]:mark[3]])
			if texts[key] != "" {
				panic(fmt.Sprintf("statement %q is defined twice", key))
			}
			texts[key] = strings.TrimSuffix(strings.TrimSpace(string(content[mark[0]:end])), ";")
		}
	}
	return texts
})

// For returns the statements for a schema, which must satisfy [CheckSchema].
func For(schema string) *Statements {
	texts := make(map[string]string)
	for name, text := range parsed() {
		texts[name] = schemaRE.ReplaceAllLiteralString(text, schema+".")
	}
	return &Statements{schema: schema, texts: texts}
}

// Schema is the schema that the statements name.
func (s *Statements) Schema() string { return s.schema }

// Names lists the statements, for tests that prepare each of them.
func (s *Statements) Names() []string {
	names := make([]string, 0, len(s.texts))
	for name := range s.texts {
		names = append(names, name)
	}
	return names
}

// Prepare prepares statements on a connection, so that their first use takes one
// round trip, as every later one.
func (s *Statements) Prepare(ctx context.Context, conn *pgx.Conn, names ...string) error {
	for _, name := range names {
		text, _, err := pgx.NamedArgs{}.RewriteQuery(ctx, conn, s.Text(name), nil)
		if err == nil {
			_, err = conn.Prepare(ctx, text, text)
		}
		if err != nil {
			return fmt.Errorf("prepare the statement %q: %w", name, err)
		}
	}
	return nil
}

// Text returns one statement. An unknown name is a programmer's mistake and
// panics.
func (s *Statements) Text(name string) string {
	text, ok := s.texts[name]
	if !ok {
		panic(fmt.Sprintf("no statement %q in sql/", name))
	}
	return text
}
