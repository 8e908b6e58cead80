package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// faultLimit bounds one fault, whatever it waits for.
const faultLimit = 4 * time.Minute

// step is one fault, while it happens.
type step struct {
	*world

	mu       sync.Mutex // the parts of a mixture share the source
	rng      *rand.Rand
	takeOver *takeOver // nil: it is not of interest
	// remark tells what the source chose.
	remark func(text string)
}

// between is a duration from the seed.
func (s *step) between(low, high time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return low + time.Duration(s.rng.Int64N(int64(high-low)+1))
}

// number is a number below n from the seed.
func (s *step) number(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(n)
}

// struck says that the fault has happened: right after it.
func (s *step) struck(ctx context.Context) {
	if s.takeOver != nil {
		s.takeOver.struck(ctx)
	}
}

// takenOver waits until somebody has acted as leader again, where that is of
// interest.
func (s *step) takenOver(ctx context.Context) error {
	if s.takeOver == nil {
		return nil
	}
	_, _, err := s.takeOver.result(ctx)
	return err
}

// possible says that nobody could lead until now.
func (s *step) possible() {
	if s.takeOver != nil {
		s.takeOver.possible(time.Now())
	}
}

// remarks may come from several parts of a mixture.
type remarks struct {
	mu    sync.Mutex
	texts []string
}

func (r *remarks) add(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.texts = append(r.texts, text)
}

func (r *remarks) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.texts) == 0 {
		return ""
	}
	return "(" + strings.Join(r.texts, "; ") + ")"
}

// run injects faults until the time or the plan is over, and says whether
// everything was as it should be. The error is the program's own.
func run(ctx context.Context, c config) (passed bool, err error) {
	chosen, err := c.chosen()
	if err != nil {
		return false, err
	}
	fmt.Fprintf(c.out, "seed %d: %d replicas, %d faults to choose from\n", c.seed, c.replicas, len(chosen))
	w, err := newWorld(ctx, c)
	if err != nil {
		if gone(ctx, err) {
			return true, nil
		}
		return false, err
	}
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	if err := w.ready(ctx); err != nil {
		if gone(ctx, err) {
			return true, nil
		}
		return false, err
	}
	if w.check, err = newChecker(ctx, w.admin); err != nil {
		return false, err
	}

	outcomes := w.inject(ctx, &plan{faults: chosen, seed: c.seed, short: c.short})
	fmt.Fprintf(c.out, "\nseed %d\n", c.seed)
	report(c.out, outcomes)
	looks, most := w.watch.seen()
	fmt.Fprintf(c.out, "the leader's lock was looked at %d times: at most %d held it at once\n", looks, most)
	fmt.Fprintf(c.out, "the application wrote %d times (failed: %d) and read %d times; the longest write took %v\n",
		w.load.writes.Load(), w.load.failed.Load(), w.load.reads.Load(), w.load.longest.Round(time.Millisecond))
	w.tellGivenUp(ctx)
	return !slices.ContainsFunc(outcomes, outcome.failed), nil
}

// ready waits until everything is in order for the first time.
func (w *world) ready(ctx context.Context) error {
	found, err := w.settle(ctx)
	if err == nil && len(found) > 0 {
		err = fmt.Errorf("before any fault: %v; the logs:\n%v", found, w.logs(ctx))
	}
	return err
}

// inject makes the faults of the plan, one after the other.
func (w *world) inject(ctx context.Context, p *plan) []outcome {
	var outcomes []outcome
	for begin := time.Now(); time.Since(begin) < w.config.duration; {
		f, rng, ok := p.next()
		if !ok {
			break
		}
		fmt.Fprintf(w.config.out, "%s %3d %-28s ", time.Now().Format(time.TimeOnly), p.steps, f.name)
		o := w.one(ctx, f, rng)
		if ctx.Err() != nil && !o.failed() {
			fmt.Fprintln(w.config.out, "interrupted")
			break
		}
		outcomes = append(outcomes, o)
		w.tell(ctx, o)
		if ctx.Err() != nil || w.config.failFast && o.failed() {
			break
		}
	}
	return outcomes
}

// one makes one fault, waits for order, and checks.
func (w *world) one(ctx context.Context, f fault, rng *rand.Rand) outcome {
	o := outcome{fault: f.name}
	begin := time.Now()
	w.begin()
	w.load.takeLongest()
	remarks := &remarks{}
	s := &step{world: w, rng: rng, remark: remarks.add}
	if f.leads {
		s.takeOver = newTakeOver(w)
	}
	o.ledBefore = w.led(ctx)
	limited, cancel := context.WithTimeout(ctx, faultLimit)
	defer cancel()
	err := f.inject(limited, s)
	if s.takeOver != nil {
		var measureErr error
		o.takeOver, o.measured, measureErr = s.takeOver.result(ctx)
		err = errors.Join(err, measureErr)
	}
	unsettled, settleErr := w.settle(ctx)
	o.violations = append(w.check.unseen(unsettled), w.deserters()...)
	err = errors.Join(err, settleErr)
	if ctx.Err() == nil {
		news, since, checkErr := w.check.run(ctx, w.admin)
		o.violations, o.stats = append(o.violations, news...), since
		err = errors.Join(err, checkErr)
	}
	o.ledAfter = w.led(ctx)
	o.violations = append(o.violations, w.check.unseen(w.watch.take())...)
	o.took, o.longest, o.remarks = time.Since(begin), w.load.takeLongest(), remarks.String()
	if !gone(ctx, err) {
		o.err = err
	}
	return o
}

// tell prints what a fault did; if something is wrong, with all that may help.
func (w *world) tell(ctx context.Context, o outcome) {
	out := w.config.out
	measured := "-"
	if o.measured {
		measured = milliseconds(o.takeOver)
	}
	fmt.Fprintf(out, "%4.0f s, take-over %8s, missed %d, skipped %d, longest write %v %s\n",
		o.took.Seconds(), measured, o.stats.Missed, o.stats.Skipped, o.longest.Round(time.Millisecond), o.remarks)
	if w.config.verbose {
		w.tellMore(ctx, o)
	}
	if !o.failed() {
		return
	}
	fmt.Fprintf(out, "WRONG after %s (seed %d):\n", o.fault, w.config.seed)
	if o.err != nil {
		fmt.Fprintf(out, "  the fault itself: %v\n", o.err)
	}
	for i, v := range o.violations {
		if i == 20 {
			fmt.Fprintf(out, "  and %d more\n", len(o.violations)-i)
			break
		}
		fmt.Fprintf(out, "  %v\n", v)
	}
	if !w.config.verbose {
		w.tellLogs(ctx)
	}
}

func (w *world) tellLogs(ctx context.Context) {
	_ = tidy(ctx, func(ctx context.Context) error { // what cannot be read says so itself
		logs := w.logs(ctx)
		for _, id := range slices.Sorted(maps.Keys(logs)) {
			fmt.Fprintf(w.config.out, "  the end of the log of %s:\n%s\n", id, indent(logs[id]))
		}
		return nil
	})
}

// tellMore prints who led, what was missed, and the logs.
func (w *world) tellMore(ctx context.Context, o outcome) {
	fmt.Fprintf(w.config.out, "  leader: %s, then %s; ended: %s; runs: %d succeeded, %d given up\n",
		o.ledBefore, o.ledAfter, w.endings(), o.stats.Success, o.stats.Failed)
	_ = tidy(ctx, func(ctx context.Context) error {
		texts, err := askAll[string](ctx, w.admin, fmt.Sprintf(`
			SELECT format('  missed: %%s ticks from %%s to %%s, %%s; decided at %%s in term %%s', missed_count, tick, last_missed_tick, reason, created_at, leader_epoch)
			FROM scheduler.job_runs WHERE job_name = 'each_second' AND status = 'missed' AND created_at > clock_timestamp() - interval '%d milliseconds' ORDER BY id`,
			o.took.Milliseconds()))
		if err != nil {
			texts = []string{err.Error()}
		}
		for _, text := range texts {
			fmt.Fprintln(w.config.out, text)
		}
		return nil
	})
	w.tellLogs(ctx)
}

// led is who led last, for the reader.
func (w *world) led(ctx context.Context) string {
	id, err := ask[string](ctx, w.admin, "SELECT format('%s (term %s)', replica_id, epoch) FROM scheduler.leadership")
	if err != nil {
		return "unknown"
	}
	return id
}

// tellGivenUp lists runs that failed after their last attempt. They broke no promise:
// the ledger says so.
func (w *world) tellGivenUp(ctx context.Context) {
	_ = tidy(ctx, func(ctx context.Context) error {
		texts, err := askAll[string](ctx, w.admin, `
			SELECT format('  run %s of %s, tick %s: attempt %s, %s', id, job_name, tick, attempt, split_part(error, E'\n', 1))
			FROM scheduler.job_runs WHERE status = 'failed' ORDER BY id LIMIT 20`)
		if err != nil {
			texts = []string{err.Error()}
		}
		if len(texts) > 0 {
			fmt.Fprintf(w.config.out, "runs that were given up:\n%s\n", strings.Join(texts, "\n"))
		}
		return nil
	})
}
