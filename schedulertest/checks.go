package schedulertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// validate is jobs.Validate for a job whose definition may panic.
func validate(job jobs.Job) error { return guarded(func() error { return jobs.Validate(job) }) }

func checkDefinition(t testing.TB, c *contract) {
	t.Helper()
	first := plain(c.job.Definition())
	again := func(when string) {
		t.Helper()
		if now := plain(c.job.Definition()); !reflect.DeepEqual(first, now) {
			t.Errorf("the definition is another %s:\n%+v\n%+v\nIt is asked for often, and must be the same each time: make it once", when, first, now)
		}
	}
	again("at the second call")
	c.inTest(t, func(ctx context.Context, s *session) {
		t.Helper()
		_ = s.run(ctx, t, c.job, c.options.Options) // how it ends is asked elsewhere
	})
	again("after a run")
}

// plain is a definition of which two can be compared: no two functions are equal.
func plain(d jobs.Definition) any {
	needs := make([]string, 0, len(d.Needs))
	for _, need := range d.Needs {
		needs = append(needs, need.Type()+": "+need.Purpose())
	}
	hasBackoff := d.BackoffFunc != nil
	d.BackoffFunc, d.Needs = nil, nil
	d.Parameters = slices.Clone(d.Parameters)
	return struct {
		Definition jobs.Definition
		Needs      []string
		HasBackoff bool
	}{d, needs, hasBackoff}
}

func checkWorks(t testing.TB, c *contract) {
	t.Helper()
	c.inTest(t, func(ctx context.Context, s *session) {
		t.Helper()
		g := c.reach(ctx, t, s)
		changed := g.before.differences(g.after)
		switch {
		case c.options.NoRows:
			if g.result.RowsAffected != 0 || changed != "" {
				t.Errorf("NoRows is set, but the job reports %d rows and changes: %s", g.result.RowsAffected, changed)
			}
			return
		case changed == "" && !c.options.Rewrites:
			t.Error("the job has changed nothing, so nothing is shown: have SetUpFunc make rows for it to work on, name a table of the scheduler's schema in Tables, or set NoRows")
		case g.result.RowsAffected == 0:
			t.Errorf("the job reports 0 rows, but has changed: %s. Give the number in jobs.Result or jobs.Batch", changed)
		}
		if c.isBatchJob() && !c.options.OneBatch && g.result.Batches < 2 {
			t.Error("all is done in one batch, so it cannot be stopped between two: give it more rows, or smaller batches, or set OneBatch")
		}
	})
}

func checkCounts(t testing.TB, c *contract) {
	t.Helper()
	c.inTest(t, func(ctx context.Context, s *session) {
		t.Helper()
		g := c.reach(ctx, t, s)
		if rows := g.before.written(g.after); rows != g.result.RowsAffected {
			t.Errorf("the job reports %d rows, written were %d (%s). If what a foreign key or a trigger changes is not to count, name the tables that do in Tables", g.result.RowsAffected, rows, g.before.writtenTo(g.after))
		}
		if sum := g.result.Targets.Rows(); len(g.result.Targets) > 0 && sum != g.result.RowsAffected {
			t.Errorf("the job reports %d rows, its targets are %d together", g.result.RowsAffected, sum)
		}
		for name, target := range g.result.Targets {
			if target.Rows < 0 || target.Batches < 0 {
				t.Errorf("the target %q counts %d rows in %d batches", name, target.Rows, target.Batches)
			}
		}
	})
}

func checkTwice(t testing.TB, c *contract) {
	t.Helper()
	c.inTest(t, func(ctx context.Context, s *session) {
		t.Helper()
		options := c.options.Options
		c.mustRun(ctx, t, s, options)
		first := s.state(ctx, t, c.options)
		options.RunID++
		second := c.mustRun(ctx, t, s, options)
		if text := first.differences(s.state(ctx, t, c.options)); text != "" {
			t.Errorf("a second run for the same tick changes what the first has made: %s. A run can happen twice: have it find what is done. If these values differ from run to run, name their columns in IgnoreColumns", text)
		}
		if second.RowsAffected != 0 && !c.options.Rewrites {
			t.Errorf("a second run for the same tick reports %d rows, though there is nothing left to do; set Rewrites if it writes the same again", second.RowsAffected)
		}
	})
}

func checkDryRun(t testing.TB, c *contract) {
	t.Helper()
	committed := c.committed(t)
	c.inTest(t, func(ctx context.Context, s *session) {
		t.Helper()
		g := c.reach(ctx, t, s)
		options := c.options.Options
		options.DryRun = true
		s.countFunc = c.countWrites
		dry := s.run(ctx, t, c.job, options)
		if dry.Err != nil {
			t.Errorf("the dry run fails: %v", dry.Err)
		}
		if s.besideWrites > 0 {
			t.Errorf("a dry run has written %d rows, not in its own transaction, which is rolled back, but with run.Beginner: look at run.DryRun", s.besideWrites)
		}
		if dry.RowsAffected != g.result.RowsAffected {
			t.Errorf("a dry run reports %d rows, a run %d: it must report what the run would do", dry.RowsAffected, g.result.RowsAffected)
		}
	})
	c.requireUncommitted(t, committed)
}

// requireUncommitted wants nothing to have changed but what was rolled back.
func (c *contract) requireUncommitted(t testing.TB, before state) {
	t.Helper()
	if text := before.differences(c.committed(t)); text != "" {
		t.Errorf("the job has changed something on another connection, which nobody takes back: %s. Use run.Tx, or batch.Tx", text)
	}
}

// errContract is what the contract makes of a statement that it lets fail.
var errContract = errors.New("the contract test has made this statement fail")

func checkFailure(t testing.TB, c *contract) {
	t.Helper()
	committed := c.committed(t)
	c.inTest(t, func(ctx context.Context, s *session) {
		t.Helper()
		g := c.reach(ctx, t, s)
		if g.statements == 0 {
			return // nothing that could fail
		}
		var failed *Result
		// The last statement, or one before where the second time takes fewer.
		for at := g.statements; failed == nil; at /= 2 {
			before, err := s.begin(ctx, kindKit, false)
			if err != nil {
				t.Fatal(err)
			}
			if failed = c.failAt(ctx, t, s, max(at, 1)); failed == nil {
				if err := before.Rollback(ctx); err != nil || at <= 1 {
					t.Fatalf("the job sends statements at one time and none at another (%v)", err)
				}
			}
		}
		if failed.Err == nil {
			c.requireMadeUp(ctx, t, s, g)
			return
		}
		c.requireUndone(ctx, t, s, g, failed)
		c.requireReached(ctx, t, s, g, failed)
	})
	c.requireUncommitted(t, committed)
}

// requireMadeUp wants a later run to do what was left out because of an error from which
// the job has recovered, in a savepoint of its own.
func (c *contract) requireMadeUp(ctx context.Context, t testing.TB, s *session, g goal) {
	t.Helper()
	options := c.options.Options
	options.RunID++
	c.mustRun(ctx, t, s, options)
	if text := g.after.differences(s.state(ctx, t, c.options)); text != "" {
		t.Errorf("the job reports success though a statement has failed, and a later run does not make up for it: %s. Return the error, or have it tried again", text)
	}
}

// failAt makes a statement of an attempt fail, by its number; nil if there were fewer.
func (c *contract) failAt(ctx context.Context, t testing.TB, s *session, at int) *Result {
	t.Helper()
	n := 0
	s.hook(func(ctx context.Context) error {
		if n++; n != at {
			return nil
		}
		// On the server, too, where the transaction is over by that.
		s.mu.Lock()
		defer s.mu.Unlock()
		return errors.Join(errContract, sql.Contract{}.Fail(ctx, s.outer))
	})
	s.besideWrites, s.countFunc = 0, c.countWrites
	result := s.run(ctx, t, c.job, c.options.Options)
	s.countFunc = nil
	s.hook(nil)
	if n < at {
		return nil
	}
	return result
}

// requireUndone wants nothing to be left of an attempt that did not commit a batch, and of
// others exactly what was committed.
func (c *contract) requireUndone(ctx context.Context, t testing.TB, s *session, g goal, failed *Result) {
	t.Helper()
	if s.besideWrites > 0 {
		t.Errorf("%d rows are left of an attempt that has failed: it has written them not in its own transaction, but with run.Beginner. Use run.Tx, or batch.Tx", s.besideWrites)
	}
	if failed.Batches > 0 {
		return // the end shows it
	}
	if text := g.before.differences(s.state(ctx, t, c.options)); text != "" {
		t.Errorf("something is left of an attempt that has failed: %s. Use run.Tx, or batch.Tx", text)
	}
}

func checkCancel(t testing.TB, c *contract) {
	t.Helper()
	committed := c.committed(t)
	c.inTest(t, func(ctx context.Context, s *session) {
		t.Helper()
		g := c.reach(ctx, t, s)
		stopped := c.cancel(ctx, t, s, g)
		c.requireUndone(ctx, t, s, g, stopped)
		if stopped.Complete {
			c.requireSame(ctx, t, s, g, stopped)
			return
		}
		c.requireReached(ctx, t, s, g, stopped)
	})
	c.requireUncommitted(t, committed)
}

// cancel ends the context of an attempt at a statement of its second batch, if it has two,
// else of its first; at once if it sends none.
func (c *contract) cancel(ctx context.Context, t testing.TB, s *session, g goal) *Result {
	t.Helper()
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	options := c.options.Options
	from, after := s.batch()+1, 0
	if g.result.Batches > 1 {
		from++
	}
	if g.statements == 0 {
		cancel()
	}
	s.hook(func(statementCtx context.Context) error {
		if s.batch() < from {
			return nil
		}
		cancel()
		if statementCtx.Err() == nil {
			after++
		}
		return statementCtx.Err()
	})
	defer s.hook(nil)
	ended := make(chan *Result, 1)
	go func() { ended <- s.run(runCtx, t, c.job, options) }()
	timer := time.NewTimer(c.options.StopWithin)
	defer timer.Stop()
	var result *Result
	select {
	case result = <-ended:
	case <-timer.C:
		// Whatever it does on the connection fails from now on.
		_ = s.outer.Conn().PgConn().Conn().Close()
		t.Fatalf("the job has not returned %v after its context ended: pass the context on, and select on its Done", c.options.StopWithin)
	}
	if after > 0 {
		t.Errorf("the job has sent %d statements with a context that does not end with its own: pass the context on", after)
	}
	if result.Err == nil && after == 0 && g.statements > 0 {
		t.Error("the job reports success, though its context ended before it was done: return the error")
	}
	return result
}

// batch is the number of transactions of the run that were begun.
func (s *session) batch() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs
}

func checkResume(t testing.TB, c *contract) {
	t.Helper()
	if !c.isBatchJob() {
		return // it has one transaction
	}
	c.inTest(t, func(ctx context.Context, s *session) {
		t.Helper()
		g := c.reach(ctx, t, s)
		options := c.options.Options
		options.BatchesMax = 1
		var result *Result
		for attempts := 0; result == nil || !result.Complete; attempts++ {
			if attempts > 10*g.result.Batches+attemptsMin {
				t.Fatalf("the run is not done after %d attempts of one batch each, in one go it took %d batches: does batch.Cursor say where to go on, and Start look at run.Cursor?", attempts, g.result.Batches)
			}
			result = c.mustRun(ctx, t, s, options)
			options.Attempt++
			options.Cursor, options.Done = roundTrip(t, result.Cursor), result.Targets
		}
		c.requireSame(ctx, t, s, g, result)
	})
}

// attemptsMin is how many attempts a run may take at least.
const attemptsMin = 100

// roundTrip is a cursor as the database gives it back: jsonb.
func roundTrip(t testing.TB, cursor json.RawMessage) json.RawMessage {
	t.Helper()
	if cursor == nil {
		return nil
	}
	var value any
	err := json.Unmarshal(cursor, &value)
	if err == nil {
		cursor, err = json.Marshal(value)
	}
	if err != nil {
		t.Fatalf("the cursor %s: %v", cursor, err)
	}
	return cursor
}

func checkLeavesNothing(t testing.TB, c *contract) {
	t.Helper()
	c.inTest(t, func(ctx context.Context, s *session) {
		t.Helper()
		options := c.options.Options
		stacks := goroutinesOf(ctx, c.options.StopWithin, func(ctx context.Context) {
			_ = s.run(ctx, t, c.job, options) // how it ends is asked elsewhere
		})
		if stacks != "" {
			t.Errorf("the job has returned, and goroutines that it started go on: wait for them\n%s", stacks)
		}
		for _, text := range s.misuse() {
			t.Errorf("of the job: %s", text)
		}
		locks, err := sql.Contract{}.SessionLocks(ctx, s.outer)
		if err != nil {
			t.Fatal(err)
		}
		if locks > 0 {
			t.Errorf("the job has left %d advisory locks to its session, which others use after it: take pg_advisory_xact_lock instead", locks)
		}
	})
}

func (s *session) misuse() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.problems)
}

func checkParameters(t testing.TB, c *contract) {
	t.Helper()
	definition := c.job.Definition()
	for _, parameter := range definition.Parameters {
		for _, value := range tried(parameter) {
			given := map[string]any{parameter.Name: value}
			if _, err := jobs.Resolve(definition, c.options.Parameters, given); err != nil {
				continue // refused before anything is done
			}
			c.inTest(t, func(ctx context.Context, s *session) {
				t.Helper()
				before := s.state(ctx, t, c.options)
				options := c.options.Options
				options.DryRun = true
				options.Parameters = merged(c.options.Parameters, given)
				result := c.runFor(ctx, t, s, options, fmt.Sprintf("%s = %v", parameter.Name, value))
				if panicked, ok := errors.AsType[*PanicError](result.Err); ok {
					t.Errorf("with %s = %v the job panics, and nothing refuses that value: give the parameter a Minimum, a Maximum or an Enum, or return an error: %v", parameter.Name, value, panicked)
				}
				if text := before.differences(s.state(ctx, t, c.options)); text != "" {
					t.Errorf("with %s = %v a dry run has changed something: %s", parameter.Name, value, text)
				}
			})
		}
	}
}

// runFor runs an attempt with a value that a job may take for how long it waits, or how
// often it does something: it is given ten times the time in which a job must stop.
func (c *contract) runFor(ctx context.Context, t testing.TB, s *session, options Options, value string) *Result {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	limit := 10 * c.options.StopWithin
	late := time.AfterFunc(limit, func() {
		t.Errorf("with %s the job has not ended after %v, and nothing refuses that value: give the parameter a Minimum, a Maximum or an Enum, or return an error", value, limit)
		cancel()
	})
	defer late.Stop()
	return s.run(ctx, t, c.job, options)
}

func merged(given ...map[string]any) map[string]any {
	all := make(map[string]any)
	for _, m := range given {
		maps.Copy(all, m)
	}
	return all
}

// tried are values of a parameter's type, at its bounds or, where it has none, such as
// somebody may give by mistake.
func tried(p jobs.Parameter) []any {
	var bounds []float64
	for _, bound := range []*float64{p.Minimum, p.Maximum} {
		if bound != nil {
			bounds = append(bounds, *bound)
		}
	}
	values := make([]any, 0, len(bounds)+len(p.Enum)+5)
	switch p.Type {
	case jobs.TypeInteger:
		for _, b := range append(bounds, -1, 0, 1, 1<<53-1, -(1<<53 - 1)) {
			values = append(values, int64(b))
		}
	case jobs.TypeNumber:
		for _, b := range append(bounds, -1, 0, 1, 1e300, -1e300, 1e-300) {
			values = append(values, b)
		}
	case jobs.TypeDuration:
		for _, b := range append(bounds, -1, 0, 1, 290*365*24*3600) {
			values = append(values, time.Duration(b*float64(time.Second)))
		}
	case jobs.TypeBoolean:
		values = append(values, true, false)
	case jobs.TypeString:
		values = append(values, "", "'", `"; --`, "%s", "ÿ\U0001F600")
		for _, text := range p.Enum {
			values = append(values, text)
		}
	case jobs.TypeStrings:
		values = append(values, []string{}, []string{""}, []string{"'", `"; --`, "%s"}, slices.Clone(p.Enum))
	default:
		panic(fmt.Sprintf("a parameter type that the kit does not know: %q", p.Type))
	}
	return values
}
