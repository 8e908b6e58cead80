package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/systempromptio/scheduler/jobs"
)

// A job with a parameter, whose bounds are checked before anything is enqueued.
func ExampleFunc() {
	job := jobs.Func(jobs.Definition{
		Name:        "expire_invitations",
		Description: "Deletes invitations that nobody has accepted.",
		Schedule:    "0 4 * * *",
		TimeZone:    "Europe/Berlin",
		Parameters: []jobs.Parameter{{
			Name: "keep_days", Type: jobs.TypeInteger, Default: 30, Minimum: jobs.Bound(1), Maximum: jobs.Bound(3650),
		}},
		Overlap: jobs.OverlapSkip,
		CatchUp: jobs.CatchUpLatest,
	}, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		before := run.Now.AddDate(0, 0, -int(run.Parameters.Int("keep_days")))
		tag, err := run.Tx.Exec(ctx, "DELETE FROM invitations WHERE sent_at < $1", before)
		return jobs.Result{RowsAffected: tag.RowsAffected()}, err
	})

	var registry jobs.Registry
	fmt.Println(registry.Add(job))

	_, err := jobs.Resolve(job.Definition(), map[string]any{"keep_days": 0})
	fmt.Println(err)
	// Output:
	// <nil>
	// job "expire_invitations": parameter "keep_days": is 0, must be at least 1
}

// report is a job of one transaction, as a type. It implements [jobs.TxJob].
type report struct{ to string }

var _ jobs.TxJob = report{}

func (r report) Definition() jobs.Definition {
	return jobs.Definition{Name: "weekly_report", Schedule: "0 7 * * MON", Timeout: time.Minute, MaxAttempts: 3}
}

func (r report) Run(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
	run.Progress(ctx, jobs.Progress{Done: 1, Total: 2, Message: "counted"})
	if r.to == "" {
		// Another attempt would find the same.
		return jobs.Result{}, jobs.Permanent(errors.New("nobody gets the report: name a receiver"))
	}
	return jobs.Result{
		Targets: jobs.Targets{"reports": jobs.Target{Rows: 1}},
		Message: fmt.Sprintf("the week before %s went to %s", run.Tick.Format(time.DateOnly), r.to),
	}, nil
}

func ExampleTxJob() {
	run := &jobs.Run{
		Job: "weekly_report", Tick: time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC), Trigger: jobs.TriggerSchedule,
		ProgressFunc: func(_ context.Context, p jobs.Progress) { fmt.Println(p.Done, "of", p.Total, p.Message) },
	}
	result, err := report{to: "sales"}.Run(context.Background(), run)
	fmt.Println(result.Message, result.Targets.Rows(), err)

	_, err = report{}.Run(context.Background(), run)
	fmt.Println(err, jobs.IsPermanent(err))
	// Output:
	// 1 of 2 counted
	// the week before 2026-11-23 went to sales 1 <nil>
	// 1 of 2 counted
	// nobody gets the report: name a receiver true
}

// renumber is a job of many short transactions. It implements [jobs.BatchJob].
type renumber struct{}

var _ jobs.BatchJob = renumber{}

func (renumber) Definition() jobs.Definition {
	return jobs.Definition{Name: "renumber_orders", Schedule: "@daily"}
}

// renumbering is one attempt. It implements [jobs.Batches] and [jobs.Preparer].
type renumbering struct {
	after int64 // the cursor: the last order that was done
	rows  int64
}

var (
	_ jobs.Batches  = (*renumbering)(nil)
	_ jobs.Preparer = (*renumbering)(nil)
)

func (renumber) Start(_ context.Context, run *jobs.Run) (jobs.Batches, error) {
	r := &renumbering{}
	if run.Cursor != nil { // another replica began; go on after its last batch
		if err := json.Unmarshal(run.Cursor, &r.after); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *renumbering) Prepare(context.Context) error {
	const most = 1_000_000
	if r.rows > most {
		return jobs.Blocked(fmt.Errorf("%d orders would be changed, at most %d may be", r.rows, most))
	}
	return nil
}

func (r *renumbering) Next(_ context.Context, batch *jobs.Batch) (done bool, err error) {
	// Here batch.Tx changes a hundred orders after r.after.
	r.after += 100
	batch.Targets["orders"] = jobs.Target{Rows: 100}
	batch.Cursor, batch.Total = r.after, 200
	batch.Message = fmt.Sprintf("up to order %d", r.after)
	return r.after >= 200, nil
}

func ExampleBatchJob() {
	run := &jobs.Run{Job: "renumber_orders", Done: jobs.Targets{}}
	batches, err := renumber{}.Start(context.Background(), run)
	for done := false; !done && err == nil; {
		if p, ok := batches.(jobs.Preparer); ok {
			if err = p.Prepare(context.Background()); err != nil {
				break
			}
		}
		batch := &jobs.Batch{Targets: jobs.Targets{}}
		done, err = batches.Next(context.Background(), batch)
		run.Done.Merge(batch.Targets)
		fmt.Println(batch.Message, batch.Cursor)
	}
	fmt.Println(run.Done.Rows(), err)

	err = (&renumbering{rows: 2_000_000}).Prepare(context.Background())
	fmt.Println(jobs.IsBlocked(err), errors.Is(err, jobs.ErrBlocked), err)
	// Output:
	// up to order 100 100
	// up to order 200 200
	// 200 <nil>
	// true true 2000000 orders would be changed, at most 1000000 may be
}

// The transaction of a run is the scheduler's to end.
func ExampleRun() {
	job := jobs.Func(jobs.Definition{Name: "impatient", Schedule: "@daily"}, func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
		if err := run.Tx.Commit(ctx); !errors.Is(err, jobs.ErrTxOfRun) {
			return jobs.Result{}, err
		}
		return jobs.Result{Message: "refused, as it should be"}, nil
	})
	fmt.Println(job.Definition().Name)
	// Output: impatient
}

// A module registers its jobs in its init; a blank import of it is all that a program needs.
func ExampleRegister() {
	jobs.Register(report{to: "sales"})

	job, err := jobs.DefaultRegistry().Get("weekly_report")
	fmt.Println(job.Definition().Schedule, err)
	// Output: 0 7 * * MON <nil>
}

// What a registry refuses, it refuses as a whole.
func ExampleRegistry() {
	var registry jobs.Registry
	err := registry.Add(
		report{},
		report{},
		jobs.Func(jobs.Definition{Name: "Nightly", Schedule: "@daily"}, nil),
		jobs.Func(jobs.Definition{Name: "nightly", Schedule: "61 * * * *"}, nil),
	)
	fmt.Println(errors.Is(err, jobs.ErrDuplicateJob), errors.Is(err, jobs.ErrInvalidJob), errors.Is(err, jobs.ErrInvalidSchedule))
	fmt.Println(len(registry.List()))

	_, err = registry.Get("weekly_report")
	fmt.Println(errors.Is(err, jobs.ErrUnknownJob))

	// All that the imports have registered, and more.
	more := jobs.DefaultRegistry().Clone()
	fmt.Println(more.Add(renumber{}))
	// Output:
	// true true true
	// 0
	// true
	// <nil>
}

func ExampleValidate() {
	var job jobs.Job = jobs.Func(jobs.Definition{Name: "nightly", Schedule: "@daily", CatchUpLimit: jobs.CatchUpLimitMax + 1}, nil)
	fmt.Println(jobs.Validate(job))
	fmt.Println(jobs.CheckCatchUpLimit(jobs.CatchUpLimitDefault))
	// Output:
	// job "nightly": invalid job: CatchUpLimit is 10001, must be between 1 and 10000
	// <nil>
}

func ExampleParseSchedule() {
	fmt.Println(jobs.CheckSchedule("nightly", "0 25 * * *", "") != nil)
	schedule, err := jobs.ParseSchedule("nightly", "0 3 * * *", "Europe/Berlin")
	fmt.Println(schedule.Next(time.Date(2026, 12, 24, 12, 0, 0, 0, time.UTC)), err)
	// Output:
	// true
	// 2026-12-25 03:00:00 +0100 CET <nil>
}

// Every type of a parameter, with what it becomes in Go.
func ExampleParameters() {
	definition := jobs.Definition{Name: "example", Parameters: []jobs.Parameter{
		{Name: "days", Type: jobs.TypeInteger, Default: 7},
		{Name: "share", Type: jobs.TypeNumber, Default: 0.5},
		{Name: "deep", Type: jobs.TypeBoolean, Default: false, OmitDefault: true},
		{Name: "mode", Type: jobs.TypeString, Default: "fast", Enum: []string{"fast", "careful"}},
		{Name: "ids", Type: jobs.TypeStrings, Default: []string{}},
		{Name: "wait", Type: jobs.TypeDuration, Default: time.Minute},
	}}
	// As somebody types it, as the configuration or a call of run_now gives it.
	ids, err := jobs.TypeStrings.Parse("a, b")
	fmt.Println(ids, err)
	p, err := jobs.Resolve(definition, map[string]any{"ids": ids}, map[string]any{"wait": "90s"})
	fmt.Println(p.Int("days"), p.Float("share"), p.Bool("deep"), p.String("mode"), p.Strings("ids"), p.Duration("wait"), err)
	_, err = jobs.ResolveJSON(definition, []byte(`{"mode": "slow"}`))
	var refused *jobs.ParameterError
	fmt.Println(errors.As(err, &refused), errors.Is(err, jobs.ErrInvalidParameter), refused.Parameter, refused.Reason)
	// What travels with a run leaves defaults out that older versions do not know.
	_, deep := p.WithoutDefaults(definition)["deep"]
	fmt.Println(deep)
	// Output:
	// [a b] <nil>
	// 7 0.5 false fast [a b] 1m30s <nil>
	// true true mode is "slow", must be one of: fast, careful
	// false
}

// What a parameter is, as the ledger's database and other programs read it.
func ExampleParameterType() {
	for _, t := range []jobs.ParameterType{jobs.TypeInteger, jobs.TypeBoolean, jobs.TypeDuration} {
		_, err := t.Parse("x")
		fmt.Println(t, err)
	}
	// Output:
	// integer must be a whole number, not "x"
	// boolean must be true or false, not "x"
	// duration must be a duration such as "90s" or "1h30m", not "x"
}

func ExampleOverlap() {
	fmt.Println(jobs.Overlaps(), jobs.CatchUps())
	fmt.Println(jobs.OverlapQueue.Check(), jobs.OverlapAllow.Check(), jobs.OverlapCancel.Check())
	fmt.Println(jobs.Overlap("wait").Check())
	// Output:
	// [skip queue allow cancel] [latest all none]
	// <nil> <nil> <nil>
	// is "wait", must be one of [skip queue allow cancel]
}

func ExampleCatchUp() {
	for _, policy := range []jobs.CatchUp{jobs.CatchUpAll, jobs.CatchUpNone, "some"} {
		fmt.Println(policy, policy.Check())
	}
	// Output:
	// all <nil>
	// none <nil>
	// some is "some", must be one of [latest all none]
}

func ExampleStatus() {
	for _, status := range jobs.Statuses() {
		fmt.Println(status, status.Ended())
	}
	live := []jobs.Status{
		jobs.StatusRequested, jobs.StatusScheduled, jobs.StatusWaiting, jobs.StatusPending, jobs.StatusRunning, jobs.StatusRetrying,
	}
	ended := []jobs.Status{
		jobs.StatusSuccess, jobs.StatusFailed, jobs.StatusCancelled, jobs.StatusSkipped, jobs.StatusMissed, jobs.StatusBlocked,
	}
	fmt.Println(len(live)+len(ended) == len(jobs.Statuses()))
	// Output:
	// requested false
	// scheduled false
	// waiting false
	// pending false
	// running false
	// retrying false
	// success true
	// failed true
	// cancelled true
	// skipped true
	// missed true
	// blocked true
	// true
}

// A job may treat the runs that people ask for in another way than those of its schedule.
func ExampleTrigger() {
	for _, trigger := range []jobs.Trigger{jobs.TriggerSchedule, jobs.TriggerManual, jobs.TriggerBootstrap, jobs.TriggerBackfill} {
		fmt.Println(trigger)
	}
	// Output:
	// schedule
	// manual
	// bootstrap
	// backfill
}

// What River keeps of a run, for programs that read its table.
func ExampleArgs() {
	args := jobs.Args{
		JobName: "weekly_report", RunID: 7, Tick: time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC), Trigger: jobs.TriggerManual, DryRun: true,
		Timeout: jobs.TimeoutDefault,
	}
	encoded, err := json.Marshal(args)
	fmt.Println(args.Kind(), string(encoded), err)
	fmt.Println(jobs.MaxAttemptsDefault)
	// Output:
	// weekly_report {"run_id":7,"tick":"2026-11-23T07:00:00Z","trigger":"manual","dry_run":true,"timeout":3600000000000} <nil>
	// 5
}

// tidy is a job that looks, before its program starts, whether the database has its table.
// It implements [jobs.Checker].
type tidy struct{ jobs.TxJob }

var _ jobs.Checker = tidy{}

func (tidy) Check(ctx context.Context, run *jobs.Run) error {
	var exists bool
	if err := run.Tx.QueryRow(ctx, "SELECT to_regclass('drafts') IS NOT NULL").Scan(&exists); err != nil {
		return err
	}
	if !exists {
		return &jobs.FieldError{Field: "name", Err: errors.New("there is no table drafts: create it, or disable the job")}
	}
	return nil
}

func ExampleChecker() {
	job := tidy{jobs.Func(jobs.Definition{Name: "tidy_drafts", Schedule: "@daily"}, nil)}
	fmt.Println(jobs.Validate(job))
	// Output: <nil>
}

func ExampleCheckName() {
	fmt.Println(jobs.CheckName("tidy_drafts"))
	fmt.Println(errors.Is(jobs.CheckName("Tidy drafts"), jobs.ErrInvalidJob))
	// Output:
	// <nil>
	// true
}

// Another attempt is worth while when the other side says so.
func ExampleRetryAfter() {
	err := jobs.RetryAfter(errors.New("the other side is busy"), time.Minute)
	wait, ok := jobs.RetryWait(fmt.Errorf("send the report: %w", err))
	fmt.Println(wait, ok, err)
	// Output: 1m0s true the other side is busy
}
