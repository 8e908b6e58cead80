package integration

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/migrations"
)

const sqlReferencePath = "../docs/reference/sql.md"

var updateSQLReference = flag.Bool("update-sql-reference", false, "write docs/reference/sql.md from the database's catalog")

// sqlStates are the SQLSTATEs that our functions raise.
var sqlStates = []struct{ code, meaning string }{
	{"SC001", "unknown job"},
	{"SC002", "a parameter is unknown, of the wrong type or out of range, or a policy is"},
	{"SC003", "the job or the scheduler is paused, the leader does not know the job, the run has ended, or the job is not in rollout"},
	{"SC004", "an argument is missing or makes no sense"},
	{"SC005", "unknown run"},
	{"SC006", "unknown backfill"},
	{"42501", "the role lacks a privilege; see [Roles](../operating.md#roles)"},
}

// The reference of the views and functions is what the catalog says.
func TestSQLReference(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	text := sqlReference(t, db)
	if *updateSQLReference {
		require.NoError(t, os.WriteFile(sqlReferencePath, []byte(text), 0o644))
	}
	stored, err := os.ReadFile(sqlReferencePath)
	require.NoError(t, err)
	want, got := strings.Split(string(stored), "\n"), strings.Split(text, "\n")
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			t.Fatalf("docs/reference/sql.md has drifted in line %d; write it with: go test ./integration -run TestSQLReference -count=1 -update-sql-reference", i+1)
		}
	}

	// Every SQLSTATE is explained.
	known := make(map[string]bool)
	for _, state := range sqlStates {
		known[state.code] = true
	}
	names, err := fs.Glob(migrations.FS, "*.up.sql")
	require.NoError(t, err)
	for _, name := range names {
		content, err := fs.ReadFile(migrations.FS, name)
		require.NoError(t, err)
		for _, code := range regexp.MustCompile(`\bSC\d{3}\b`).FindAllString(string(content), -1) {
			require.True(t, known[code], "%s raises %s, which sqlStates does not have", name, code)
		}
	}
}

func sqlReference(t *testing.T, db *testdb.DB) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`<!-- Written by: go test ./integration -run TestSQLReference -count=1 -update-sql-reference. DO NOT EDIT. -->

# Views and functions

`)
	b.WriteString(scalar[string](t, db, "SELECT obj_description('scheduler'::regnamespace, 'pg_namespace')") + "\n\n")
	b.WriteString("Who may read and call what: [Roles](../operating.md#roles). Names are in the schema `scheduler`, or the one that is configured.\n\n## Views\n")
	type object struct{ Name, Comment string }
	objects := func(query string, args ...any) []object {
		rows, err := db.Pool(t).Query(t.Context(), query, args...)
		require.NoError(t, err)
		list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[object])
		require.NoError(t, err)
		require.NotEmpty(t, list)
		return list
	}
	const relations = `SELECT relname::text, obj_description(oid, 'pg_class') FROM pg_class
		WHERE relnamespace = 'scheduler'::regnamespace AND relkind = $1 AND relname NOT LIKE 'river\_%' ORDER BY 1`
	for _, view := range objects(relations, "v") {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n| Column | Type | |\n|---|---|---|\n", view.Name, cell(view.Comment))
		rows, err := db.Pool(t).Query(t.Context(), `SELECT attname::text, format_type(atttypid, atttypmod), col_description(attrelid, attnum)
			FROM pg_attribute WHERE attrelid = ('scheduler.' || $1)::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, view.Name)
		require.NoError(t, err)
		columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Name, Type, Comment string }])
		require.NoError(t, err)
		for _, column := range columns {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", column.Name, column.Type, cell(column.Comment))
		}
	}
	const functions = `SELECT p.proname || '(' || pg_get_function_arguments(p.oid) || ') → ' || pg_get_function_result(p.oid), obj_description(p.oid, 'pg_proc')
		FROM pg_proc p WHERE pronamespace = 'scheduler'::regnamespace AND prorettype <> 'trigger'::regtype AND proname <> 'river_job_state_in_bitmask'
		  AND prosecdef = $1 ORDER BY 1`
	b.WriteString("\n## Functions\n\nArguments can be given by name: `SELECT scheduler.pause_job('each_night', reason => 'disk is full');`\n")
	for _, function := range objects(functions, true) {
		name, _, _ := strings.Cut(function.Name, "(")
		fmt.Fprintf(&b, "\n### %s\n\n    %s\n\n%s\n", name, strings.ReplaceAll(function.Name, "scheduler.", ""), cell(function.Comment))
	}
	b.WriteString("\n## Functions inside\n\nWhat views, replicas and other functions call. Not for people.\n\n| Function | |\n|---|---|\n")
	for _, function := range objects(functions, false) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(function.Name, "scheduler.", ""), cell(function.Comment))
	}
	b.WriteString("\n## Tables\n\nNot to be written. What they hold is to be read in the views.\n\n| Table | |\n|---|---|\n")
	for _, table := range objects(relations, "r") {
		fmt.Fprintf(&b, "| `%s` | %s |\n", table.Name, cell(table.Comment))
	}
	b.WriteString("\n## SQLSTATEs\n\n| Code | Meaning |\n|---|---|\n")
	for _, state := range sqlStates {
		fmt.Fprintf(&b, "| `%s` | %s |\n", state.code, state.meaning)
	}
	return b.String()
}

// cell is a comment in Markdown.
func cell(comment string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "_", `\_`, "*", `\*`, "\n", " ").Replace(comment)
}
