package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// A job that works off what the repository finds, in its own transaction.
func ExampleNewRepository() {
	job := jobs.Func(jobs.Definition{Name: "optimize_images", Schedule: "*/10 * * * *"}, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		repository, err := scheduler.NewRepository(run.Tx, run.Schema)
		if err != nil {
			return jobs.Result{}, err
		}
		var done jobs.Result
		pending, err := repository.Images.Pending(ctx, 20)
		for _, content := range pending {
			// Here the image is made smaller, as a new file.
			if err := repository.Images.RecordOptimized(ctx, content.ID, content.Image+".webp"); err != nil {
				return jobs.Result{}, err
			}
			done.RowsAffected++
		}
		var missing *scheduler.TableError
		if errors.As(err, &missing) && (errors.Is(err, scheduler.ErrTableAbsent) || errors.Is(err, scheduler.ErrColumnAbsent)) {
			return jobs.Result{Message: "this database has no " + missing.Table}, nil
		}
		return done, err
	})

	ctx := context.Background()
	conn, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		panic(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	tx, err := conn.Begin(ctx)
	if err != nil {
		panic(err)
	}
	defer func() { _ = tx.Rollback(ctx) }()
	result, err := job.Run(ctx, &jobs.Run{Job: "optimize_images", Schema: "scheduler", Tx: tx})
	fmt.Println(result.RowsAffected, err)
	// Output: 1 <nil>
}

// What is to be optimized, page by page, and what changed meanwhile.
func ExampleImages() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		panic(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	repository, err := scheduler.NewRepository(conn, "")
	if err != nil {
		panic(err)
	}
	count, err := repository.Images.CountPending(ctx)
	fmt.Println(count, err)
	page, err := repository.Images.Pending(ctx, scheduler.PendingImagesMax)
	fmt.Println(page[0].Image, err)
	next, err := repository.Images.PendingAfter(ctx, page[len(page)-1], 10)
	fmt.Println(len(next), err)

	seen := page[0]
	seen.Image = "/images/before-an-edit.png"
	err = repository.Images.RecordOptimizedOf(ctx, seen, "/images/hello.webp")
	fmt.Println(errors.Is(err, scheduler.ErrImageChanged))
	err = repository.Images.RecordOptimized(ctx, "no-such-id", "/images/hello.webp")
	fmt.Println(errors.Is(err, scheduler.ErrContentNotFound))
	// Output:
	// 1 <nil>
	// /images/hello.png <nil>
	// 0 <nil>
	// true
	// true
}

// How the platform's conversations were evaluated in November.
func ExampleAnalytics() {
	ctx := context.Background()
	client, err := scheduler.NewClient(ctx, os.Getenv("DATABASE_URL"), "")
	if err != nil {
		panic(err)
	}
	defer client.Close()
	analytics := client.Repository().Analytics
	november := scheduler.Period{
		From: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		To:   time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC),
	}

	available, err := analytics.Available(ctx)
	fmt.Println(available, err)
	categories, err := analytics.Categories(ctx, scheduler.CategoriesQuery{Period: november, TimeZone: "Europe/Berlin"})
	fmt.Println(categories[0].Day, categories[0].Category, categories[0].Conversations, *categories[0].AverageScore, err)
	low, err := analytics.LowScores(ctx, scheduler.LowScoresQuery{Period: november, Below: 0.5, Limit: scheduler.AnalyticsLimitMax})
	fmt.Println(low[0].ContextID, *low[0].Score, err)
	issues, err := analytics.Issues(ctx, scheduler.IssuesQuery{Period: november})
	fmt.Println(issues[0].Issue, issues[0].Conversations, err)
	goals, err := analytics.Goals(ctx, november)
	fmt.Println(len(goals), err)
	scores, err := analytics.Distribution(ctx, november)
	fmt.Println(scores.Excellent, scores.Good, scores.Fair, scores.Poor, err)
	newest, err := analytics.Evaluations(ctx, scheduler.EvaluationsQuery{Period: november, Limit: 1})
	fmt.Println(newest[0].ContextID, err)
	// The next page, by what a link holds of the last one.
	place, err := scheduler.ParseEvaluationPlace(scheduler.PlaceOf(newest[0]).String())
	fmt.Println(err)
	next, err := analytics.Evaluations(ctx, scheduler.EvaluationsQuery{Period: november, After: place, Limit: 1})
	fmt.Println(next[0].ContextID, err)
	// Output:
	// true <nil>
	// 2026-11-02 billing 2 0.6 <nil>
	// c2 0.25 <nil>
	// the invoice was not found 1 <nil>
	// 2 <nil>
	// 1 0 0 1 <nil>
	// c2 <nil>
	// <nil>
	// c1 <nil>
}

// The scheduler's jobs, for a program that only knows their names.
func ExampleJobs() {
	ctx := context.Background()
	client, err := scheduler.NewClient(ctx, os.Getenv("DATABASE_URL"), "")
	if err != nil {
		panic(err)
	}
	defer client.Close()
	repository := client.Repository()

	before, err := repository.Jobs.Find(ctx, "old_invitations")
	if err != nil {
		panic(err)
	}
	saved, err := repository.Jobs.Save(ctx, "old_invitations", scheduler.JobSettings{Schedule: "30 5 * * *"})
	fmt.Println(saved.Schedule, saved.RunCount == before.RunCount, err)
	fmt.Println(repository.Jobs.Disable(ctx, "old_invitations", "moved elsewhere"))
	enabled, err := repository.Jobs.ListEnabled(ctx)
	for _, job := range enabled {
		fmt.Println(job.JobName)
	}
	fmt.Println(err)
	fmt.Println(repository.Jobs.Enable(ctx, "old_invitations"))
	runs, err := repository.Jobs.RecentRuns(ctx, "old_invitations", 5)
	fmt.Println(len(runs), err)

	// Back to what is declared.
	_, err = repository.Jobs.Save(ctx, "old_invitations", scheduler.JobSettings{Schedule: before.DeclaredSchedule})
	fmt.Println(err)
	// Output:
	// 30 5 * * * true <nil>
	// <nil>
	// expire_invitations
	// <nil>
	// <nil>
	// 0 <nil>
	// <nil>
}
