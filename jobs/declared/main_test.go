package declared_test

import (
	"errors"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
)

var discard = slog.New(slog.DiscardHandler)

var tick = time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC)

func definition(parameters ...jobs.Parameter) jobs.Definition {
	return jobs.Definition{Name: "nightly", Description: "Does it.", Schedule: "@daily", Parameters: parameters}
}

// attempt works a job as the scheduler does, without a database: batch after batch.
func attempt(t *testing.T, job jobs.Job, change func(*jobs.Run)) (targets jobs.Targets, message string, err error) {
	t.Helper()
	parameters, err := jobs.Resolve(job.Definition())
	require.NoError(t, err)
	run := &jobs.Run{
		ID: 7, Job: "nightly", Tick: tick, Trigger: jobs.TriggerSchedule, Attempt: 1, MaxAttempts: 5, Now: tick, Parameters: parameters,
		Logger: discard,
	}
	if change != nil {
		change(run)
	}
	batches, err := job.(jobs.BatchJob).Start(t.Context(), run)
	require.NoError(t, err)
	targets = jobs.Targets{}
	for done := false; !done; {
		if err := batches.(jobs.Preparer).Prepare(t.Context()); err != nil {
			return targets, message, err
		}
		batch := &jobs.Batch{Targets: jobs.Targets{}}
		done, err = batches.Next(t.Context(), batch)
		require.NoError(t, err)
		targets.Merge(batch.Targets)
		message = batch.Message
	}
	return targets, message, nil
}

// fieldsOf are the fields that an error names, with their positions.
func fieldsOf(err error) map[string]int {
	fields := make(map[string]int)
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			maps.Copy(fields, fieldsOf(one))
		}
	} else if part, ok := errors.AsType[*jobs.FieldError](err); ok {
		fields[part.Field] = part.Position
	}
	return fields
}
