package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// Ask for a run, and wait until it has ended. A replica runs elsewhere.
func ExampleClient_RunNow() {
	ctx := context.Background()
	client, err := scheduler.NewClient(ctx, os.Getenv("DATABASE_URL"), scheduler.SchemaDefault)
	if err != nil {
		panic(err)
	}
	defer client.Close()

	id, err := client.RunNow(scheduler.WithActor(ctx, "support tool"), "expire_invitations", nil, nil)
	if err != nil {
		panic(err)
	}
	run, err := client.Wait(ctx, id, func(run scheduler.Run) { /* shows run.Progress, say */ })
	fmt.Println(run.Status, *run.RowsAffected, err)

	lines, err := client.Log(ctx, id)
	fmt.Println(len(lines), err)

	_, err = client.RunNow(ctx, "expire_invitation", nil, nil)
	fmt.Println(errors.Is(err, jobs.ErrUnknownJob))
	_, err = client.RunNow(ctx, "expire_invitations", map[string]any{"days": 3}, nil)
	fmt.Println(errors.Is(err, jobs.ErrInvalidParameter))
	// Output:
	// success 0 <nil>
	// 0 <nil>
	// true
	// true
}

// Ask for a run at a time to come, and take it back.
func ExampleClient_RunAt() {
	ctx := context.Background()
	client, err := scheduler.NewClient(ctx, os.Getenv("DATABASE_URL"), "")
	if err != nil {
		panic(err)
	}
	defer client.Close()

	now, err := client.Now(ctx) // the database's clock, which decides
	if err != nil {
		panic(err)
	}
	id, err := client.RunAt(ctx, "expire_invitations", now.Add(time.Hour), nil, nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(client.Cancel(ctx, id, "not needed after all"))
	run, err := client.Run(ctx, id)
	fmt.Println(run.Status, err)

	_, err = client.RunAt(ctx, "expire_invitations", now.Add(-time.Hour), nil, nil)
	fmt.Println(errors.Is(err, scheduler.ErrBadArgument))
	_, err = client.Run(ctx, 1<<60)
	fmt.Println(errors.Is(err, scheduler.ErrRunNotFound))
	// Output:
	// <nil>
	// cancelled <nil>
	// true
	// true
}

// Stop a job from being enqueued until somebody lets it run again.
func ExampleClient_Pause() {
	ctx := context.Background()
	client, err := scheduler.NewClient(ctx, os.Getenv("DATABASE_URL"), "")
	if err != nil {
		panic(err)
	}
	defer client.Close()

	fmt.Println(client.Pause(ctx, "expire_invitations", "the table is being restored", false))
	job, err := client.Job(ctx, "expire_invitations")
	fmt.Println(job.State, *job.PausedReason, err)
	_, err = client.RunNow(ctx, "expire_invitations", nil, nil)
	fmt.Println(errors.Is(err, scheduler.ErrJobNotRunnable))
	fmt.Println(client.Resume(ctx, "expire_invitations"))

	// All jobs at once.
	fmt.Println(client.PauseScheduler(ctx, "the disk is full", true))
	state, err := client.State(ctx)
	fmt.Println(*state.PausedReason, err)
	fmt.Println(client.ResumeScheduler(ctx))
	// Output:
	// <nil>
	// paused the table is being restored <nil>
	// true
	// <nil>
	// <nil>
	// the disk is full <nil>
	// <nil>
}

// Set a schedule over the declared one; a deploy does not change it back.
func ExampleClient_Reschedule() {
	ctx := context.Background()
	client, err := scheduler.NewClient(ctx, os.Getenv("DATABASE_URL"), "")
	if err != nil {
		panic(err)
	}
	defer client.Close()

	fmt.Println(client.Reschedule(ctx, "expire_invitations", "30 4 * * SUN"))
	list, err := client.Jobs(ctx)
	if err != nil {
		panic(err)
	}
	for _, job := range list {
		ticks, err := scheduler.NextTicks(job, time.Date(2026, 12, 24, 0, 0, 0, 0, time.UTC), 1)
		fmt.Println(job.JobName, job.Schedule, ticks, err)
		specs, err := scheduler.ParameterSpecs(job)
		fmt.Println(len(specs), err)
	}
	fmt.Println(client.Reschedule(ctx, "expire_invitations", "")) // back to the declared one
	// Output:
	// <nil>
	// expire_invitations 30 4 * * SUN [2026-12-27 04:30:00 +0000 UTC] <nil>
	// 0 <nil>
	// old_invitations 0 5 * * * [2026-12-24 05:00:00 +0000 UTC] <nil>
	// 6 <nil>
	// <nil>
}

// Who is alive, who leads, and whether schedules are kept.
func ExampleClient_Ready() {
	ctx := context.Background()
	client, err := scheduler.NewClient(ctx, os.Getenv("DATABASE_URL"), "")
	if err != nil {
		panic(err)
	}
	defer client.Close()

	switch err := client.Ready(ctx); {
	case errors.Is(err, scheduler.ErrNoLeader):
		fmt.Println("no replica leads")
	case errors.Is(err, scheduler.ErrOverdue):
		fmt.Println("nothing was decided for more than", scheduler.OverdueDefault)
	case errors.Is(err, scheduler.ErrSchema):
		fmt.Println("the schema is not that of this version")
	default:
		fmt.Println("ready:", err)
	}
	leader, err := client.Leader(ctx)
	if err != nil {
		panic(err)
	}
	replicas, err := client.Replicas(ctx)
	if err != nil {
		panic(err)
	}
	for _, replica := range replicas {
		fmt.Println(*replica.ReplicaID == leader.ReplicaID, replica.IsLeader)
	}
	// Output:
	// ready: <nil>
	// true true
}

// Run the ticks of two days that passed.
func ExampleClient_RequestBackfill() {
	ctx := context.Background()
	client, err := scheduler.NewClient(ctx, os.Getenv("DATABASE_URL"), "")
	if err != nil {
		panic(err)
	}
	defer client.Close()

	id, err := client.RequestBackfill(ctx, scheduler.BackfillRequest{
		JobName: "expire_invitations",
		From:    time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		To:      time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC),
	})
	if err != nil {
		panic(err)
	}
	var backfill scheduler.Backfill
	for backfill.Status != "done" && err == nil { // a program that waits longer waits for a ticker, too
		backfill, err = client.Backfill(ctx, id)
	}
	fmt.Println(backfill.Runs, err)
	runs, err := client.Runs(ctx, scheduler.RunFilter{BackfillID: id})
	if err != nil {
		panic(err)
	}
	for _, run := range runs {
		fmt.Println(run.Tick.Format(time.DateTime), run.Trigger, run.Status)
	}
	taken, err := client.CancelBackfill(ctx, id, "enough") // what has not begun; here nothing
	fmt.Println(taken, err)
	list, err := client.Backfills(ctx)
	fmt.Println(len(list), err)
	_, err = client.Backfill(ctx, 1_000_000)
	fmt.Println(errors.Is(err, scheduler.ErrBackfillNotFound))
	// Output:
	// 2 <nil>
	// 2026-11-02 04:00:00 backfill success
	// 2026-11-01 04:00:00 backfill success
	// 0 <nil>
	// 1 <nil>
	// true
}

// What is going to run in the next day.
func ExampleClient_Agenda() {
	ctx := context.Background()
	client, err := scheduler.NewClient(ctx, os.Getenv("DATABASE_URL"), "")
	if err != nil {
		panic(err)
	}
	defer client.Close()

	agenda, err := client.Agenda(ctx, 24*time.Hour)
	if err != nil {
		panic(err)
	}
	for _, entry := range agenda {
		fmt.Println(entry.JobName, entry.RunAt.UTC().Format(time.TimeOnly), entry.Status == scheduler.StatusPlanned)
	}
	// Unordered output:
	// expire_invitations 04:00:00 true
	// old_invitations 05:00:00 true
}

// What the overview page shows: the newest runs of each job, the rows that they have
// changed, what did not go as it should, and what is being worked.
func ExampleClient_History() {
	ctx := context.Background()
	client, err := scheduler.NewClient(ctx, os.Getenv("DATABASE_URL"), "")
	if err != nil {
		panic(err)
	}
	defer client.Close()

	since := time.Now().AddDate(0, 0, -7)
	history, err := client.History(ctx, "expire_invitations", 30)
	fmt.Println(len(history) <= 1, err)
	days, err := client.RowsByDay(ctx, "", since)
	fmt.Println(len(days), err)
	incidents, err := client.Incidents(ctx, "", since, 10)
	fmt.Println(len(incidents) <= 10, err)
	working, err := client.Working(ctx, 10)
	fmt.Println(len(working), err)
	// Output:
	// true <nil>
	// 0 <nil>
	// true <nil>
	// 0 <nil>
}

// A job in rollout: see JobConfig.DryRunFor.
func ExampleClient_Rollouts() {
	ctx := context.Background()
	client, err := scheduler.NewClient(ctx, os.Getenv("DATABASE_URL"), "")
	if err != nil {
		panic(err)
	}
	defer client.Close()

	rollouts, err := client.Rollouts(ctx, "")
	fmt.Println(len(rollouts), err)
	err = client.EndRollout(ctx, "expire_invitations")
	fmt.Println(errors.Is(err, scheduler.ErrJobNotRunnable))
	// Output:
	// 0 <nil>
	// true
}
