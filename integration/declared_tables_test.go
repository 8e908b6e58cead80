package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/internal/doctor"
)

const declaredTables = `
jobs:
  - name: old_invoices
    description: Deletes old invoices.
    schedule: "@yearly"
    parameters: {keep_days: 365, max_rows: 600}
    retention:
      table: billing.invoices
      condition: |
        paid_at < @now - make_interval(days => @keep_days)
        AND NOT disputed
      archive: json
  - name: mark_invoices
    schedule: "@yearly"
    parameters: {keep: 8760h}
    retention:
      table: billing.invoices
      condition: paid_at < @now - @keep AND NOT archived
      set: archived = true
  - name: events_partitions
    schedule: "@yearly"
    parameters: {max_partitions: 20}
    partition:
      table: '"Events"'
      every: 1 month
      ahead: 3
      keep: 2 years
      old: drop
      name: "{table}_{YYYY}_{MM}"
`

// Whoever has no Go declares them in the file, and looks at them as at any job.
func TestDeclaredTables(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	change(t, db, billing)
	change(t, db, fmt.Sprintf(eventsTable, "timestamptz"))
	change(t, db, `CREATE TABLE ancient PARTITION OF "Events" FOR VALUES FROM (MINVALUE) TO ('2020-01-01'); CREATE TABLE recent PARTITION OF "Events" FOR VALUES FROM ('2020-01-01') TO ('2026-01-01')`)
	shell, p := serveDeclared(t, db, declaredTables)

	explained := shell.list(t, "explain", "--config=c.yaml", "old_invoices")
	require.Equal(t, "invoices", explained[0]["target"])
	require.Contains(t, explained[0]["plan"], "block ranges: ")
	require.Contains(t, shell.succeed(t, "explain", "--config=c.yaml", "old_invoices", "--sql"), "AND NOT disputed")
	require.EqualValues(t, 572, shell.object(t, "run", "old_invoices", "--dry-run", "--wait")["rows_affected"])
	marked := shell.object(t, "run", "mark_invoices", "--wait")
	require.EqualValues(t, 636, marked["rows_affected"], marked)
	blocked := shell.fail(t, "run", "old_invoices", "--wait", "--param", "max_rows=100")
	require.Contains(t, blocked.stdout.String()+blocked.stderr.String(), "max_rows is 100")
	require.EqualValues(t, 572, shell.object(t, "run", "old_invoices", "--wait")["rows_affected"])
	require.EqualValues(t, 572, scalar[int64](t, db, "SELECT count(*) FROM scheduler.archived_rows"))

	explained = shell.list(t, "explain", "--config=c.yaml", "events_partitions")
	require.Equal(t, "created", explained[0]["target"])
	require.Contains(t, explained[1]["plan"], "1 that ended at ")
	require.Contains(t, explained[1]["plan"], "ancient")
	text := shell.succeed(t, "explain", "--config=c.yaml", "events_partitions", "--sql")
	require.Contains(t, text, `ATTACH PARTITION public."Events_2026_01" FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2026-02-01 00:00:00+00')`)
	run := shell.object(t, "run", "events_partitions", "--wait", "--param", "ahead=1")
	require.Equal(t, "success", run["status"], run)
	require.EqualValues(t, 1, run["targets"].(map[string]any)["dropped"].(map[string]any)["rows"])
	require.Contains(t, run["targets"].(map[string]any)["created"].(map[string]any)["note"], `public."Events_2026_01"`)
	require.Equal(t, "public", scalar[string](t, db, `SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'Events_2026_01'`))
	report := shell.examine(t, "--config=c.yaml")
	hasFinding(t, report, finding{"jobs", "declared", doctor.StatusOK, "as they need it", ""})
	p.end(t)
}

// What does not fit is said before anything is changed, with its place in the file.
// Whoever declares a job asks what it would do before any replica has it.
func TestDeclaredTablesAreExplainedBeforeAnybodyServesThem(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	change(t, db, billing)
	shell := shellOf(t, db)
	shell.configure(t, declaredTables)
	explained := shell.list(t, "explain", "--config=c.yaml", "old_invoices", "--param", "keep_days=1000000")
	require.EqualValues(t, "invoices", explained[0]["target"])
	require.Contains(t, shell.refuse(t, "explain", "--config=c.yaml", "old_invoices", "--param", "keep_days=many"), "keep_days")
	require.Contains(t, shell.refuse(t, "run", "--config=c.yaml", "old_invoices"), `job "old_invoices": unknown job to the leader: this program has it, and nobody has led yet that has; start a replica`)
	require.Contains(t, shell.refuse(t, "explain", "--config=c.yaml", "no_such_job"), `job "no_such_job": unknown job; list them with`)
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM scheduler.jobs WHERE job_name = 'old_invoices'"))
}

func TestDeclaredTablesAreCheckedAtTheStart(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	change(t, db, strings.NewReplacer("scheduler_serve", "CURRENT_USER").Replace(billing))
	change(t, db, "CREATE TABLE events (at date) PARTITION BY RANGE (at)")
	shell := shellOf(t, db)
	shell.configure(t, `bootstrap_jobs: []
jobs:
  - name: no_table
    schedule: "@daily"
    retention: {table: billing.bills, condition: id < 7}
  - name: no_column
    schedule: "@daily"
    parameters: {keep_days: 365}
    retention:
      table: billing.invoices
      condition: |
        paid_at < @now - make_interval(days => @keep_days)
          AND NOT dissputed
  - name: again
    schedule: "@daily"
    retention:
      table: billing.invoices
      condition: paid_at < @now
      set: archived = true
  - name: hours
    schedule: "@daily"
    partition:
      table: events
      every: 1 hour
  - name: not_partitioned
    schedule: "@daily"
    partition: {table: billing.invoices, every: 1 day}
  - name: optional
    schedule: "@daily"
    retention: {table: billing.bills, condition: id < 7, optional: true}
`)
	serve := shell.call(t, "serve", "--migrate", "--config=c.yaml")
	require.Equal(t, 2, serve.code(t))
	text := serve.stderr.String()
	for _, says := range []string{
		"c.yaml:5:24: job \"no_table\": retention.table: there is no table billing.bills",
		"c.yaml:13:19: job \"no_column\": retention.condition: ERROR: column \"dissputed\" does not exist",
		"c.yaml:19:12: job \"again\": retention.set: a row for which this is set",
		"c.yaml:24:14: job \"hours\": partition.every: is 1 hour",
		"c.yaml:27:24: job \"not_partitioned\": partition.table: billing.invoices is not partitioned",
	} {
		require.Contains(t, text, says)
	}
	require.NotContains(t, text, `"optional"`)
	require.False(t, scalar[bool](t, db, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'scheduler')"), "nothing was changed")

	shell.configure(t, `jobs:
  - name: parts
    schedule: "@daily"
    parameters: {max_partitions: 10}
    partition:
      table: events
      every: daily
      keep: 90d
      ahead: 0
      olds: drop
  - name: rule
    schedule: "@daily"
    retention:
      condition: at < @since
      set: 7
  - name: both
    schedule: "@daily"
    sql: SELECT 1
    retention: {table: x, condition: y}
`)
	serve = shell.call(t, "serve", "--config=c.yaml")
	require.Equal(t, 2, serve.code(t))
	text = serve.stderr.String()
	for _, says := range []string{"c.yaml:9:14", "c.yaml:10:7", "c.yaml:15:12", "c.yaml:19:16"} {
		require.Contains(t, text, says)
	}
	shell.configure(t, `jobs:
  - name: parts
    schedule: "@daily"
    parameters: {days: 3}
    partition:
      table: events
      every: daily
      keep: 90d
  - name: rule
    schedule: "@daily"
    parameters: {used: 3, unused: 4}
    retention:
      condition: at < @since AND n < @used
      table: x
`)
	serve = shell.call(t, "serve", "--config=c.yaml")
	require.Equal(t, 2, serve.code(t))
	text = serve.stderr.String()
	for _, says := range []string{
		"c.yaml:4:24: job \"parts\": parameters.days: a partition job has no parameters but", "c.yaml:7:14: job \"parts\": partition.every: is \"daily\"",
		"c.yaml:8:13: job \"parts\": partition.keep: is \"90d\"", "c.yaml:13:23: job \"rule\": retention.condition: @since is not known; declare it in parameters, or use one of @now, @used, @unused;",
	} {
		require.Contains(t, text, says)
	}
}
