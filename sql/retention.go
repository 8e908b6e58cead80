package sql

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

//go:embed rules/*.sql rules/shapes/*.sql
var ruleFiles embed.FS

// Rule returns a rule of the built-in jobs: the text of rules/NAME.sql. An
// unknown name is a programmer's mistake and panics.
func Rule(name string) string { return ruleFile("rules/" + name + ".sql") }

// Shape returns a statement that the cleanup engine makes around a rule: the text
// of rules/shapes/NAME.sql, for the schema, with values in the place of keys such
// as {rule}. Values are put in as they are: they come from programs, never from
// users. An unknown name is a programmer's mistake and panics.
func (s *Statements) Shape(name string, keysAndValues ...string) string {
	text := strings.NewReplacer(keysAndValues...).Replace(ruleFile("rules/shapes/" + name + ".sql"))
	return s.InSchema(text)
}

// InSchema puts the schema in the place of "scheduler." in a text.
func (s *Statements) InSchema(text string) string {
	return schemaRE.ReplaceAllLiteralString(text, s.schema+".")
}

func ruleFile(path string) string {
	content, err := ruleFiles.ReadFile(path)
	if err != nil {
		panic(fmt.Sprintf("no rule in sql/%s", path))
	}
	return strings.TrimSuffix(strings.TrimSpace(string(content)), ";")
}

// Relation names a table, or a column of it.
type Relation struct {
	// Relation is the table, as it is written in SQL.
	Relation string
	// Attribute is the column; empty for the table alone.
	Attribute string
}

// String is the form "table" or "table(column)".
func (r Relation) String() string {
	if r.Attribute == "" {
		return r.Relation
	}
	return r.Relation + "(" + r.Attribute + ")"
}

// MissingRelations returns those that are not there, as the search_path of db
// sees them.
func (s *Statements) MissingRelations(ctx context.Context, db Querier, relations []Relation) ([]Relation, error) {
	names, attributes := make([]string, len(relations)), make([]string, len(relations))
	for i, r := range relations {
		names[i], attributes[i] = r.Relation, r.Attribute
	}
	rows, err := db.Query(ctx, s.Text("retention_missing"), pgx.NamedArgs{"relations": names, "attributes": attributes})
	if err != nil {
		return nil, fmt.Errorf("look for the tables: %w", err)
	}
	missing, err := pgx.CollectRows(rows, pgx.RowToStructByName[Relation])
	if err != nil {
		return nil, fmt.Errorf("look for the tables: %w", err)
	}
	return missing, nil
}

// PlainTable says whether a relation that exists is an ordinary table, neither
// partitioned nor inherited from.
func (s *Statements) PlainTable(ctx context.Context, db Querier, relation string) (bool, error) {
	var plain bool
	if err := db.QueryRow(ctx, s.Text("retention_plain"), pgx.NamedArgs{"relation": relation}).Scan(&plain); err != nil {
		return false, fmt.Errorf("look at table %s: %w", relation, err)
	}
	return plain, nil
}

// NextCandidates returns up to limit candidates, from number first on.
func (s *Statements) NextCandidates(ctx context.Context, db Querier, runID int64, target string, first, limit int64) ([]pgtype.TID, error) {
	rows, err := db.Query(ctx, s.Text("retention_next"), pgx.NamedArgs{"run_id": runID, "target": target, "first": first, "max": limit})
	if err != nil {
		return nil, fmt.Errorf("read the candidates: %w", err)
	}
	ctids, err := pgx.CollectRows(rows, pgx.RowTo[pgtype.TID])
	if err != nil {
		return nil, fmt.Errorf("read the candidates: %w", err)
	}
	return ctids, nil
}

// ClearCandidates deletes the candidates of a target up to number last.
func (s *Statements) ClearCandidates(ctx context.Context, db Querier, runID int64, target string, last int64) error {
	_, err := db.Exec(ctx, s.Text("retention_clear"), pgx.NamedArgs{"run_id": runID, "target": target, "last": last})
	if err != nil {
		return fmt.Errorf("delete candidates: %w", err)
	}
	return nil
}

// RunsOver lists the runs, other than runID, that have candidates and have ended.
func (s *Statements) RunsOver(ctx context.Context, db Querier, runID int64) ([]int64, error) {
	rows, err := db.Query(ctx, s.Text("retention_over"), pgx.NamedArgs{"run_id": runID})
	if err != nil {
		return nil, fmt.Errorf("look for candidates of ended runs: %w", err)
	}
	over, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("look for candidates of ended runs: %w", err)
	}
	return over, nil
}

// DropCandidates deletes up to limit candidates of a run and says how many.
func (s *Statements) DropCandidates(ctx context.Context, db Querier, runID, limit int64) (int64, error) {
	tag, err := db.Exec(ctx, s.Text("retention_drop"), pgx.NamedArgs{"run_id": runID, "max": limit})
	if err != nil {
		return 0, fmt.Errorf("delete candidates of an ended run: %w", err)
	}
	return tag.RowsAffected(), nil
}

// BatchSettings are the settings that were in force before [Statements.BeginBatch].
type BatchSettings struct {
	// LockTimeout, SeqScan and RandomPageCost are as the server writes them.
	LockTimeout, SeqScan, RandomPageCost string
	// At is the database's clock.
	At time.Time
}

// BeginBatch puts the settings of a batch in force, until the end of tx or
// [Statements.EndBatch].
func (s *Statements) BeginBatch(ctx context.Context, tx pgx.Tx, lockTimeout time.Duration) (BatchSettings, error) {
	var b BatchSettings
	var discard string
	err := tx.QueryRow(ctx, s.Text("retention_settings"), pgx.NamedArgs{"lock_timeout": fmt.Sprintf("%dms", max(lockTimeout.Milliseconds(), 1))}).
		Scan(&b.LockTimeout, &b.SeqScan, &b.RandomPageCost, &discard, &discard, &discard, &b.At)
	if err != nil {
		return BatchSettings{}, fmt.Errorf("set up a batch: %w", err)
	}
	return b, nil
}

// EndBatch puts the earlier settings in force again and returns the time since
// [Statements.BeginBatch], by the database's clock.
func (s *Statements) EndBatch(ctx context.Context, tx pgx.Tx, b BatchSettings) (time.Duration, error) {
	var discard string
	var now time.Time
	err := tx.QueryRow(ctx, s.Text("retention_settings_back"), pgx.NamedArgs{
		"lock_timeout": b.LockTimeout, "enable_seqscan": b.SeqScan, "random_page_cost": b.RandomPageCost,
	}).Scan(&discard, &discard, &discard, &now)
	if err != nil {
		return 0, fmt.Errorf("end a batch: %w", err)
	}
	return now.Sub(b.At), nil
}

// BeginPass gives a transaction that has just begun one snapshot for all of its
// statements, and returns the snapshot's horizon: the number of the oldest
// transaction that had not ended.
func (s *Statements) BeginPass(ctx context.Context, tx pgx.Tx) (int64, error) {
	if _, err := tx.Exec(ctx, s.Text("retention_one_snapshot")); err != nil {
		return 0, fmt.Errorf("begin a pass: %w", err)
	}
	var horizon int64
	if err := tx.QueryRow(ctx, s.Text("retention_horizon")).Scan(&horizon); err != nil {
		return 0, fmt.Errorf("read the oldest transaction: %w", err)
	}
	return horizon, nil
}

// IDsAscend says whether the sequence of a column hands out ascending ids. It is
// true for a column that has no sequence of its own.
func (s *Statements) IDsAscend(ctx context.Context, db Querier, column Relation) (bool, error) {
	var ascend bool
	err := db.QueryRow(ctx, s.Text("retention_ordered"), pgx.NamedArgs{"relation": column.Relation, "attribute": column.Attribute}).Scan(&ascend)
	if errors.Is(err, pgx.ErrNoRows) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at the sequence of %s: %w", column, err)
	}
	return ascend, nil
}

// Writer is a transaction that may have written to a table.
type Writer struct {
	// ID is its virtual transaction id.
	ID string
	// PID is its server process; 0 for a prepared transaction.
	PID int32
	// Age is its age in seconds; negative if the role may not see it.
	Age float64
}

// Writers lists the transactions under way that may have inserted into a table:
// of those named, or, with nil, all.
func (s *Statements) Writers(ctx context.Context, db Querier, relation string, ids []string) ([]Writer, error) {
	rows, err := db.Query(ctx, s.Text("retention_writers"), pgx.NamedArgs{"relation": relation, "ids": ids})
	if err != nil {
		return nil, fmt.Errorf("look for writers of %s: %w", relation, err)
	}
	writers, err := pgx.CollectRows(rows, pgx.RowToStructByName[Writer])
	if err != nil {
		return nil, fmt.Errorf("look for writers of %s: %w", relation, err)
	}
	return writers, nil
}
