package sql

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// PartitionedTable is a table as a job sees it that makes and takes partitions.
type PartitionedTable struct {
	// OID is 0 if there is no such table. Name is written as SQL, PlainName is the bare one.
	OID       int64  `db:"oid"`
	Name      string `db:"name"`
	PlainName string `db:"plain_name"`
	// Kind is pg_class.relkind; Strategy is pg_partitioned_table.partstrat, and Columns the
	// number of columns of the key.
	Kind     string `db:"kind"`
	Strategy string `db:"strategy"`
	Columns  int    `db:"columns"`
	// Key is the first column of the key, as SQL, and Type its type; empty if it is an
	// expression.
	Key  string `db:"key"`
	Type string `db:"type"`
	// IsOwner: the role may do what the owner, Owner, may. MayCreate: it may create tables
	// in Schema.
	IsTemporary bool   `db:"is_temporary"`
	IsOwner     bool   `db:"is_owner"`
	Owner       string `db:"owner"`
	MayCreate   bool   `db:"may_create"`
	Schema      string `db:"schema"`
	// DefaultPartition is the one that takes what fits no other, as SQL; empty if there is
	// none.
	DefaultPartition string `db:"default_partition"`
	// HasReferences: it has foreign keys, or others refer to it.
	HasReferences bool `db:"has_references"`
}

// PartitionedTable looks at a table, as the search_path of db sees it.
func (s *Statements) PartitionedTable(ctx context.Context, db Querier, relation string) (PartitionedTable, error) {
	return queryOne[PartitionedTable](ctx, db, "look at table "+relation, s.Text("partition_table"), pgx.NamedArgs{"relation": relation})
}

// Partition is a partition of a table that is partitioned by time. Bounds that are no
// times, MINVALUE and MAXVALUE, are infinite.
type Partition struct {
	OID    int64              `db:"oid"`
	Name   string             `db:"name"`
	Lower  pgtype.Timestamptz `db:"lower"`
	Upper  pgtype.Timestamptz `db:"upper"`
	Tuples float64            `db:"tuples"`
}

// Partitions lists the partitions of a table but for the default one, by their bounds;
// with part, that one alone. [Statements.BeginPartition] comes first.
func (s *Statements) Partitions(ctx context.Context, tx pgx.Tx, table, part int64) ([]Partition, error) {
	rows, err := tx.Query(ctx, s.Text("partition_list"), pgx.NamedArgs{"table": table, "part": part})
	if err != nil {
		return nil, fmt.Errorf("look at the partitions: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByName[Partition])
	if err != nil {
		return nil, fmt.Errorf("look at the partitions: %w", err)
	}
	return list, nil
}

// PartitionSettings are the settings that were in force before [Statements.BeginPartition].
type PartitionSettings struct{ dateStyle, timeZone, lockTimeout, statementTimeout string }

// BeginPartition puts the settings for the statements about a partition in force, until
// the end of tx or [Statements.EndPartition].
func (s *Statements) BeginPartition(ctx context.Context, tx pgx.Tx, lockTimeout, statementTimeout time.Duration) (PartitionSettings, error) {
	var p PartitionSettings
	var discard string
	err := tx.QueryRow(ctx, s.Text("partition_settings"), pgx.NamedArgs{
		"lock_timeout": milliseconds(lockTimeout), "statement_timeout": milliseconds(statementTimeout),
	}).Scan(&p.dateStyle, &p.timeZone, &p.lockTimeout, &p.statementTimeout, &discard, &discard, &discard, &discard)
	if err != nil {
		return p, fmt.Errorf("set up the work on a partition: %w", err)
	}
	return p, nil
}

// EndPartition puts the earlier settings in force again.
func (s *Statements) EndPartition(ctx context.Context, tx pgx.Tx, p PartitionSettings) error {
	_, err := tx.Exec(ctx, s.Text("partition_settings_back"), pgx.NamedArgs{
		"date_style": p.dateStyle, "time_zone": p.timeZone, "lock_timeout": p.lockTimeout, "statement_timeout": p.statementTimeout,
	})
	if err != nil {
		return fmt.Errorf("end the work on a partition: %w", err)
	}
	return nil
}

// Hurry bounds each statement that follows in tx.
func (s *Statements) Hurry(ctx context.Context, tx pgx.Tx, statementTimeout time.Duration) error {
	_, err := tx.Exec(ctx, s.Text("partition_in_a_hurry"), pgx.NamedArgs{"statement_timeout": milliseconds(statementTimeout)})
	if err != nil {
		return fmt.Errorf("set up the work on a partition: %w", err)
	}
	return nil
}

// Making holds the statements that make a partition.
type Making struct {
	// Make creates it as a table, Own gives it to the owner (empty: it is theirs), Attach
	// makes it a partition.
	Make   string `db:"make"`
	Own    string `db:"own"`
	Attach string `db:"attach"`
	// Look says whether the default partition has rows for it; empty if there is none.
	Look string `db:"look"`
	// Name is its name, as SQL. IsTaken: there is a relation of that name.
	Name    string `db:"name"`
	IsTaken bool   `db:"is_taken"`
}

// Making makes them, for a partition of that bare name. [Statements.BeginPartition] comes
// first.
func (s *Statements) Making(ctx context.Context, tx pgx.Tx, table PartitionedTable, name string, lower, upper time.Time) (Making, error) {
	return queryOne[Making](ctx, tx, "prepare a partition of "+table.Name, s.Text("partition_make"), pgx.NamedArgs{
		"table": table.OID, "type": table.Type, "name": name, "lower": lower, "upper": upper,
	})
}

// ReplicaIdentity is the statement that gives a new partition, named as SQL, the replica
// identity of its table; empty if it has it.
func (s *Statements) ReplicaIdentity(ctx context.Context, tx pgx.Tx, table int64, name string) (string, error) {
	var text string
	if err := tx.QueryRow(ctx, s.Text("partition_identity"), pgx.NamedArgs{"table": table, "name": name}).Scan(&text); err != nil {
		return "", fmt.Errorf("look at the replica identity: %w", err)
	}
	return text, nil
}

// Holder is a session with a lock.
type Holder struct {
	PID      int32  `db:"pid"`
	Relation string `db:"relation"`
	Mode     string `db:"mode"`
	// Query is the start of what it does; empty if the role may not see it.
	Query string `db:"query"`
}

// String describes it for people.
func (h Holder) String() string {
	text := fmt.Sprintf("pid %d holds %s on %s", h.PID, h.Mode, h.Relation)
	if h.PID == 0 {
		text = fmt.Sprintf("a prepared transaction holds %s on %s", h.Mode, h.Relation)
	}
	if h.Query != "" {
		text += ": " + h.Query
	}
	return text
}

// Holder returns who has held a lock on a partitioned table, or what belongs to it, for
// longest; nil if nobody does.
func (s *Statements) Holder(ctx context.Context, db Querier, table int64) (*Holder, error) {
	return queryOptional[Holder](ctx, db, "look for locks on the table", s.Text("partition_holder"), pgx.NamedArgs{"table": table})
}
