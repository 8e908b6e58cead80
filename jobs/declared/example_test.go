package declared_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/declared"
)

// The configuration file declares the same so:
//
//   - name: close_tickets
//     schedule: "@hourly"
//     parameters: {days: 30}
//     sql:
//     statements: ["UPDATE tickets SET state = 'closed' WHERE ..."]
func ExampleSQL() {
	job, err := declared.SQL(declared.SQLConfig{
		Definition: jobs.Definition{
			Name: "close_tickets", Schedule: "@hourly",
			Parameters: []jobs.Parameter{{Name: "days", Type: jobs.TypeInteger, Default: 30}},
		},
		Statements: []declared.Statement{{
			Name: "tickets",
			Text: "UPDATE tickets SET state = 'closed' WHERE state <> 'closed' AND touched_at < @now - make_interval(days => @days)",
		}},
	})
	if err != nil {
		panic(err)
	}
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
	parameters, err := jobs.Resolve(job.Definition(), map[string]any{"days": 7})
	if err != nil {
		panic(err)
	}

	// As the scheduler does: a look before the start, and a run.
	if checker, ok := job.(jobs.Checker); ok {
		fmt.Println(checker.Check(ctx, &jobs.Run{Tx: tx, Parameters: parameters, Now: time.Now()}))
	}
	if runner, ok := job.(jobs.TxJob); ok {
		result, err := runner.Run(ctx, &jobs.Run{
			Job: "close_tickets", Now: time.Now(), Parameters: parameters, Tx: tx, Logger: slog.New(slog.DiscardHandler),
		})
		fmt.Println(result.Targets["tickets"].Rows, err)
	}
	// Output:
	// <nil>
	// 1 <nil>
}

// What ends a transaction cannot be part of one.
func ExampleSQLOutsideTransaction() {
	_, err := declared.SQL(declared.SQLConfig{
		Definition: jobs.Definition{Name: "vacuum_tickets", Schedule: "@daily"},
		Statements: []declared.Statement{{Text: "COMMIT"}},
	})
	var part *jobs.FieldError
	fmt.Println(errors.As(err, &part), part.Field)

	job, err := declared.SQLOutsideTransaction(declared.SQLOutsideConfig{
		Definition: jobs.Definition{Name: "vacuum_tickets", Schedule: "@daily", MaxAttempts: 1},
		Statement:  "VACUUM (ANALYZE) tickets",
	})
	fmt.Println(job.Definition().Name, err)
	// Output:
	// true sql.statement_1
	// vacuum_tickets <nil>
}

// A request, signed, with an id by which its receiver can leave out what it has had.
func ExampleHTTP() {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Signature") != "")
		w.WriteHeader(http.StatusAccepted)
	}))
	defer receiver.Close()

	job, err := declared.HTTP(declared.HTTPConfig{
		Definition: jobs.Definition{Name: "warm_cache", Schedule: "*/5 * * * *"},
		URL:        receiver.URL,
		Timeout:    declared.RequestTimeoutDefault,
		Success:    []int{http.StatusAccepted},
		CredentialsFunc: func() (declared.Credentials, error) {
			return declared.Credentials{Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, nil // from the environment, say
		},
	})
	if err != nil {
		panic(err)
	}
	batches, err := job.(jobs.BatchJob).Start(context.Background(), &jobs.Run{
		Job: "warm_cache", Tick: time.Date(2026, 11, 23, 7, 5, 0, 0, time.UTC), Trigger: jobs.TriggerSchedule, Attempt: 1,
		Parameters: jobs.Parameters{}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	for done := false; !done && err == nil; {
		batch := &jobs.Batch{Targets: jobs.Targets{}}
		if preparer, ok := batches.(jobs.Preparer); ok {
			if err = preparer.Prepare(context.Background()); err != nil {
				break
			}
		}
		done, err = batches.Next(context.Background(), batch)
	}
	fmt.Println(err, declared.RetryAfterMax)
	// Output:
	// POST warm_cache-20261123T070500000000Z true
	// <nil> 1h0m0s
}

// A command, without a shell, with an environment of its own.
func ExampleExec() {
	job, err := declared.Exec(declared.ExecConfig{
		Definition: jobs.Definition{Name: "rotate_backups", Schedule: "0 2 * * *", Timeout: time.Minute},
		Command:    []string{"/bin/sh", "-c", `echo "$SCHEDULER_JOB"`},
		Environ:    []string{"PATH=/usr/bin:/bin"},
		Directory:  "/",
		Grace:      declared.GraceDefault, // at most declared.GraceMax
	})
	fmt.Println(job.Definition().Name, declared.GraceMax, err)
	// Output: rotate_backups 5s <nil>
}

// Deleting rows by a condition: the engine of package retention does it, in short batches.
func ExampleRetention() {
	job, err := declared.Retention(declared.RetentionConfig{
		Definition: jobs.Definition{
			Name: "old_tickets", Schedule: "0 4 * * *",
			Parameters: []jobs.Parameter{{Name: "keep_days", Type: jobs.TypeInteger, Default: 365, Minimum: jobs.Bound(1)}},
		},
		Table:     "tickets",
		Condition: "t.touched_at < @now - make_interval(days => @keep_days)",
		Archive:   "json",
	})
	if err != nil {
		panic(err)
	}
	for _, e := range job.Explain("scheduler") {
		fmt.Println(e.Action, e.Table)
	}
	// Output: DELETE tickets
}

// A cache whose old partitions nobody wants back.
func ExamplePartitionConfig() {
	_, err := declared.Partition(declared.PartitionConfig{
		Definition: jobs.Definition{Name: "cache_partitions", Schedule: "@hourly"},
		Table:      "cache", Every: "6 hours", Keep: "2 days", Old: declared.OldDrop,
	})
	fmt.Println(err)
	// Output: <nil>
}

// The partitions of a table: the next are made, those of more than 90 days ago detached.
func ExamplePartition() {
	var job *declared.PartitionJob
	job, err := declared.Partition(declared.PartitionConfig{
		Definition: jobs.Definition{Name: "event_partitions", Schedule: "@hourly"},
		Table:      "events",
		Every:      "1 day",
		Ahead:      declared.AheadDefault,
		Keep:       "90 days",
		Old:        declared.OldDetach,
	})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	parameters, err := jobs.Resolve(job.Definition(), map[string]any{
		declared.ParameterAhead: 1, declared.ParameterMaxPartitions: declared.MaxPartitionsDefault,
	})
	if err != nil {
		panic(err)
	}
	run := &jobs.Run{
		Job: "event_partitions", Now: time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC), DryRun: true, Parameters: parameters, Schema: "scheduler",
		Logger: slog.New(slog.DiscardHandler), Beginner: pool,
	}
	explanations, err := job.ExplainOn(ctx, run)
	for _, e := range explanations {
		fmt.Println(e.Action, e.Table)
	}
	fmt.Println(err)
	_, err = job.Start(ctx, run)
	fmt.Println(err)

	tx, err := pool.Begin(ctx)
	if err != nil {
		panic(err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	fmt.Println(job.Check(ctx, &jobs.Run{Tx: tx, Parameters: parameters, Now: time.Now()}))
	// Output:
	// CREATE events
	// DETACH events
	// <nil>
	// <nil>
	// <nil>
}
