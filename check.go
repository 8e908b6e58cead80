package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/internal/connection"
	"github.com/systempromptio/scheduler/jobs"
)

// CheckJobs has every enabled job that can be checked, see [jobs.Checker], look at what
// it needs. The transaction should be a read-only one on a connection like those of the
// jobs; what the checks do in it is rolled back. The error joins a [*ConfigError] for
// each thing that is wrong; any other error means that the checks could not be made.
func (s *Scheduler) CheckJobs(ctx context.Context, tx pgx.Tx) error {
	now, err := s.statements.Clock(ctx, tx)
	if err != nil {
		return fmt.Errorf("check the jobs: %w", err)
	}
	var errs []error
	for _, d := range s.config.declarations() {
		job, err := s.config.Registry.Get(d.Definition.Name)
		if err != nil {
			return err
		}
		checker, ok := job.(jobs.Checker)
		if !ok || !d.Enabled {
			continue
		}
		parameters, err := jobs.Resolve(d.Definition, d.Parameters)
		if err != nil {
			return err
		}
		err = checkJob(ctx, tx, checker, &jobs.Run{
			Job: d.Definition.Name, DryRun: true, Now: now, Schema: s.statements.Schema(), Parameters: parameters, Logger: s.config.Logger,
		})
		if err != nil && (ctx.Err() != nil || connection.IsAway(err) || tx.Conn().IsClosed()) {
			return fmt.Errorf("check job %q: %w", d.Definition.Name, err)
		}
		if connection.IsHeldUp(err) { // which says nothing about the job
			s.config.Logger.WarnContext(ctx, "the job could not be checked: somebody holds a lock on what it needs, or the server is short of something; going on without",
				slog.String("job", d.Definition.Name), slog.Any("error", err))
			continue
		}
		errs = append(errs, configErrorsOf(d.Definition.Name, err)...)
	}
	return errors.Join(errs...)
}

// checkJob checks one job behind a savepoint, so that what breaks the transaction does
// not break the next job's check.
func checkJob(ctx context.Context, tx pgx.Tx, checker jobs.Checker, run *jobs.Run) error {
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = savepoint.Rollback(ctx) }() // the check's error matters more
	run.Tx = savepoint
	return checker.Check(ctx, run)
}

// configErrorsOf gives each thing that a check has found its job's name and its field.
func configErrorsOf(job string, err error) []error {
	if err == nil {
		return nil
	}
	part, ok := errors.AsType[*jobs.FieldError](err)
	if !ok {
		return []error{&ConfigError{Job: job, Field: "name", Err: err}}
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{&ConfigError{Job: job, Field: part.Field, Position: part.Position, Err: part.Err}}
	}
	var list []error
	for _, one := range joined.Unwrap() {
		list = append(list, configErrorsOf(job, one)...)
	}
	return list
}

// checkJobs checks the jobs before anything is changed. conn is the one of the leader's
// lock, which may lead there by another way than the jobs' own.
func (s *Scheduler) checkJobs(ctx context.Context, conn *pgx.Conn) error {
	if !s.mustCheck() {
		return nil
	}
	if s.config.LeaderDatabaseURL != "" {
		own, _, err := s.waitForDatabase(ctx, s.source(), func(config *pgx.ConnConfig) {
			// Through a pooler, another client's prepared statement may be in the way.
			config.DefaultQueryExecMode = pgx.QueryExecModeExec
		})
		if err != nil {
			return err
		}
		defer closeConn(ctx, own)
		conn = own
	}
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{BeginQuery: s.statements.Text("check_begin")})
	if err != nil {
		return fmt.Errorf("check the jobs: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // it was read-only
	return s.CheckJobs(ctx, tx)
}

// mustCheck says whether there is a job to check.
func (s *Scheduler) mustCheck() bool {
	for _, job := range s.config.Registry.List() {
		if _, ok := job.(jobs.Checker); ok {
			return true
		}
	}
	return false
}
