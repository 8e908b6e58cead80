package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// A run that exists only if the application's own transaction commits.
func ExampleClient_RunNowTx() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		panic(err)
	}
	defer pool.Close()
	client, err := scheduler.NewClientFromPool(ctx, pool, "")
	if err != nil {
		panic(err)
	}
	defer client.Close() // the pool stays open

	var now, later int64
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO invitations VALUES ('a@example.com', now() - interval '1 day')"); err != nil {
			return err
		}
		if later, err = client.RunAtTx(ctx, tx, "expire_invitations", time.Now().Add(time.Hour), nil, nil); err != nil {
			return err
		}
		now, err = client.RunNowTx(ctx, tx, "expire_invitations", nil, nil)
		return err
	})
	fmt.Println(err)
	run, err := client.Wait(ctx, now, nil)
	fmt.Println(run.Status, *run.RowsAffected, err)
	fmt.Println(client.Cancel(ctx, later, "example"))

	undone := errors.New("changed my mind")
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if now, err = client.RunNowTx(ctx, tx, "expire_invitations", nil, nil); err != nil {
			return err
		}
		return undone
	})
	_, gone := client.Run(ctx, now)
	fmt.Println(errors.Is(err, undone), errors.Is(gone, scheduler.ErrRunNotFound))
	// Output:
	// <nil>
	// success 1 <nil>
	// <nil>
	// true true
}

// Every run of a job that ends, on whichever replica.
func ExampleClient_Subscribe() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := scheduler.NewClient(ctx, os.Getenv("DATABASE_URL"), "")
	if err != nil {
		panic(err)
	}
	defer client.Close()

	ended, err := client.Subscribe(ctx, scheduler.Subscription{JobName: "expire_invitations"})
	if err != nil {
		panic(err)
	}
	id, err := client.RunNow(ctx, "expire_invitations", nil, nil)
	if err != nil {
		panic(err)
	}
	for run, err := range ended {
		fmt.Println(run.ID == id, run.Status, err)
		break // or go on until ctx ends
	}
	// Output: true success <nil>
}

// A scheduler inside an application that has a pool: it opens one connection of its own,
// for the leader's lock.
func ExampleScheduler() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL")+"&pool_max_conns=12")
	if err != nil {
		panic(err)
	}
	defer pool.Close()

	var registry jobs.Registry
	if err := registry.Add(jobs.Func(jobs.Definition{Name: "greet", Schedule: "@daily"},
		func(context.Context, *jobs.Run) (jobs.Result, error) { return jobs.Result{Message: "hello"}, nil },
	)); err != nil {
		panic(err)
	}
	config := scheduler.Config{
		Pool: pool, Schema: "example_embedded", Migrate: true, Registry: registry.Clone(), MaxWorkers: 4,
		Logger: slog.New(slog.DiscardHandler),
	}
	fmt.Println(config.Validate())
	s, err := scheduler.New(config)
	if err != nil {
		panic(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()

	client, err := s.Client(ctx) // waits until the schema is there
	if err != nil {
		panic(err)
	}
	defer client.Close()
	for _, err := client.Job(ctx, "greet"); errors.Is(err, jobs.ErrUnknownJob); _, err = client.Job(ctx, "greet") {
		<-time.After(10 * time.Millisecond) // the leader declares its jobs when it begins to lead
	}
	var id int64
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := s.CheckJobs(ctx, tx); err != nil { // as Run does before it begins
			return err
		}
		later, err := s.RunAtTx(ctx, tx, "greet", time.Now().Add(time.Hour), nil, nil)
		if err != nil || later == 0 {
			return err
		}
		id, err = s.RunNowTx(ctx, tx, "greet", nil, nil)
		return err
	})
	if err != nil {
		panic(err)
	}
	run, err := client.Wait(ctx, id, nil)
	fmt.Println(*run.Message, err)

	cancel()
	fmt.Println(<-ended) // all that it had started has ended
	fmt.Println(errors.Is(s.Run(context.Background()), scheduler.ErrAlreadyRun))
	// Output:
	// <nil>
	// hello <nil>
	// <nil>
	// true
}

// A client that takes no connection from the runs, for pages that many look at.
func ExampleScheduler_DedicatedClient() {
	ctx := context.Background()
	s, err := scheduler.New(scheduler.Config{DatabaseURL: os.Getenv("DATABASE_URL")})
	if err != nil {
		panic(err)
	}
	client, err := s.DedicatedClient(ctx)
	if err != nil {
		panic(err)
	}
	defer client.Close()
	fmt.Println(client.Ready(ctx))
	// Output: <nil>
}
