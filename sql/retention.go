package sql

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
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

// Part is a table that holds rows of a rule's table: that table itself, a partition,
// or an heir.
type Part struct {
	// OID and Name are those of pg_class; Name is written as SQL.
	OID  int64  `db:"oid"`
	Name string `db:"name"`
	// Kind is pg_class.relkind.
	Kind string `db:"kind"`
	// IsRoot says that it is the table itself, HasHeirs that others inherit from it.
	IsRoot   bool `db:"is_root"`
	HasHeirs bool `db:"has_heirs"`
	// File is the number of its file. It changes when the table is rewritten.
	File int64 `db:"file"`
	// Pages is its size; Tuples the rows in it as the planner estimates them, negative
	// if the table was never analyzed.
	Pages  int64   `db:"pages"`
	Tuples float64 `db:"tuples"`
}

// Parts lists the tables that hold the rows of a table that exists, in the order of
// their oids.
func (s *Statements) Parts(ctx context.Context, db Querier, relation string) ([]Part, error) {
	rows, err := db.Query(ctx, s.Text("retention_parts"), pgx.NamedArgs{"relation": relation})
	if err != nil {
		return nil, fmt.Errorf("look at table %s: %w", relation, err)
	}
	parts, err := pgx.CollectRows(rows, pgx.RowToStructByName[Part])
	if err != nil {
		return nil, fmt.Errorf("look at table %s: %w", relation, err)
	}
	return parts, nil
}

// IsSame says whether the places of rows in a part still mean the same rows: its file
// is the same, it has its name, and is still a part of root.
func (s *Statements) IsSame(ctx context.Context, db Querier, part Part, root, file int64) (bool, error) {
	var same bool
	err := db.QueryRow(ctx, s.Shape("same", "{is_part}", s.Shape("is_part")), pgx.NamedArgs{
		"_part": part.OID, "_name": strings.TrimPrefix(part.Name, only), "_root": root, "_file": file,
	}).Scan(&same)
	if err != nil {
		return false, fmt.Errorf("look at the table's file: %w", err)
	}
	return same, nil
}

// only is what a part's name begins with that leaves out its heirs.
const only = "ONLY "

// WithoutHeirs names the part alone, if others inherit from it.
func (p Part) WithoutHeirs() string {
	if p.HasHeirs {
		return only + p.Name
	}
	return p.Name
}

// LookAtAll lets the statements that follow in tx look at a whole table, for so long.
func (s *Statements) LookAtAll(ctx context.Context, tx pgx.Tx, atMost time.Duration) error {
	_, err := tx.Exec(ctx, s.Text("retention_look_at_all"), pgx.NamedArgs{"statement_timeout": milliseconds(atMost)})
	if err != nil {
		return fmt.Errorf("set up a look at a partition: %w", err)
	}
	return nil
}

// TableFacts decide how the rows of a table are worked.
type TableFacts struct {
	// Indexes are those that an update must touch; IndexCount counts all.
	Indexes    []string `db:"indexes"`
	IndexCount int      `db:"index_count"`
	// Triggers are those of the application that fire; ChangingTriggers may change what an
	// update writes. StatementTriggers are those of the partitioned table, which do not
	// fire for its partitions.
	Triggers          []string `db:"triggers"`
	ChangingTriggers  []string `db:"changing_triggers"`
	StatementTriggers []string `db:"statement_triggers"`
	// IsDeferrable: a constraint may be checked as late as the commit; IsAnyDeferrable: one
	// of this table or another.
	IsDeferrable    bool `db:"is_deferrable"`
	IsAnyDeferrable bool `db:"is_any_deferrable"`
	// Columns are those to write to the archive, as SQL; Lacking those that it lacks, with
	// their types. None without an archive.
	Columns []string `db:"columns"`
	Lacking []string `db:"lacking"`
	// CallsFunctions: one of the functions asked for is not Postgres' own.
	CallsFunctions bool `db:"calls_functions"`
}

// FactsWanted says for what a table is looked at.
type FactsWanted struct {
	// Part is the table's oid, Relation the rule's table, of which it may be a part.
	Part     int64
	Relation string
	// Event is "DELETE" or "UPDATE"; Columns are those to be updated.
	Event   string
	Columns []string
	// Functions are the names of functions in the rule.
	Functions []string
	// Archive is the table that takes the rows; empty if there is none.
	Archive string
}

// TableFacts looks at a table of which rows are to be deleted or updated.
func (s *Statements) TableFacts(ctx context.Context, db Querier, w FactsWanted) (TableFacts, error) {
	rows, err := db.Query(ctx, s.Text("retention_facts"), pgx.NamedArgs{
		"part": w.Part, "relation": w.Relation, "event": w.Event, "columns": w.Columns, "functions": w.Functions, "archive": w.Archive,
	})
	if err != nil {
		return TableFacts{}, fmt.Errorf("look at the table's indexes and triggers: %w", err)
	}
	facts, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[TableFacts])
	if err != nil {
		return TableFacts{}, fmt.Errorf("look at the table's indexes and triggers: %w", err)
	}
	return facts, nil
}

// Reference is a foreign key that a delete checks or cascades along.
type Reference struct {
	// Name is the constraint's, Table that of the referencing table, as SQL.
	Name  string `db:"name"`
	Table string `db:"table_name"`
	// Cascades: referencing rows go with the referenced.
	Cascades bool `db:"cascades"`
	// Columns are the referencing ones, as SQL.
	Columns []string `db:"columns"`
	// HasIndex: the key's own statements can use an index on them.
	HasIndex bool `db:"has_index"`
	// Pages is the size of Table.
	Pages int64 `db:"pages"`
}

// References lists the foreign keys that a delete from a table has to do with.
func (s *Statements) References(ctx context.Context, db Querier, oid int64) ([]Reference, error) {
	rows, err := db.Query(ctx, s.Text("retention_references"), pgx.NamedArgs{"part": oid})
	if err != nil {
		return nil, fmt.Errorf("look for foreign keys: %w", err)
	}
	references, err := pgx.CollectRows(rows, pgx.RowToStructByName[Reference])
	if err != nil {
		return nil, fmt.Errorf("look for foreign keys: %w", err)
	}
	return references, nil
}

// BatchSettings are the settings that were in force before [Statements.BeginBatch].
type BatchSettings struct {
	// LockTimeout, SeqScan, RandomPageCost, RowSecurity and JIT are as the server writes
	// them.
	LockTimeout, SeqScan, RandomPageCost, RowSecurity, JIT string
	// At is the database's clock.
	At time.Time
}

// BeginBatch puts the settings of a batch in force, until the end of tx or
// [Statements.EndBatch].
func (s *Statements) BeginBatch(ctx context.Context, tx pgx.Tx, lockTimeout time.Duration) (BatchSettings, error) {
	var b BatchSettings
	var discard string
	err := tx.QueryRow(ctx, s.Text("retention_settings"), pgx.NamedArgs{"lock_timeout": milliseconds(lockTimeout)}).
		Scan(&b.LockTimeout, &b.SeqScan, &b.RandomPageCost, &b.RowSecurity, &b.JIT, &discard, &discard, &discard, &discard, &discard, &b.At)
	if err != nil {
		return BatchSettings{}, fmt.Errorf("set up a batch: %w", err)
	}
	return b, nil
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%dms", max(d.Milliseconds(), 1)) }

// EndBatch puts the earlier settings in force again and returns the time since
// [Statements.BeginBatch], by the database's clock.
func (s *Statements) EndBatch(ctx context.Context, tx pgx.Tx, b BatchSettings) (time.Duration, error) {
	var discard string
	var now time.Time
	err := tx.QueryRow(ctx, s.Text("retention_settings_back"), pgx.NamedArgs{
		"lock_timeout": b.LockTimeout, "enable_seqscan": b.SeqScan, "random_page_cost": b.RandomPageCost, "row_security": b.RowSecurity,
		"jit": b.JIT,
	}).Scan(&discard, &discard, &discard, &discard, &discard, &now)
	if err != nil {
		return 0, fmt.Errorf("end a batch: %w", err)
	}
	return now.Sub(b.At), nil
}

// CheckNow does what constraints have deferred to the end of tx.
func (s *Statements) CheckNow(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, s.Text("retention_check_now")); err != nil {
		return fmt.Errorf("check the deferred constraints: %w", err)
	}
	return nil
}

// BeginWhole sets up a transaction that looks at everything, and returns its pid.
func (s *Statements) BeginWhole(ctx context.Context, tx pgx.Tx, lockTimeout time.Duration) (pid int32, err error) {
	var discard string
	err = tx.QueryRow(ctx, s.Text("retention_whole"), pgx.NamedArgs{"lock_timeout": milliseconds(lockTimeout)}).Scan(&discard, &discard, &discard, &pid)
	if err != nil {
		return 0, fmt.Errorf("set up a pass: %w", err)
	}
	return pid, nil
}

// HeldUp counts the sessions that wait for a lock of this one.
func (s *Statements) HeldUp(ctx context.Context, tx pgx.Tx) (int, error) {
	var n int
	if err := tx.QueryRow(ctx, s.Text("retention_held_up")).Scan(&n); err != nil {
		return 0, fmt.Errorf("look for sessions that wait: %w", err)
	}
	return n, nil
}

// GiveWay ends the statement of a session of ours if it keeps others waiting for a
// lock, and says whether it did.
func (s *Statements) GiveWay(ctx context.Context, db Querier, pid int32) (bool, error) {
	var did bool
	if err := db.QueryRow(ctx, s.Text("retention_give_way"), pgx.NamedArgs{"pid": pid}).Scan(&did); err != nil {
		return false, fmt.Errorf("look for sessions that wait: %w", err)
	}
	return did, nil
}

// Conflict is a lock that keeps writers out of a table, held or waited for.
type Conflict struct {
	PID     int32  `db:"pid"`
	Mode    string `db:"mode"`
	Granted bool   `db:"granted"`
	// Query is the start of what the session does; empty if the role may not see it.
	Query string `db:"query"`
}

// String describes the conflict for people.
func (c Conflict) String() string {
	text := fmt.Sprintf("pid %d, which waits for %s", c.PID, c.Mode)
	if c.Granted {
		text = fmt.Sprintf("pid %d, which holds %s", c.PID, c.Mode)
	}
	if c.Query != "" {
		text += ": " + c.Query
	}
	return text
}

// Conflict returns one such lock on a table; nil if there is none.
func (s *Statements) Conflict(ctx context.Context, db Querier, oid int64) (*Conflict, error) {
	return queryOptional[Conflict](ctx, db, "look for locks on the table", s.Text("retention_conflict"), pgx.NamedArgs{"part": oid})
}

// Lag is how far a replica of the database is behind.
type Lag struct {
	// Name is its application_name.
	Name  string `db:"name"`
	Bytes int64  `db:"bytes"`
}

// Lag returns the replica that is furthest behind; nil if there is none, or if the
// role may not see them.
func (s *Statements) Lag(ctx context.Context, db Querier) (*Lag, error) {
	return queryOptional[Lag](ctx, db, "look at the replicas' lag", s.Text("retention_lag"), pgx.NamedArgs{})
}

// Oldest is what keeps dead versions of rows from being removed.
type Oldest struct {
	// What describes it.
	What string `db:"what"`
	// Seconds is its age; +Inf for a replica and a replication slot.
	Seconds float64 `db:"seconds"`
}

// Oldest returns the one that has done so for longest; nil if none for longer than the
// given time.
func (s *Statements) Oldest(ctx context.Context, db Querier, atLeast time.Duration) (*Oldest, error) {
	return queryOptional[Oldest](ctx, db, "look for long transactions", s.Text("retention_oldest"), pgx.NamedArgs{"seconds": atLeast.Seconds()})
}

func queryOptional[T any](ctx context.Context, db Querier, what, text string, args pgx.NamedArgs) (*T, error) {
	rows, err := db.Query(ctx, text, args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	value, err := pgx.CollectOneRow(rows, pgx.RowToAddrOfStructByName[T])
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return value, nil
}

// Detachment holds the statements that take a partition out of its table.
type Detachment struct {
	// Lock keeps writers out of the partition, LockAll everybody out of the table. Detach
	// takes the partition out, Remove drops it.
	Lock    string `db:"lock"`
	LockAll string `db:"lock_all"`
	Detach  string `db:"detach"`
	Remove  string `db:"remove"`
}

// Detachment makes them; nil if the table is no partition.
func (s *Statements) Detachment(ctx context.Context, db Querier, oid int64) (*Detachment, error) {
	return queryOptional[Detachment](ctx, db, "look at the partition", s.Text("retention_detach"), pgx.NamedArgs{"part": oid})
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

// RelationFacts say what a table is.
type RelationFacts struct {
	// OID is 0 if there is no such relation.
	OID int64 `db:"oid"`
	// Kind is pg_class.relkind, Persistence relpersistence.
	Kind        string `db:"kind"`
	Schema      string `db:"schema"`
	Persistence string `db:"persistence"`
	// Similar is a table that may have been meant, as SQL; empty if none looks so.
	Similar string `db:"similar"`
}

// RelationFacts looks at what a rule names as its table, as the search_path of db sees it.
func (s *Statements) RelationFacts(ctx context.Context, db Querier, relation string) (RelationFacts, error) {
	return queryOne[RelationFacts](ctx, db, "look at table "+relation, s.Text("retention_relation"), pgx.NamedArgs{"relation": relation})
}

func queryOne[T any](ctx context.Context, db Querier, what, text string, args pgx.NamedArgs) (T, error) {
	value, err := queryOptional[T](ctx, db, what, text, args)
	if err == nil && value == nil {
		err = fmt.Errorf("%s: %w", what, pgx.ErrNoRows)
	}
	if err != nil {
		return *new(T), err
	}
	return *value, nil
}

// VolatileFunctions lists which of these names stand for functions that say something
// else each time.
func (s *Statements) VolatileFunctions(ctx context.Context, db Querier, names []string) ([]string, error) {
	rows, err := db.Query(ctx, s.Text("retention_volatile"), pgx.NamedArgs{"functions": names})
	if err != nil {
		return nil, fmt.Errorf("look for volatile functions: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for volatile functions: %w", err)
	}
	return found, nil
}

// OtherColumns lists the columns of a table but for some, as SQL.
func (s *Statements) OtherColumns(ctx context.Context, db Querier, oid int64, columns []string) (string, error) {
	var list string
	err := db.QueryRow(ctx, s.Text("retention_other_columns"), pgx.NamedArgs{"part": oid, "columns": columns}).Scan(&list)
	if err != nil {
		return "", fmt.Errorf("look at the table's columns: %w", err)
	}
	return list, nil
}
