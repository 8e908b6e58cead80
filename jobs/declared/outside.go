package declared

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/systempromptio/scheduler/jobs"
)

// outside is a job that does its work outside the transaction of its record. In a first
// transaction it notes that the work begins, then it does the work, and in a second one
// it notes what came of it.
type outside struct {
	definition jobs.Definition
	// target is what the ledger calls the work: statement, request, command.
	target string
	// dry is what a dry run says that it would do.
	dry string
	// do does the work. Its error fails the attempt.
	do func(ctx context.Context, run *jobs.Run) (outcome, error)
	// check is jobs.Checker's, for what can be looked at.
	check func(ctx context.Context, run *jobs.Run) error
}

// outcome is what came of the work.
type outcome struct {
	target  jobs.Target
	message string
}

var (
	_ jobs.BatchJob = (*outside)(nil)
	_ jobs.Checker  = (*outside)(nil)
	_ jobs.Preparer = (*outsideAttempt)(nil)
)

// Definition describes the job.
func (o *outside) Definition() jobs.Definition { return o.definition }

// Check looks at what the job needs.
func (o *outside) Check(ctx context.Context, run *jobs.Run) error {
	return o.check(ctx, run)
}

// begun is what the run's record keeps: that an attempt has begun the work.
type begun struct {
	Begun bool `json:"begun"`
}

// Start begins an attempt. That it is in charge, the scheduler has just seen; where the
// record says already that the work was begun, it need not say so again.
func (o *outside) Start(_ context.Context, run *jobs.Run) (jobs.Batches, error) {
	a := &outsideAttempt{outside: o, run: run}
	if run.Cursor != nil {
		var before begun
		if err := json.Unmarshal(run.Cursor, &before); err != nil {
			return nil, fmt.Errorf("read whether the work was begun: %w", err)
		}
		a.again, a.mayWork = before.Begun, before.Begun
	}
	return a, nil
}

// outsideAttempt is an attempt at the work.
type outsideAttempt struct {
	*outside

	run *jobs.Run
	// again: an earlier attempt has begun the work.
	again   bool
	mayWork bool
	outcome outcome
}

// Prepare does the work, outside any transaction, once it is noted that it begins.
func (a *outsideAttempt) Prepare(ctx context.Context) (err error) {
	if a.mayWork && !a.run.DryRun {
		a.outcome, err = a.do(ctx, a.run)
	}
	return err
}

// Next notes that the work begins, and then what came of it.
func (a *outsideAttempt) Next(_ context.Context, batch *jobs.Batch) (done bool, err error) {
	switch {
	case a.run.DryRun:
		batch.Message = "nothing was done; a run would " + a.dry
		batch.Targets[a.target] = jobs.Target{Note: "not done in a dry run"}
		return true, nil
	case !a.mayWork:
		a.mayWork = true
		batch.Cursor = begun{Begun: true}
		// It stays where the work then fails, with the error beside it.
		batch.Message = "the " + a.target + " was begun"
		return false, nil
	}
	batch.Message = a.outcome.message
	if a.again {
		batch.Message += " (an earlier attempt had begun, too: it may have been done more than once)"
	}
	batch.Targets[a.target] = a.outcome.target
	return true, nil
}
