package doctor

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// declared has the jobs that can be checked look at what they need, as a replica does
// before it starts.
func (e *examination) declared(ctx context.Context, s *scheduler.Scheduler, locate func(error) error) {
	checked := 0
	for _, job := range e.config.Registry.List() {
		if jobs.CheckFunc(job) != nil {
			checked++
		}
	}
	if checked == 0 {
		return
	}
	if !e.reachable() {
		e.skip(groupJobs, noConnection, "declared")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	err := pgx.BeginFunc(ctx, readOnly{e}, func(tx pgx.Tx) error { return s.CheckJobs(ctx, tx) })
	found := scheduler.ConfigErrors(err)
	if err != nil && len(found) == 0 {
		e.failed(groupJobs, "declared", err)
		return
	}
	if err == nil {
		e.add(groupJobs, "declared", StatusOK, plural(checked, "job")+" with checks of their own: nothing is wrong where they are enabled")
	}
	for _, one := range found {
		text := one.Error()
		if locate != nil {
			text = locate(one).Error()
		}
		e.addOf(groupJobs, "declared", one.Job, StatusProblem, oneLine(text)).fix("correct the job's entry in the configuration; until then, no replica starts with it")
	}
}
