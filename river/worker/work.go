package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/systempromptio/scheduler/internal/metrics"
	"github.com/systempromptio/scheduler/internal/runlog"
	"github.com/systempromptio/scheduler/internal/tracing"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// errAttemptLost: another attempt is in charge of the run, or it was ended.
var errAttemptLost = errors.New("the attempt is not in charge of the run any more")

// jobWorker works one kind of River job.
type jobWorker struct {
	river.WorkerDefaults[jobs.Args]
	*Service
	job jobs.Job
	// definition is the job's when the replica started: what Definition says later does not
	// matter.
	definition jobs.Definition
}

// Timeout bounds the attempt, as the leader decided when it enqueued the run.
func (w *jobWorker) Timeout(job *river.Job[jobs.Args]) time.Duration {
	switch {
	case job.Args.Timeout > 0:
		return job.Args.Timeout
	case w.definition.Timeout > 0:
		return w.definition.Timeout
	}
	return jobs.TimeoutDefault
}

// Work works one attempt and records its end. River is left nothing to report.
func (w *jobWorker) Work(ctx context.Context, job *river.Job[jobs.Args]) error {
	a := &attempt{
		jobWorker: w,
		riverJob:  job,
		id: sql.Attempt{
			RunID: job.Args.RunID, RiverJobID: job.ID, Attempt: job.Attempt, ReplicaID: w.config.ReplicaID,
		},
		logger: w.config.Logger.With(slog.String("job", job.Kind), slog.Int64("run_id", job.Args.RunID), slog.Int("attempt", job.Attempt)),
	}
	if job.AttemptedAt != nil {
		a.id.AttemptedAt = *job.AttemptedAt
	}
	returned, err := a.run(ctx)
	if returned != nil {
		a.awaitReturn(context.WithoutCancel(ctx), returned)
	}
	return err
}

// run runs the attempt and records its end. If the job has not returned, it will be heard
// of from the channel.
func (a *attempt) run(ctx context.Context) (returned <-chan outcome, err error) {
	job := a.riverJob
	// Not until the job has returned: by then the next attempt may be handed to this
	// replica, and that be lost.
	defer a.known.add(job.ID)()
	a.metrics = a.config.Metrics.Work(job.Kind, a.Timeout(job))
	a.outcome = metrics.OutcomeLost
	ctx, a.span = a.config.Tracer.Attempt(ctx, job.Metadata, tracing.Run{
		Job: job.Kind, ID: job.Args.RunID, Tick: job.Args.Tick, Trigger: string(job.Args.Trigger), DryRun: job.Args.DryRun,
	}, job.Attempt)
	if trace := a.span.TraceID(); trace != "" {
		a.logger = a.logger.With(slog.String("trace_id", trace))
	}
	a.kept = runlog.New(a.config.LogLines)
	var failure error
	defer func() {
		a.metrics.End(a.outcome)
		a.span.End(a.outcome, failure)
	}()
	// A replica that cannot prove that it is alive waits for it, so that River does
	// not fetch the run again and again, but not until the leader takes the run
	// away, which would count as an attempt.
	heldCtx, cancelHeld := context.WithTimeout(ctx, presenceWait)
	presence, err := a.config.Presence.Held(heldCtx)
	cancelHeld()
	if err != nil {
		// Not at once again: nothing could be done then, either.
		return nil, a.giveBack(ctx, sql.Interruption{Wait: presenceLostWait})
	}
	runCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(presence, func() { cancel(context.Cause(presence)) })()
	batchCtx, endBatches := gently(ctx, presence)
	defer endBatches()
	a.batchCtx = batchCtx
	ended, returned := a.attended(runCtx)
	if ended.err == nil {
		a.outcome = metrics.StatusSuccess
		return nil, unreported{"completed"}
	}
	failure = ended.err
	return returned, a.end(ctx, presence, ended.err, ended.trace)
}

// presenceWait is shorter than the 1.5 s after which the leader takes the runs of
// a replica without presence away.
const presenceWait = 500 * time.Millisecond

// presenceLostWait is the pause after which a run is handed out again that a replica
// without presence has given back.
const presenceLostWait = time.Second

// batchGrace is how long a batch may go on that was under way when its run was to
// stop. It holds locks for far less.
const batchGrace = 5 * time.Second

// gently makes the context of a run's batches. When the run is to stop, the batch
// that is under way may still commit. Not so where the run is out of time, or where
// others will take it.
func gently(ctx, presence context.Context) (context.Context, context.CancelFunc) {
	gentle, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stopPresence := context.AfterFunc(presence, func() { cancel(context.Cause(presence)) })
	var mu sync.Mutex
	var grace *time.Timer
	stop := context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			cancel(context.Cause(ctx))
			return
		}
		grace = time.AfterFunc(batchGrace, func() { cancel(context.Cause(ctx)) })
	})
	return gentle, func() {
		stop()
		stopPresence()
		mu.Lock()
		defer mu.Unlock()
		if grace != nil {
			grace.Stop()
		}
		cancel(nil)
	}
}

// attempt is one attempt at a run.
type attempt struct {
	*jobWorker
	riverJob *river.Job[jobs.Args]
	id       sql.Attempt
	logger   *slog.Logger
	metrics  *metrics.Working
	span     *tracing.Attempt
	// kept is what the job logs.
	kept *runlog.Kept
	// outcome is how the attempt has ended, for the metrics.
	outcome string
	details details
	// batchCtx ends later than that of the run: see gently.
	batchCtx context.Context //nolint:containedctx // it is the attempt's
	beside   besideTxs
	conns    besideConns
	txs      transactions
	// session is that of the transaction under way.
	session *session

	progressMu   sync.Mutex
	lastProgress time.Time
	estimate     estimate
}

func (a *attempt) work(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	state, err := a.config.Statements.RunState(ctx, a.config.Pool, a.id)
	if err != nil {
		return ours(err)
	}
	if state == nil {
		return errAttemptLost
	}
	if err := json.Unmarshal(state.Details, &a.details); err != nil {
		return fmt.Errorf("read the details of run %d: %w", a.id.RunID, err)
	}
	a.started(state)
	if a.details.Targets == nil {
		a.details.Targets = jobs.Targets{}
	}
	definition := a.definition
	parameters, err := jobs.ResolveJSON(definition, a.riverJob.Args.Parameters)
	if err != nil {
		return jobs.Permanent(err)
	}
	run := &jobs.Run{
		ID:           a.id.RunID,
		Job:          definition.Name,
		Tick:         a.riverJob.Args.Tick,
		Trigger:      a.riverJob.Args.Trigger,
		Attempt:      a.riverJob.Attempt,
		MaxAttempts:  a.riverJob.MaxAttempts,
		Now:          state.Now,
		DryRun:       a.riverJob.Args.DryRun,
		Parameters:   parameters,
		Logger:       a.kept.Logger(a.logger),
		Schema:       a.config.Statements.Schema(),
		Cursor:       a.details.Cursor,
		Done:         a.details.Targets,
		Beginner:     besideBeginner{a},
		Connector:    besideConnector{a},
		ProgressFunc: a.reportProgress,
		App:          a.config.App,
	}
	switch job := a.job.(type) {
	case jobs.TxJob:
		return a.workTx(ctx, job, run)
	case jobs.BatchJob:
		return a.workBatches(ctx, job, run)
	}
	return jobs.Permanent(fmt.Errorf("job %q: %w: %T has no form that can be run", definition.Name, jobs.ErrInvalidJob, a.job))
}

// started tells the metrics since when the run has been going on.
func (a *attempt) started(state *sql.RunState) {
	args := a.riverJob.Args
	var lag *time.Duration
	if a.riverJob.Attempt == 1 && args.Trigger != jobs.TriggerBackfill {
		d := state.StartedAt.Sub(args.Tick)
		lag = &d
	}
	a.metrics.Started(string(args.Trigger), state.Now.Sub(state.StartedAt), lag)
}

// changed counts rows that a committed transaction has changed.
func (a *attempt) changed(rows int64) {
	if !a.riverJob.Args.DryRun {
		a.metrics.Rows(rows)
		a.span.Rows(rows)
	}
}

// workTx does all of a run in one transaction. River's row is locked only at the
// end, with the record, so that the run can be cancelled meanwhile.
func (a *attempt) workTx(ctx context.Context, job jobs.TxJob, run *jobs.Run) error {
	var rows int64
	err := a.inTx(ctx, "begin_run", func(tx pgx.Tx) error {
		var result jobs.Result
		err := a.sandboxed(ctx, tx, func(tx pgx.Tx) error {
			run.Tx = tx
			var err error
			result, err = job.Run(ctx, run)
			return err
		})
		if err != nil {
			return err
		}
		if rows, err = rowsOf(result); err != nil {
			return err
		}
		return a.record(ctx, tx, details{Targets: storableTargets(result.Targets), Message: storableLine(result.Message)}, rows, true)
	})
	if err == nil {
		a.changed(rows)
	}
	return err
}

// workBatches does a run in one transaction after the other.
func (a *attempt) workBatches(ctx context.Context, job jobs.BatchJob, run *jobs.Run) error {
	batches, err := job.Start(ctx, run)
	if err != nil {
		return err
	}
	preparer, _ := batches.(jobs.Preparer)
	for done := false; !done; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if preparer != nil {
			if err := preparer.Prepare(ctx); err != nil {
				return err
			}
		}
		a.estimate.begin(time.Now())
		if done, err = a.batch(a.batchCtx, batches); err != nil { //nolint:contextcheck // it is made of ctx
			return err
		}
	}
	return nil
}

func (a *attempt) batch(ctx context.Context, batches jobs.Batches) (done bool, err error) {
	var next details
	var locked time.Time
	batch := &jobs.Batch{Targets: jobs.Targets{}}
	ctx, span := a.span.Batch(ctx)
	defer func() { span.End(batch.Targets.Rows(), err) }()
	err = a.inTx(ctx, "begin_batch", func(tx pgx.Tx) error {
		if err := a.fence(ctx, tx); err != nil {
			return err
		}
		locked = time.Now()
		err := a.sandboxed(ctx, tx, func(tx pgx.Tx) error {
			batch.Tx = tx
			var err error
			done, err = batches.Next(ctx, batch)
			return err
		})
		if err != nil {
			return err
		}
		next, err = a.details.after(batch)
		if err != nil {
			return err
		}
		a.estimate.add(time.Now(), batch.Targets.Rows(), next.Progress)
		return a.record(ctx, tx, next, next.Targets.Rows(), done)
	})
	if !locked.IsZero() {
		a.metrics.Batch(time.Since(locked))
	}
	if err != nil {
		return false, err
	}
	a.changed(batch.Targets.Rows())
	a.details = next
	return done, nil
}

func (a *attempt) fence(ctx context.Context, tx pgx.Tx) error {
	inCharge, err := a.config.Statements.Fence(ctx, tx, a.id)
	if err != nil {
		return ours(err)
	}
	if !inCharge {
		return errAttemptLost
	}
	return nil
}

// record writes what the run has done so far and, if it is done, completes
// River's job, all in the transaction that did it.
func (a *attempt) record(ctx context.Context, tx pgx.Tx, d details, rows int64, done bool) error {
	encoded, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode the details of run %d: %w", a.id.RunID, err)
	}
	inCharge, settings, err := a.config.Statements.StoreProgress(ctx, tx, a.id, rows, encoded)
	if err != nil {
		return ours(err)
	}
	if !inCharge {
		return errAttemptLost
	}
	a.session.stored(settings)
	if !done {
		return nil
	}
	a.storeLog(ctx, tx)
	completed, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, a.riverJob)
	if err != nil {
		return ours(fmt.Errorf("complete River's job %d: %w", a.id.RiverJobID, err))
	}
	// JobCompleteTx does not say when the job was no longer running.
	if completed.State != rivertype.JobStateCompleted {
		return errAttemptLost
	}
	return nil
}

// storeLog stores what the job has logged, if it has, with the end of the attempt. It
// never fails the run: what cannot be stored, is rolled back by itself.
func (a *attempt) storeLog(ctx context.Context, tx pgx.Tx) {
	lines := a.kept.JSON()
	if lines == nil {
		return
	}
	err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		return a.config.Statements.StoreLog(ctx, tx, a.id, lines)
	})
	if err != nil && ctx.Err() == nil {
		a.logger.WarnContext(ctx, "what the run has logged could not be stored; the run is not affected", slog.Any("error", err))
	}
}

// progressInterval is the shortest time between two stored reports of progress.
const progressInterval = 500 * time.Millisecond

// reportProgress stores a report beside the run's transaction, so that people see
// it before the run commits.
func (a *attempt) reportProgress(ctx context.Context, progress jobs.Progress) {
	if a.txs.isOver() != nil || !a.progressMu.TryLock() {
		return
	}
	defer a.progressMu.Unlock()
	if time.Since(a.lastProgress) < progressInterval {
		return
	}
	a.lastProgress = time.Now()
	a.estimate.complete(&progress)
	progress.Message = storableLine(progress.Message)
	encoded, err := json.Marshal(progress)
	if err == nil {
		err = a.config.Statements.ReportProgress(ctx, a.config.Pool, a.id.RunID, encoded)
	}
	if err != nil && ctx.Err() == nil {
		a.logger.WarnContext(ctx, "progress could not be stored", slog.Any("error", err))
	}
}
