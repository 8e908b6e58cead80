package jobs

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrUnknownJob: no job of that name is registered.
	ErrUnknownJob = errors.New("unknown job")

	// ErrInvalidJob: a job's definition breaks the contract.
	ErrInvalidJob = errors.New("invalid job")

	// ErrDuplicateJob: a job of that name is registered already.
	ErrDuplicateJob = errors.New("duplicate job")

	// ErrInvalidSchedule: a schedule or its time zone cannot be read.
	ErrInvalidSchedule = errors.New("invalid schedule")

	// ErrInvalidParameter: a parameter is unknown, of the wrong type or out of
	// range. The error is a [*ParameterError].
	ErrInvalidParameter = errors.New("invalid job parameter")

	// ErrAppValue: nothing that the program provides is what a job asked for, or more
	// than one thing is.
	ErrAppValue = errors.New("application value missing or ambiguous")

	// ErrTxOfRun: a job has tried to commit or roll back run.Tx, or batch.Tx. That is the
	// scheduler's to do, with the run's record: return nil to have it committed, an error to
	// have it rolled back.
	ErrTxOfRun = errors.New("the transaction of a run is the scheduler's to end: return nil to have it committed, an error to have it rolled back")

	// ErrBlocked: a run has stopped before it changed anything, because a bound would
	// have been passed. See [Blocked].
	ErrBlocked = errors.New("blocked")
)

// ParameterError names the parameter that was refused. errors.Is with
// [ErrInvalidParameter] holds.
type ParameterError struct {
	// Job is the job's name; empty where a definition is checked on its own.
	Job string
	// Parameter is the parameter's name.
	Parameter string
	// Reason says what is wrong and what would be right.
	Reason string
}

func (e *ParameterError) Error() string {
	if e.Job == "" {
		return fmt.Sprintf("parameter %q: %s", e.Parameter, e.Reason)
	}
	return fmt.Sprintf("job %q: parameter %q: %s", e.Job, e.Parameter, e.Reason)
}

// Unwrap makes errors.Is with [ErrInvalidParameter] hold.
func (e *ParameterError) Unwrap() error { return ErrInvalidParameter }

// FieldError names the part of a job's declaration that is wrong.
type FieldError struct {
	// Field is the part's name as in the configuration file, such as "schedule",
	// "parameters.keep_days" or "sql.statement_2".
	Field string
	// Position is the character of the part's text at which it is wrong, from 1. Zero
	// means the whole.
	Position int
	// Err says what is wrong and what would be right.
	Err error
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *FieldError) Unwrap() error { return e.Err }

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }

func (e *permanentError) Unwrap() error { return e.err }

// Permanent marks an error that another attempt cannot mend: the run has failed
// at once. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err: err}
}

// IsPermanent says whether err, or an error that it wraps, was marked with
// [Permanent].
func IsPermanent(err error) bool {
	var permanent *permanentError
	return errors.As(err, &permanent)
}

type retryAfterError struct {
	err  error
	wait time.Duration
}

func (e *retryAfterError) Error() string { return e.err.Error() }

func (e *retryAfterError) Unwrap() error { return e.err }

// RetryAfter marks an error that says when it is worth trying again: the next attempt
// comes after that wait rather than the job's backoff. RetryAfter(nil, wait) is nil.
func RetryAfter(err error, wait time.Duration) error {
	if err == nil {
		return nil
	}
	return &retryAfterError{err: err, wait: max(wait, 0)}
}

// RetryWait is the wait of an error that was marked with [RetryAfter], or that wraps one.
func RetryWait(err error) (wait time.Duration, ok bool) {
	var marked *retryAfterError
	if !errors.As(err, &marked) {
		return 0, false
	}
	return marked.wait, true
}

type blockedError struct{ err error }

func (e *blockedError) Error() string { return e.err.Error() }

func (e *blockedError) Unwrap() error { return e.err }

// Is makes errors.Is with [ErrBlocked] hold.
func (*blockedError) Is(target error) bool { return target == ErrBlocked }

// Blocked marks an error that says: the run has stopped before it changed anything,
// because a bound would have been passed. The run ends at once, in
// [StatusBlocked], with the error's text for the operator; another attempt would find
// the same. Blocked(nil) is nil.
func Blocked(err error) error {
	if err == nil {
		return nil
	}
	return &blockedError{err: err}
}

// IsBlocked says whether err, or an error that it wraps, was marked with [Blocked].
func IsBlocked(err error) bool { return errors.Is(err, ErrBlocked) }
