package schedulertest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/sql"
)

// state is what tables hold, and how many rows were written to them.
type state struct {
	content map[string]sql.ContractContent
	writes  map[string]int64
}

// readState reads what the tables outside the scheduler's schema hold, and those that the
// options name.
func readState(ctx context.Context, db sql.Querier, options ContractOptions) (state, error) {
	s := state{content: make(map[string]sql.ContractContent), writes: make(map[string]int64)}
	tables, err := sql.Contract{}.Tables(ctx, db, options.Schema, options.Tables)
	if err != nil {
		return s, err
	}
	for _, table := range tables {
		if options.ignores(table) {
			continue
		}
		if s.content[table.Name], err = (sql.Contract{}).Content(ctx, db, table.Name, options.IgnoreColumns); err != nil {
			return s, err
		}
		if len(options.Tables) == 0 || slices.Contains(options.Tables, table.Name) || slices.Contains(options.Tables, table.Root) {
			s.writes[table.Name] = table.Writes
		}
	}
	for _, name := range options.Tables {
		if !slices.ContainsFunc(tables, func(t sql.ContractTable) bool { return t.Name == name || t.Root == name }) {
			return s, fmt.Errorf("Tables: there is no table %s in the database; write its schema, too, as in public.users", name)
		}
	}
	return s, nil
}

// countWrites is how many rows were written in the session to the tables that matter.
func (c *contract) countWrites(ctx context.Context, db pgx.Tx) (int64, error) {
	tables, err := sql.Contract{}.Tables(ctx, db, c.options.Schema, c.options.Tables)
	var writes int64
	for _, table := range tables {
		if !c.options.ignores(table) {
			writes += table.Writes
		}
	}
	return writes, err
}

func (o ContractOptions) ignores(table sql.ContractTable) bool {
	return slices.Contains(o.IgnoreTables, table.Name) || slices.Contains(o.IgnoreTables, table.Root)
}

// differences says in which tables two states differ.
func (s state) differences(other state) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(s.content)) {
		before, after := s.content[name], other.content[name]
		switch _, exists := other.content[name]; {
		case !exists:
			texts = append(texts, name+" is gone")
		case before.Rows != after.Rows:
			texts = append(texts, fmt.Sprintf("%s has %d rows instead of %d", name, after.Rows, before.Rows))
		case before.Hash != after.Hash:
			texts = append(texts, fmt.Sprintf("%s has other values in its %d rows", name, before.Rows))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(other.content)) {
		if _, existed := s.content[name]; !existed {
			texts = append(texts, name+" is new")
		}
	}
	return strings.Join(texts, "; ")
}

// written is how many rows were written between two states.
func (s state) written(later state) int64 {
	var rows int64
	for name, writes := range later.writes {
		rows += writes - s.writes[name]
	}
	return rows
}

// writtenTo says to which tables.
func (s state) writtenTo(later state) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(later.writes)) {
		if rows := later.writes[name] - s.writes[name]; rows != 0 {
			texts = append(texts, fmt.Sprintf("%s: %d", name, rows))
		}
	}
	if len(texts) == 0 {
		return "nothing"
	}
	return strings.Join(texts, ", ")
}

// state reads the state in a test.
func (s *session) state(ctx context.Context, t testing.TB, options ContractOptions) (read state) {
	t.Helper()
	look(ctx, t, s, func(tx pgx.Tx) (err error) {
		read, err = readState(ctx, tx, options)
		return err
	})
	return read
}
