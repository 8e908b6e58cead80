package scheduler

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// Jobs are the scheduler's jobs, as a program that only knows names sees them.
//
// What a job is, the leader declares: its code and its configuration decide, and it writes
// them at the start of its term. Jobs changes only what operators decide, which no deploy
// overwrites: whether a job is paused, and a schedule over the declared one. So a change
// is in force at once, and there is one truth.
type Jobs struct {
	db         Querier
	statements *sql.Statements
}

// JobSettings are what [Jobs.Save] sets.
type JobSettings struct {
	// Schedule is cron text, as in jobs.Definition. Required.
	Schedule string
	// Disabled jobs are not enqueued. The zero value is enabled.
	Disabled bool
}

// disabledReason is why a job is paused that was disabled without a reason.
const disabledReason = "disabled through the repository"

// Save inserts a job or updates the one of that name, whose id, counts and history stay.
// It sets the schedule over the declared one, or takes that back if it is the same, and
// disables or enables the job; all or nothing. It returns the job as it is then.
//
// A job whose code no replica has brings nothing about: it is shown as not registered. What
// was saved is in force when a deployment brings it. That takes a role that may insert jobs,
// such as that of the replicas.
//
// The errors are those of [Client.Reschedule], [Jobs.Enable] and [Jobs.Disable], and
// [ErrBadArgument] for a name that no job can have.
func (j Jobs) Save(ctx context.Context, name string, settings JobSettings) (job Job, err error) {
	if err := jobs.CheckName(name); err != nil {
		return Job{}, fmt.Errorf("%w: %w", ErrBadArgument, err)
	}
	err = j.atomically(ctx, func(j Jobs) error {
		job, err = j.save(ctx, name, settings)
		return err
	})
	return job, err
}

func (j Jobs) save(ctx context.Context, name string, settings JobSettings) (Job, error) {
	list, err := j.statements.ListJobs(ctx, j.db, name)
	if err != nil {
		return Job{}, translate("", err)
	}
	timeZone := "UTC"
	if len(list) > 0 {
		timeZone = list[0].Timezone
	}
	if err := jobs.CheckSchedule(name, settings.Schedule, timeZone); err != nil {
		return Job{}, err
	}
	if len(list) == 0 {
		if _, err := j.statements.AnnounceJob(ctx, j.db, name, settings.Schedule); err != nil {
			return Job{}, translate("", err)
		}
	}
	job, err := j.Find(ctx, name)
	if err != nil {
		return Job{}, err
	}
	override := settings.Schedule
	if job.Registered && override == job.DeclaredSchedule {
		override = ""
	}
	if current := job.ScheduleOverride; current == nil && override != "" || current != nil && *current != override {
		if err := j.statements.RescheduleJob(ctx, j.db, name, override); err != nil {
			return Job{}, translate("", err)
		}
	}
	switch {
	case settings.Disabled:
		err = j.Disable(ctx, name, "")
	case job.PausedAt != nil || !job.Enabled:
		err = j.Enable(ctx, name)
	}
	if err != nil {
		return Job{}, err
	}
	return j.Find(ctx, name)
}

// atomically does something in one transaction, or a part of the caller's.
func (j Jobs) atomically(ctx context.Context, do func(Jobs) error) error {
	beginner, ok := j.db.(interface {
		Begin(ctx context.Context) (pgx.Tx, error)
	})
	if !ok {
		return do(j)
	}
	return pgx.BeginFunc(ctx, beginner, func(tx pgx.Tx) error { return do(Jobs{db: tx, statements: j.statements}) })
}

// Find reads the job of a name. The error wraps jobs.ErrUnknownJob if there is none.
func (j Jobs) Find(ctx context.Context, name string) (Job, error) {
	return findJob(ctx, j.db, j.statements, name, func(err error) error { return translate("", err) })
}

// ListEnabled lists the jobs that are enqueued when they are due, by name: those that are
// declared, enabled and not paused.
func (j Jobs) ListEnabled(ctx context.Context) ([]Job, error) {
	list, err := j.statements.ListJobs(ctx, j.db, "")
	if err != nil {
		return nil, translate("", err)
	}
	enabled := make([]Job, 0, len(list))
	for _, job := range list {
		if job.State == "active" {
			enabled = append(enabled, job)
		}
	}
	return enabled, nil
}

// RecentRuns lists the newest runs of the job of a name, newest first; an empty name means
// all jobs. A limit of zero or less means 50. The error wraps jobs.ErrUnknownJob.
func (j Jobs) RecentRuns(ctx context.Context, name string, limit int) ([]Run, error) {
	if limit <= 0 {
		limit = listLimitDefault
	}
	if name != "" {
		if _, err := j.Find(ctx, name); err != nil {
			return nil, err
		}
	}
	list, err := j.statements.ListRuns(ctx, j.db, RunFilter{JobName: name, Limit: limit})
	return list, translate("", err)
}

// Enable lets a job be enqueued again, from now on. It is [Client.Resume]; the error is
// [ErrJobNotRunnable] for a job that its declaration disables, which only the leader's
// configuration can change, and while the whole scheduler is paused.
func (j Jobs) Enable(ctx context.Context, name string) error {
	job, err := j.Find(ctx, name)
	if err != nil {
		return err
	}
	if !job.Enabled {
		return fmt.Errorf("job %q: %w: its declaration disables it; set enabled: true for it in the configuration of the replicas", name, ErrJobNotRunnable)
	}
	return translate("", j.statements.ResumeJob(ctx, j.db, name))
}

// Disable stops a job from being enqueued until [Jobs.Enable]. It is [Client.Pause]: a run
// that has begun goes on, and a pause that is there stays as it is. An empty reason is
// replaced by one that says who has disabled it.
func (j Jobs) Disable(ctx context.Context, name, reason string) error {
	if reason == "" {
		reason = disabledReason
	}
	return translate("", j.statements.PauseJob(ctx, j.db, name, reason, false))
}
