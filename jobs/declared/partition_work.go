package declared

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

const (
	// lockWait bounds the wait for one lock, behind which the application's statements
	// wait; hurry each statement that runs while they may have to. Together they stay
	// below the quarter of a second for which a job may hold others up.
	lockWait = 40 * time.Millisecond
	hurry    = 100 * time.Millisecond
	// leisure bounds statements for which nobody waits.
	leisure = 30 * time.Second

	// patience is how long an attempt goes on trying to get its locks.
	patience   = time.Minute
	pauseFirst = 50 * time.Millisecond
	pauseMax   = 2 * time.Second
)

// SQLSTATE codes.
const (
	codeLockNotAvailable = "55P03"
	codeQueryCanceled    = "57014"
	codeDeadlock         = "40P01"
)

// partitionStep is one partition to be made or taken.
type partitionStep struct {
	window window
	making sql.Making
	// take, if not nil, is one to be taken.
	take *sql.Partition
	// problem says why it cannot be made.
	problem string
}

// partitionWork is the work of one attempt.
type partitionWork struct {
	job      *PartitionJob
	run      *jobs.Run
	sql      *sql.Statements
	table    sql.PartitionedTable
	calendar calendar

	isPlanned bool
	steps     []partitionStep
	// pause is how long to wait before the step is tried again, waited how long the attempt
	// has waited in all.
	pause, waited time.Duration
	// failures are the steps that could not be done, isHopeless says that none of them can
	// be by another attempt.
	failures   []error
	isHopeless bool
	done       partitionsDone
}

var (
	_ jobs.Batches  = (*partitionWork)(nil)
	_ jobs.Preparer = (*partitionWork)(nil)
)

// Prepare makes the plan, before the first step, and waits before one that is tried again.
func (w *partitionWork) Prepare(ctx context.Context) error {
	if !w.isPlanned {
		if err := w.plan(ctx); err != nil {
			return err
		}
		w.isPlanned = true
	}
	if w.run.DryRun {
		return nil
	}
	for len(w.steps) > 0 && w.steps[0].problem != "" {
		w.fail(errors.New(w.steps[0].problem), true)
	}
	if len(w.steps) == 0 && len(w.failures) > 0 {
		return w.failure()
	}
	if w.pause == 0 {
		return nil
	}
	timer := time.NewTimer(w.pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
	}
	w.waited += w.pause
	return nil
}

// fail leaves out the first step.
func (w *partitionWork) fail(err error, isHopeless bool) {
	w.isHopeless = isHopeless && (w.isHopeless || len(w.failures) == 0)
	w.failures = append(w.failures, err)
	w.next()
}

// failure is the error of an attempt that could not do all.
func (w *partitionWork) failure() error {
	err := errors.Join(w.failures...)
	switch {
	case !w.isHopeless:
		return err
	case w.done.total() == 0:
		return jobs.Blocked(err)
	}
	return jobs.Permanent(err)
}

// plan looks at the table and decides what to make and to take.
func (w *partitionWork) plan(ctx context.Context) error {
	return w.beside(ctx, func(tx pgx.Tx) (err error) {
		if w.table, err = w.job.look(ctx, tx, w.sql); err != nil {
			return err
		}
		if err := w.job.checkTable(w.table); err != nil {
			return jobs.Permanent(err)
		}
		if _, err := w.sql.BeginPartition(ctx, tx, leisure, leisure); err != nil {
			return err
		}
		existing, err := w.sql.Partitions(ctx, tx, w.table.OID, 0)
		if err != nil {
			return err
		}
		w.calendar = newCalendar(w.job.every, w.table.Type, w.job.zone, w.run.Now)
		most := int(w.run.Parameters.Int(ParameterMaxPartitions))
		windows := w.calendar.missing(existing, int(w.run.Parameters.Int(ParameterAhead)), w.job.keep, most)
		old := w.calendar.old(existing, w.job.keep)
		if err := w.withinBound(windows, old, most); err != nil {
			return err
		}
		for _, window := range windows {
			step, err := w.prepareStep(ctx, tx, window)
			if err != nil {
				return err
			}
			w.steps = append(w.steps, step)
		}
		for i := range old {
			w.steps = append(w.steps, partitionStep{take: &old[i]})
		}
		return nil
	})
}

// withinBound blocks a run that would do more than it may.
func (w *partitionWork) withinBound(windows []window, old []sql.Partition, most int) error {
	total := len(windows) + len(old)
	if total <= most {
		return nil
	}
	more := ""
	if len(windows) > most {
		more = "at least "
	}
	return jobs.Blocked(fmt.Errorf("%s%d partitions of %s would be created, the first from %s, and %d %s: more than %s, which is %d. "+
		"Is the database's clock right (%s), and are every and keep? If a table was empty for long, make one partition up to now by hand; if all is right, let it through once: SELECT %s.run_now('%s', '{\"%s\": %d}')",
		more, len(windows), w.table.Name, w.firstOf(windows), len(old), w.job.takenTarget(), ParameterMaxPartitions, most,
		w.run.Now.UTC().Format(time.RFC3339), w.run.Schema, w.run.Job, ParameterMaxPartitions, min(total, maxPartitionsMax)))
}

func (w *partitionWork) firstOf(windows []window) string {
	if len(windows) == 0 {
		return "nowhere"
	}
	return w.format(windows[0].lower)
}

// format writes a bound as the table's key has it.
func (w *partitionWork) format(t time.Time) string {
	switch w.table.Type {
	case typeDate:
		return t.UTC().Format(time.DateOnly)
	case typeTimestamp:
		return t.UTC().Format(time.DateTime)
	}
	return t.UTC().Format(time.RFC3339)
}

// formatBound writes a bound that may be none.
func (w *partitionWork) formatBound(bound pgtype.Timestamptz) string {
	switch bound.InfinityModifier {
	case pgtype.NegativeInfinity:
		return "MINVALUE"
	case pgtype.Infinity:
		return "MAXVALUE"
	case pgtype.Finite:
	}
	return w.format(bound.Time)
}

// prepareStep finds the statements for a partition, and what stands in its way.
func (w *partitionWork) prepareStep(ctx context.Context, tx pgx.Tx, window window) (partitionStep, error) {
	step := partitionStep{window: window}
	name := w.job.name.name(w.table.PlainName, wallOf(window.lower, w.calendar.zone))
	var err error
	if step.making, err = w.sql.Making(ctx, tx, w.table, name, window.lower, window.upper); err != nil {
		return step, err
	}
	if step.making.IsTaken {
		step.problem = fmt.Sprintf("%s, for the rows from %s, exists and is not the partition of %s that holds them: rename it, drop it, or attach it with its bounds",
			step.making.Name, w.format(window.lower), w.table.Name)
		return step, nil
	}
	if step.making.Look == "" {
		return step, nil
	}
	var hasRows bool
	if err := tx.QueryRow(ctx, step.making.Look).Scan(&hasRows); err != nil {
		return step, fmt.Errorf("look for rows in %s: %w", w.table.DefaultPartition, err)
	}
	if hasRows {
		step.problem = w.inDefault(window)
	}
	return step, nil
}

// inDefault says that the default partition has rows of a partition to be made.
func (w *partitionWork) inDefault(window window) string {
	return fmt.Sprintf("the default partition %[1]s holds rows from %[2]s to before %[3]s, which no other partition can take then: in one transaction, ALTER TABLE %[4]s DETACH PARTITION %[1]s, "+
		"make the partition, move the rows with %[5]s >= '%[2]s' AND %[5]s < '%[3]s' into it, and attach %[1]s again as DEFAULT",
		w.table.DefaultPartition, w.format(window.lower), w.format(window.upper), w.table.Name, w.table.Key)
}

// beside runs fn in a transaction beside the run's own.
func (w *partitionWork) beside(ctx context.Context, fn func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, w.run.Beginner, fn)
}

// Next makes or takes one partition. One that others keep from its locks is tried again,
// in another transaction.
func (w *partitionWork) Next(ctx context.Context, batch *jobs.Batch) (bool, error) {
	if w.run.DryRun {
		w.recordDryRun(batch)
		return true, nil
	}
	if len(w.steps) > 0 {
		step := w.steps[0]
		err := w.tryStep(ctx, batch.Tx, step)
		switch {
		case err == nil:
			w.record(ctx, batch, step)
		case errors.Is(err, errNotOld):
			w.next()
		case isWait(err) && w.waited < patience:
			w.pause = min(max(2*w.pause, pauseFirst), pauseMax)
			batch.Message = "waiting for a lock on " + w.table.Name
			return false, nil
		default:
			w.giveUp(ctx, batch.Tx, step, err)
		}
	}
	isDone := len(w.steps) == 0 && len(w.failures) == 0
	if isDone {
		w.summarize(batch)
	}
	return isDone, nil
}

// giveUp leaves out a step that could not be done.
func (w *partitionWork) giveUp(ctx context.Context, tx pgx.Tx, step partitionStep, err error) {
	name := step.making.Name
	if step.take != nil {
		name = step.take.Name
	}
	err = fmt.Errorf("partition %s: %w", name, err)
	if isWait(err) {
		holder, lookErr := w.sql.Holder(ctx, tx, w.table.OID)
		if lookErr == nil && holder != nil {
			err = fmt.Errorf("%w: others hold locks that it needs: %v", err, holder)
		}
	}
	w.fail(err, !isWait(err))
}

// isWait says that a step has given way to others.
func isWait(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return false
	}
	return pg.Code == codeLockNotAvailable || pg.Code == codeQueryCanceled || pg.Code == codeDeadlock
}

// tryStep does a step behind a savepoint, to which it goes back, without its locks, if it
// cannot be done.
func (w *partitionWork) tryStep(ctx context.Context, tx pgx.Tx, step partitionStep) error {
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = savepoint.Rollback(ctx) }() // nothing, after its commit
	settings, err := w.sql.BeginPartition(ctx, savepoint, lockWait, leisure)
	if err != nil {
		return err
	}
	if step.take == nil {
		err = w.make(ctx, savepoint, step.making)
	} else {
		err = w.take(ctx, savepoint, *step.take)
	}
	if err != nil {
		return err
	}
	if err := w.sql.EndPartition(ctx, savepoint, settings); err != nil {
		return err
	}
	return savepoint.Commit(ctx)
}

func execute(ctx context.Context, tx pgx.Tx, statements ...string) error {
	for _, statement := range statements {
		if statement == "" {
			continue
		}
		_, err := tx.Exec(ctx, statement)
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Detail+pg.Hint != "" {
			return fmt.Errorf("%s: %w: %s", statement, err, strings.TrimSpace(pg.Detail+" "+pg.Hint))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// make makes a partition. Attaching it takes a lock on the table that lets others read and
// write. But it keeps everybody out of the default partition, which it reads from end to
// end, and writers out of the tables that foreign keys lead to.
func (w *partitionWork) make(ctx context.Context, tx pgx.Tx, making sql.Making) error {
	if err := execute(ctx, tx, making.Make, making.Own); err != nil {
		return err
	}
	if making.Look != "" || w.table.HasReferences {
		if err := w.sql.Hurry(ctx, tx, hurry); err != nil {
			return err
		}
	}
	if err := execute(ctx, tx, making.Attach); err != nil {
		if isCanceled(err) && making.Look != "" {
			return fmt.Errorf("%w: reading all of the default partition %s takes longer than others can wait: give it a CHECK constraint that leaves these rows out, with NOT VALID, and VALIDATE it",
				err, w.table.DefaultPartition)
		}
		return err
	}
	identity, err := w.sql.ReplicaIdentity(ctx, tx, w.table.OID, making.Name)
	if err != nil {
		return err
	}
	return execute(ctx, tx, identity)
}

func isCanceled(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == codeQueryCanceled
}

// errNotOld: a partition is not there any more as it was found.
var errNotOld = errors.New("it is no old partition of the table any more")

// take takes a partition out of its table, which keeps everybody out of that for the
// moment: it is looked at again then.
func (w *partitionWork) take(ctx context.Context, tx pgx.Tx, part sql.Partition) error {
	detachment, err := w.sql.Detachment(ctx, tx, part.OID)
	if err != nil {
		return err
	}
	if detachment == nil {
		return errNotOld
	}
	if err := w.sql.Hurry(ctx, tx, hurry); err != nil {
		return err
	}
	if err := execute(ctx, tx, detachment.LockAll); err != nil {
		return err
	}
	found, err := w.sql.Partitions(ctx, tx, w.table.OID, part.OID)
	if err != nil {
		return err
	}
	if len(w.calendar.old(found, w.job.keep)) == 0 {
		return errNotOld
	}
	return execute(ctx, tx, w.job.taking(detachment)...)
}

// taking lists the statements that take a partition.
func (j *PartitionJob) taking(detachment *sql.Detachment) []string {
	if j.isDrop {
		return []string{detachment.Detach, detachment.Remove}
	}
	return []string{detachment.Detach}
}

// takings lists the statements by which the planned steps take partitions.
func (w *partitionWork) takings(ctx context.Context) ([]string, error) {
	var statements []string
	err := w.beside(ctx, func(tx pgx.Tx) error {
		for _, step := range w.steps {
			if step.take == nil {
				continue
			}
			detachment, err := w.sql.Detachment(ctx, tx, step.take.OID)
			if err != nil {
				return err
			}
			if detachment != nil { // else somebody was faster
				statements = append(statements, w.job.taking(detachment)...)
			}
		}
		return nil
	})
	return statements, err
}

// next goes on to the next step.
func (w *partitionWork) next() { w.steps, w.pause = w.steps[1:], 0 }
