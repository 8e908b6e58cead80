package retention

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

const (
	// lookEvery is how often the engine looks around: who waits for a lock on the
	// table, and who for one of its own. slowEvery is the same for what changes slowly:
	// how far replicas are behind, and whose transaction is old.
	lookEvery = 250 * time.Millisecond
	slowEvery = 2 * time.Second

	waitPollFirst = 10 * time.Millisecond
	waitPollMax   = time.Second

	// lagWaitEvery is how often a run waits for a replica that does not catch up.
	lagWaitEvery = time.Minute

	// pauseMax bounds a pause between two batches.
	pauseMax = time.Second

	// costRising is how many times what they cost before rows must cost before the
	// engine pauses for it; costBatches the batches that it takes to tell.
	costRising  = 3.0
	costBatches = 20

	// oldAfter is the age of a transaction elsewhere from which it is worth saying that
	// it keeps updates from staying on their page.
	oldAfter = 5 * time.Second

	// sayEvery is how often the log hears of the same thing.
	sayEvery = 30 * time.Second
)

// pace slows the engine down when others suffer.
type pace struct {
	looked, lookedSlow time.Time
	mustLook           bool
	// lagWaited is when a wait for a replica began that was in vain.
	lagWaited time.Time
	// heldUp counts the sessions that waited for a lock of the last batch that asked.
	heldUp int
	asked  time.Time
	// isFelt: the last batch has kept others waiting.
	isFelt bool
	// fast and slow are averages of the cost of a row over few and many batches; those
	// of cheap rows are apart.
	fast, slow [2]float64
	batches    [2]int
	pause      time.Duration
	// why says, for people, why the engine is slow; empty if it is not.
	why  string
	said map[string]time.Time
	held histogram
}

// asksForWaiters says whether it is time for a batch to ask who waits for it.
func (p *pace) asksForWaiters() bool {
	if time.Since(p.asked) < lookEvery {
		p.heldUp = 0
		return false
	}
	p.asked = time.Now()
	return true
}

// took tells of a batch, for how long it held its locks, and for how long it meant to.
// Of batches that were much shorter than that nobody can say that they are felt.
func (p *pace) took(b piece, held, target time.Duration) {
	p.held.add(held)
	p.pause, p.why, p.isFelt = 0, "", false
	if held < target/4 {
		return
	}
	class := 0
	if b.isCheap() {
		class = 1
	}
	cost := float64(held) / float64(max(b.rows, 1))
	if p.batches[class]++; p.batches[class] == 1 {
		p.fast[class], p.slow[class] = cost, cost
	}
	p.fast[class] += 0.3 * (cost - p.fast[class])
	p.slow[class] += 0.02 * (cost - p.slow[class])
	if ratio := p.fast[class] / p.slow[class]; p.batches[class] >= costBatches && ratio > costRising {
		p.pause = time.Duration(float64(held) * (ratio - 1))
		p.why = fmt.Sprintf("slower: a row costs %.1f times what it did", ratio)
	}
	if p.heldUp > 0 {
		p.isFelt = true
		p.pause = max(p.pause, held)
		p.why = fmt.Sprintf("slower: %d sessions waited for a lock of the last batch", p.heldUp)
	}
	p.pause = min(p.pause, pauseMax)
}

// waitForOthers returns when the next batch may go on.
func (a *attempt) waitForOthers(ctx context.Context) error {
	now := time.Now()
	if a.pace.isFelt {
		a.sizers.shrink(0.5)
		a.pace.isFelt = false
	}
	if a.pace.pause > 0 {
		a.say(ctx, slog.LevelInfo, "pause", a.pace.why)
		if err := a.sleep(ctx, a.pace.pause); err != nil {
			return err
		}
		a.pace.pause = 0
	}
	if a.pace.mustLook || now.Sub(a.pace.looked) >= lookEvery {
		a.pace.looked, a.pace.mustLook = now, false
		if err := a.waitForConflict(ctx, a.work); err != nil {
			return err
		}
	}
	if now.Sub(a.pace.lookedSlow) < slowEvery {
		return nil
	}
	a.pace.lookedSlow = now
	if err := a.waitForReplicas(ctx); err != nil {
		return err
	}
	return a.lookForOldTransactions(ctx)
}

// waitForConflict waits while somebody holds a lock that keeps writers out of the
// table, or waits for one: whoever wants to VACUUM FULL or alter the table goes first.
func (a *attempt) waitForConflict(ctx context.Context, w *work) error {
	for pause := waitPollFirst; ; pause = min(2*pause, waitPollMax) {
		var conflict *sql.Conflict
		err := a.inTx(ctx, func(tx pgx.Tx) (err error) {
			conflict, err = a.sql.Conflict(ctx, tx, w.part.OID)
			return err
		})
		if err != nil || conflict == nil {
			return err
		}
		if pause > waitPollFirst { // not for one who was only passing
			a.say(ctx, slog.LevelInfo, "conflict", fmt.Sprintf("waiting for %s on %s", conflict, w.part.Name))
		}
		if err := a.sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// waitForReplicas waits while a replica of the database is too far behind. One that does
// not catch up, since it follows with a delay or not at all, is not waited for all the
// time: the run goes on, slowly.
func (a *attempt) waitForReplicas(ctx context.Context) error {
	most := a.run.Parameters.Int(ParameterLagMax)
	begin := time.Now()
	if most == 0 || begin.Sub(a.pace.lagWaited) < lagWaitEvery {
		return nil
	}
	for pause := waitPollFirst; ; pause = min(2*pause, waitPollMax) {
		var lag *sql.Lag
		err := a.inTx(ctx, func(tx pgx.Tx) (err error) {
			lag, err = a.sql.Lag(ctx, tx)
			return err
		})
		if err != nil || lag == nil || lag.Bytes <= most<<20 {
			return err
		}
		left := a.job.config.LagWait - time.Since(begin)
		if left <= 0 {
			a.pace.lagWaited = begin
			a.notef("slow: the replica %q stayed behind by more than %d MB (%s)", lag.Name, most, ParameterLagMax)
			return nil
		}
		a.say(ctx, slog.LevelWarn, "replica", fmt.Sprintf("waiting for replica %q, which is %d MB behind", lag.Name, lag.Bytes>>20))
		if err := a.sleep(ctx, min(pause, left)); err != nil {
			return err
		}
	}
}

// lookForOldTransactions says so if one makes the waves useless: dead versions stay, so
// there is no room.
func (a *attempt) lookForOldTransactions(ctx context.Context) error {
	if a.work.way != wayWaves {
		return nil
	}
	var oldest *sql.Oldest
	err := a.inTx(ctx, func(tx pgx.Tx) (err error) {
		oldest, err = a.sql.Oldest(ctx, tx, oldAfter)
		return err
	})
	if err != nil || oldest == nil {
		return err
	}
	since := ""
	if !math.IsInf(oldest.Seconds, 1) {
		since = fmt.Sprintf(", open for %v,", (time.Duration(oldest.Seconds) * time.Second).Round(time.Second))
	}
	a.notef("slow: %s kept dead versions of rows, and with them the room for new ones on their pages", oldest.What)
	a.say(ctx, slog.LevelWarn, "oldest", fmt.Sprintf("slow: %s%s keeps dead versions of rows, so that updates find no room on their pages and touch every index: end it", oldest.What, since))
	return nil
}

// say tells people, in the ledger and, not too often of the same kind of thing, in the log.
func (a *attempt) say(ctx context.Context, level slog.Level, kind, text string) {
	a.run.Progress(ctx, jobs.Progress{Done: a.rows, Total: a.total(), Message: text})
	if last, ok := a.pace.said[kind]; ok && time.Since(last) < sayEvery {
		return
	}
	if a.pace.said == nil {
		a.pace.said = make(map[string]time.Time)
	}
	a.pace.said[kind] = time.Now()
	a.run.Logger.Log(ctx, level, "the cleanup waits, or is slow", slog.String("target", a.cursor.Target()), slog.String("why", text))
}

func (a *attempt) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// histogram counts durations in classes, each a tenth wider than the one before.
type histogram struct {
	counts [160]int
	n      int
	max    time.Duration
}

func (h *histogram) add(d time.Duration) {
	class := int(math.Log(float64(max(d, time.Microsecond))/float64(time.Microsecond)) / math.Log(1.1))
	h.counts[min(class, len(h.counts)-1)]++
	h.n++
	h.max = max(h.max, d)
}

// quantile is an upper bound of the q-th quantile, a tenth above it at most.
func (h *histogram) quantile(q float64) time.Duration {
	rank := int(math.Ceil(q * float64(h.n)))
	for class, count := range h.counts {
		if rank -= count; rank <= 0 && class < len(h.counts)-1 {
			return min(time.Duration(math.Pow(1.1, float64(class+1)))*time.Microsecond, h.max)
		}
	}
	return h.max
}

// logUnit says how a unit went.
func (a *attempt) logUnit(u unit) {
	if a.pace.held.n == 0 {
		return
	}
	h := &a.pace.held
	a.run.Logger.Info("cleaned", slog.String("target", u.Target), slog.Int64("candidates", u.Total), slog.Int64("left", u.Left),
		slog.Int("batches", h.n), slog.Duration("held_p50", h.quantile(0.5).Round(time.Microsecond)),
		slog.Duration("held_p99", h.quantile(0.99).Round(time.Microsecond)), slog.Duration("held_max", h.max.Round(time.Microsecond)))
	a.pace.held = histogram{}
}
