package sql

import (
	"context"
	"embed"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

//go:embed contract/*.sql
var contractFiles embed.FS

// Contract are the statements of the test kit, which looks at a database from outside.
type Contract struct{}

// ContractTable is a table that a job may write to.
type ContractTable struct {
	// Name has the schema, and quotes where they are needed.
	Name string
	// Root is the partitioned table that it is a part of, else itself.
	Root string
	// Writes is how many rows were inserted, updated and deleted in this transaction, with
	// those of savepoints that were rolled back.
	Writes int64
}

// ContractContent is what a table holds.
type ContractContent struct {
	Rows int64
	// Hash is the same for the same rows in another order.
	Hash string
}

func contractText(name string) string {
	content, err := contractFiles.ReadFile("contract/" + name + ".sql")
	if err != nil {
		panic(err) // they are embedded
	}
	return strings.TrimSpace(string(content))
}

// Now reads the database's clock.
func (Contract) Now(ctx context.Context, db Querier) (time.Time, error) {
	var now time.Time
	if err := db.QueryRow(ctx, contractText("now")).Scan(&now); err != nil {
		return time.Time{}, fmt.Errorf("read the database's clock: %w", err)
	}
	return now, nil
}

// Tables lists the tables outside a schema, and some of those in it.
func (Contract) Tables(ctx context.Context, db Querier, schema string, with []string) ([]ContractTable, error) {
	return collect[ContractTable](ctx, db, "list the tables", contractText("tables"), pgx.NamedArgs{"schema": schema, "tables": notNil(with)})
}

// Content reads what a table of [Contract.Tables] holds, without some columns.
func (Contract) Content(ctx context.Context, db Querier, table string, but []string) (ContractContent, error) {
	text := strings.ReplaceAll(contractText("content"), "{table}", table)
	list, err := collect[ContractContent](ctx, db, "read the table "+table, text, pgx.NamedArgs{"columns": notNil(but)})
	if err != nil {
		return ContractContent{}, err
	}
	return list[0], nil
}

// SessionLocks releases the advisory locks that would outlive the transaction, and says
// how many there were.
func (Contract) SessionLocks(ctx context.Context, db Querier) (int64, error) {
	var before, after int64
	if err := db.QueryRow(ctx, contractText("locks")).Scan(&before); err != nil {
		return 0, fmt.Errorf("count the session's advisory locks: %w", err)
	}
	if _, err := db.Exec(ctx, contractText("unlock")); err != nil {
		return 0, fmt.Errorf("release the session's advisory locks: %w", err)
	}
	if err := db.QueryRow(ctx, contractText("locks")).Scan(&after); err != nil {
		return 0, fmt.Errorf("count the session's advisory locks: %w", err)
	}
	return before - after, nil
}

// Fail makes the transaction fail and returns the server's error.
func (Contract) Fail(ctx context.Context, db Querier) error {
	_, err := db.Exec(ctx, contractText("fail"))
	return err
}

// notNil keeps pgx from sending NULL.
func notNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// HasSchema says whether there is a schema of that name.
func (Contract) HasSchema(ctx context.Context, db Querier, schema string) (bool, error) {
	var exists bool
	if err := db.QueryRow(ctx, contractText("schema"), pgx.NamedArgs{"schema": schema}).Scan(&exists); err != nil {
		return false, fmt.Errorf("look for the schema %q: %w", schema, err)
	}
	return exists, nil
}
