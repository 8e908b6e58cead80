package retention_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// unpaidInvoices deletes invoices that nobody has paid: a look at another table, whose
// column has no index.
func unpaidInvoices() *retention.Job {
	return retention.Must(retention.Config{
		Definition: jobs.Definition{Name: "cleanup_unpaid", Schedule: "@daily"},
		Rules: []retention.Rule{{
			Target: "unpaid", Table: "invoices",
			SQL: `
				SELECT i.ctid FROM {table} i
				WHERE i.paid_at < @now::timestamptz - interval '1 year'
				  AND NOT EXISTS (SELECT FROM payments p WHERE p.invoice_id = i.id AND p.id > @payment_mark::bigint)`,
			// Without it, each batch would read all payments.
			Mark: &retention.Mark{Name: "payment_mark", Table: "payments", Column: "id"},
			// Whoever adds a line to an invoice locks the invoice; and whoever adds something
			// to a line locks only that line.
			Children: []retention.Child{{Table: "lines", Column: "invoice_id", References: "id"}},
		}},
		BatchTime:    retention.BatchTimeDefault,
		BatchRowsMax: retention.BatchRowsMaxDefault,
		LockWait:     retention.LockWaitDefault,
		LagMax:       retention.LagMaxDefault,
		LagWait:      retention.LagWaitDefault,
		MarkWait:     retention.MarkWaitDefault,
		MaxShare:     retention.MaxShareDefault,
	})
}

// What a job would do in a database, how much, and what is in its way. The scheduler
// makes such a run; a program asks scheduler.Client.Explain.
func ExampleJob_Survey() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	job := unpaidInvoices()
	parameters, err := jobs.Resolve(job.Definition(), map[string]any{
		retention.ParameterMaxRows:    1_000_000,
		retention.ParameterMaxShare:   0.5, // from retention.MaxShareRowsMin rows on
		retention.ParameterBatchTime:  20 * time.Millisecond,
		retention.ParameterLagMax:     0,
		retention.ParameterArchive:    retention.ArchiveJSON,
		retention.ParameterPartitions: retention.PartitionsDelete,
	})
	if err != nil {
		panic(err)
	}
	run := &jobs.Run{
		Job: "cleanup_unpaid", Now: time.Now(), DryRun: true, Parameters: parameters, Schema: "scheduler",
		Logger: slog.New(slog.DiscardHandler), Beginner: pool,
	}

	explanations, err := job.ExplainOn(ctx, run)
	fmt.Println(len(explanations), err)

	survey, err := job.Survey(ctx, run)
	for _, target := range survey.Targets {
		fmt.Println(target.Action, target.Table, target.Found, target.IsCounted)
		for _, missing := range target.MissingIndexes {
			fmt.Println(missing.DDL)
		}
	}
	fmt.Printf("%q %v\n", survey.Blocked, err)
	// Output:
	// 1 <nil>
	// DELETE invoices 4 true
	// CREATE INDEX CONCURRENTLY ON lines (invoice_id)
	// "" <nil>
}

// What the role needs that works the job's runs.
func ExampleJob_Privileges() {
	job := unpaidInvoices()
	parameters, err := jobs.Resolve(job.Definition())
	if err != nil {
		panic(err)
	}
	for _, privilege := range job.Privileges("scheduler", parameters) {
		fmt.Println(privilege.Privilege, privilege.Table)
	}
	// Unordered output:
	// SELECT invoices
	// UPDATE invoices
	// DELETE invoices
	// SELECT payments
	// SELECT lines
	// UPDATE lines
}

// What becomes of rows, and of partitions of which every row is to go, are parameters.
func ExampleMust() {
	config := unpaidInvoices().Config()
	config.Definition.Name = "cleanup_unpaid_archived"
	config.MaxRows = 10_000
	job := retention.Must(config)
	for _, given := range []map[string]any{
		{retention.ParameterArchive: retention.ArchiveNone},
		{retention.ParameterPartitions: retention.PartitionsDetach},
		{retention.ParameterPartitions: retention.PartitionsDrop},
		{retention.ParameterPartitions: "truncate"},
	} {
		_, err := jobs.Resolve(job.Definition(), given)
		fmt.Println(err)
	}
	fmt.Println(retention.MaxShareRowsMin)
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// job "cleanup_unpaid_archived": parameter "partitions": is "truncate", must be one of: delete, detach, drop
	// 1000
}

// The scheduler's worker runs a job so: each batch in a transaction, with its record.
func ExampleJob_Start() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	job := unpaidInvoices()
	parameters, err := jobs.Resolve(job.Definition())
	if err != nil {
		panic(err)
	}
	batches, err := job.Start(ctx, &jobs.Run{
		Job: "cleanup_unpaid", Now: time.Now(), DryRun: true, Parameters: parameters, Schema: "scheduler", Done: jobs.Targets{},
		Logger: slog.New(slog.DiscardHandler), Beginner: pool,
	})
	if err != nil {
		panic(err)
	}
	tx, err := pool.Begin(ctx)
	if err != nil {
		panic(err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	found := jobs.Targets{}
	for done := false; !done && err == nil; {
		if preparer, ok := batches.(jobs.Preparer); ok {
			if err = preparer.Prepare(ctx); err != nil {
				break
			}
		}
		batch := &jobs.Batch{Tx: tx, Targets: jobs.Targets{}}
		done, err = batches.Next(ctx, batch)
		found.Merge(batch.Targets)
	}
	fmt.Println(found.Rows(), err)
	// Output: 4 <nil>
}

// A rule that comes from a configuration is a condition, which is proved against the
// database before anything is run.
func ExampleJob_Check() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	tx, err := pool.Begin(ctx)
	if err != nil {
		panic(err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	for _, condition := range []string{"t.paid_at < @now - interval '1 year'", "t.payed_at < @now", "true) OR (true"} {
		job := retention.Must(retention.Config{
			Definition: jobs.Definition{Name: "old_invoices", Schedule: "@daily"},
			Rules:      []retention.Rule{{Target: "invoices", Table: "invoices", Condition: condition}},
		})
		var explainer retention.Explainer = job
		parameters, err := jobs.Resolve(explainer.Definition())
		if err != nil {
			panic(err)
		}
		err = job.Check(ctx, &jobs.Run{
			Job: "old_invoices", Now: time.Now(), Parameters: parameters, Schema: "scheduler", Logger: slog.New(slog.DiscardHandler), Tx: tx,
		})
		fmt.Println(condition, "-", err == nil)
	}
	// Output:
	// t.paid_at < @now - interval '1 year' - true
	// t.payed_at < @now - false
	// true) OR (true - false
}
