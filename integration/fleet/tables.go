package fleet

import _ "embed" // tables.sql

// Tables makes the tables that the replicas' jobs work on: hits, items, and
// items_audit, in which triggers keep account of every row of items that the
// scheduler changes.
//
//go:embed tables.sql
var Tables string
