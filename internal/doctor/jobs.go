package doctor

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// declared has the jobs that can be checked look at what they need, as a replica does
// before it starts.
func (e *examination) declared(ctx context.Context, s *scheduler.Scheduler, locate func(error) error) {
	if !slices.ContainsFunc(e.config.Registry.List(), func(job jobs.Job) bool { _, ok := job.(jobs.Checker); return ok }) {
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
		e.add(groupJobs, "declared", StatusOK, "what the enabled jobs look at before a start is as they need it")
	}
	for _, one := range found {
		text := one.Error()
		if locate != nil {
			text = locate(one).Error()
		}
		e.addOf(groupJobs, "declared", one.Job, StatusProblem, oneLine(text)).fix("correct the job's entry in the configuration; until then, no replica starts with it")
	}
}
