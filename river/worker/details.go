package worker

import (
	"encoding/json"
	"fmt"

	"github.com/systempromptio/scheduler/internal/runlog"
	"github.com/systempromptio/scheduler/jobs"
)

// details is what the ledger keeps of a run, beside its columns.
type details struct {
	Targets  jobs.Targets    `json:"targets,omitempty"`
	Batches  int64           `json:"batches,omitempty"`
	Total    int64           `json:"total,omitempty"`
	Message  string          `json:"message,omitempty"`
	Cursor   json.RawMessage `json:"cursor,omitempty"`
	Progress *jobs.Progress  `json:"progress,omitempty"`
}

// after is d with what a batch did.
func (d details) after(batch *jobs.Batch) (details, error) {
	if err := checkTargets(batch.Targets); err != nil {
		return details{}, err
	}
	next := d
	next.Targets = jobs.Targets{}
	next.Targets.Merge(d.Targets)
	next.Targets.Merge(storableTargets(batch.Targets))
	next.Batches++
	if batch.Message != "" {
		next.Message = storableLine(batch.Message)
	}
	if batch.Total > 0 {
		next.Total = batch.Total
	}
	next.Progress = &jobs.Progress{Done: next.Targets.Rows(), Total: next.Total, Message: next.Message}
	if batch.Cursor != nil {
		cursor, err := json.Marshal(batch.Cursor)
		if err != nil {
			return details{}, fmt.Errorf("encode the cursor: %w", err)
		}
		if !runlog.Storable(cursor) {
			return details{}, jobs.Permanent(fmt.Errorf("batch.Cursor holds a text that Postgres cannot store (a zero byte, or half of a character): %.200q", cursor))
		}
		next.Cursor = cursor
	}
	return next, nil
}

const (
	// lineMax cuts a line for people, in bytes, and nameMax the name of a target.
	lineMax = 2 << 10
	nameMax = 200

	// targetsMax bounds how many targets are kept with a run.
	targetsMax = 1000
)

// storableLine is a line for people that Postgres can store, and that is not too long.
func storableLine(line string) string { return runlog.Clean(line, lineMax) }

// storableTargets are targets with such lines.
func storableTargets(targets jobs.Targets) jobs.Targets {
	if targets == nil {
		return nil
	}
	stored := make(jobs.Targets, len(targets))
	for name, target := range targets {
		target.Note, target.Plan = storableLine(target.Note), storableLine(target.Plan)
		stored.Merge(jobs.Targets{runlog.Clean(name, nameMax): target})
	}
	return stored
}

// rowsOf is the number of rows of a run in one transaction.
func rowsOf(result jobs.Result) (int64, error) {
	if err := checkTargets(result.Targets); err != nil {
		return 0, err
	}
	if result.RowsAffected < 0 {
		return 0, jobs.Permanent(fmt.Errorf("the job reports %d rows: RowsAffected cannot be negative", result.RowsAffected))
	}
	if result.RowsAffected > 0 {
		return result.RowsAffected, nil
	}
	return result.Targets.Rows(), nil
}

// checkTargets refuses counts that cannot be true.
func checkTargets(targets jobs.Targets) error {
	if len(targets) > targetsMax {
		return jobs.Permanent(fmt.Errorf("the job reports %d targets, at most %d are kept: sum them up", len(targets), targetsMax))
	}
	for name, target := range targets {
		if target.Rows < 0 || target.Batches < 0 {
			return jobs.Permanent(fmt.Errorf("the job reports %d rows in %d batches for the target %.100q: they cannot be negative", target.Rows, target.Batches, name))
		}
	}
	return nil
}
