package integration

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cron"
)

// anything does things at random to the job each_second and to the fleet, and keeps
// account of what was in force when.
type anything struct {
	db      *testdb.DB
	random  *rand.Rand
	stop    func()
	script  []string
	history []inForce
	now     inForce
	// paused is set while the whole scheduler is.
	paused bool
}

// inForce is what decides about the ticks after a moment.
type inForce struct {
	at time.Time
	// text is the last schedule that can be read.
	text string
	// disabled jobs have no ticks.
	disabled bool
}

// Pauses, changes of the schedule, good and bad, with and without a leader, that
// does or does not know the job, in any order: each second is accounted for exactly
// once if the schedule of that time has a tick then, and not at all if it has none.
func TestAnythingInAnyOrder(t *testing.T) {
	t.Parallel()
	for range 3 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			a := &anything{db: testdb.New(t, migrated), random: rand.New(rand.NewPCG(seed, 0)), now: inForce{text: "* * * * * *"}}
			a.lead(t, testRegistry())
			waitValue(t, a.db, waitRun, true, "SELECT EXISTS (SELECT FROM hits)")
			begin := scalar[time.Time](t, a.db, "SELECT max(tick) FROM hits")
			a.history = []inForce{{at: begin.Add(-time.Second), text: a.now.text}}
			for range 25 {
				a.step(t)
				a.wait(t)
			}
			a.check(t, begin)
		})
	}
}

func (a *anything) lead(t *testing.T, registry *jobs.Registry) {
	t.Helper()
	a.stop = runScheduler(t, scheduler.Config{DatabaseURL: a.db.URL, Registry: registry, Logger: discard(), BootstrapJobs: []string{}})
}

// wait lets some of the job's ticks come.
func (a *anything) wait(t *testing.T) {
	t.Helper()
	until := scalar[time.Time](t, a.db, "SELECT clock_timestamp() + $1::interval", time.Duration(a.random.IntN(1300))*time.Millisecond)
	waitValue(t, a.db, waitRun, true, "SELECT clock_timestamp() >= $1", until)
}

func (a *anything) steer(t *testing.T, statement string, args ...any) {
	t.Helper()
	exec1(t, a.db, statement, args...)
	a.note(t, fmt.Sprint(statement, args))
}

// note writes down what is in force from now on.
func (a *anything) note(t *testing.T, what string) {
	t.Helper()
	a.now.at = scalar[time.Time](t, a.db, "SELECT updated_at FROM scheduler.scheduled_jobs WHERE job_name = 'each_second'")
	a.history = append(a.history, a.now)
	a.script = append(a.script, fmt.Sprintf("%s  %s", a.now.at.Format("05.000000"), what))
}

func (a *anything) step(t *testing.T) {
	t.Helper()
	switch a.random.IntN(10) {
	case 0, 1, 2:
		a.reschedule(t)
	case 3:
		a.steer(t, "SELECT scheduler.pause_job('each_second', 'x')")
	case 4, 5:
		if !a.paused {
			a.steer(t, "SELECT scheduler.resume_job('each_second')")
		}
	case 6:
		a.paused = !a.paused
		if a.paused {
			a.steer(t, "SELECT scheduler.pause_scheduler('x')")
		} else {
			a.steer(t, "SELECT scheduler.resume_scheduler()")
		}
	case 7:
		a.now.disabled = !a.now.disabled
		a.steer(t, "UPDATE scheduler.scheduled_jobs SET enabled = $1 WHERE job_name = 'each_second'", !a.now.disabled)
	case 8:
		a.stop()
		a.note(t, "nobody leads")
		for range a.random.IntN(3) {
			a.wait(t)
			a.reschedule(t)
		}
		a.wait(t)
		a.lead(t, testRegistry())
		a.note(t, "somebody leads")
	case 9:
		a.deployWithout(t)
	}
}

func (a *anything) reschedule(t *testing.T) {
	t.Helper()
	texts := []string{"* * * * * *", "*/2 * * * * *", "1-59/2 * * * * *", "@every 3s", "nonsense", "0 0 31 2 *"}
	text := texts[a.random.IntN(len(texts))]
	if _, err := cron.Parse(text, cron.Options{}); err == nil {
		a.now.text = text
	}
	a.steer(t, "UPDATE scheduler.scheduled_jobs SET schedule_override = $1 WHERE job_name = 'each_second'", text)
}

// deployWithout puts a version in place that does not have the job, and takes that
// back.
func (a *anything) deployWithout(t *testing.T) {
	t.Helper()
	a.stop()
	without := &jobs.Registry{}
	if err := without.Add(sweep{}); err != nil {
		t.Fatal(err)
	}
	a.lead(t, without)
	waitValue(t, a.db, waitRun, false, "SELECT registered FROM scheduler.scheduled_jobs WHERE job_name = 'each_second'")
	a.note(t, "somebody leads who does not know the job")
	a.wait(t)
	a.stop()
	a.lead(t, testRegistry())
	waitValue(t, a.db, waitRun, true, "SELECT registered FROM scheduler.scheduled_jobs WHERE job_name = 'each_second'")
	// A deployment that declares a job anew is in force.
	a.now.disabled = false
	a.note(t, "somebody leads who does")
}

func (a *anything) check(t *testing.T, begin time.Time) {
	t.Helper()
	// What a pause has passed is accounted for when it ends.
	if a.paused {
		a.steer(t, "SELECT scheduler.resume_scheduler()")
	}
	a.steer(t, "SELECT scheduler.resume_job('each_second')")
	a.steer(t, "SELECT scheduler.pause_job('each_second', 'the end')")
	end := a.now.at
	waitValue(t, a.db, waitRun, int64(0), "SELECT count(*) FROM scheduler.undecided_spans")
	waitValue(t, a.db, waitRun, int64(0), "SELECT count(*) FROM scheduler.runs WHERE job_name = 'each_second' AND status IN ('waiting', 'pending', 'running', 'retrying')")
	// What was due is covered by a row; what was not, is no row's first or last; and
	// there are as many ticks in the rows as were due.
	due, failed := int64(0), false
	for second := begin; second.Before(end); second = second.Add(time.Second) {
		var in inForce
		for _, h := range a.history {
			if h.at.Before(second) {
				in = h
			}
		}
		schedule, err := cron.Parse(in.text, cron.Options{})
		if err != nil {
			t.Fatal(err)
		}
		const rows = "SELECT count(*) FROM scheduler.job_runs WHERE job_name = 'each_second' AND trigger = 'schedule' AND "
		isDue := !in.disabled && schedule.Next(second.Add(-time.Second)).Equal(second)
		if isDue {
			due++
		}
		covered := scalar[int64](t, a.db, rows+"$1 BETWEEN tick AND coalesce(last_missed_tick, tick)", second)
		named := scalar[int64](t, a.db, rows+"(tick = $1 OR last_missed_tick = $1)", second)
		if isDue && covered == 0 || !isDue && named > 0 || named > 1 {
			failed = true
			t.Errorf("%s, under %+v: due %t, covered by %d rows, named by %d", second.Format("05"), in, isDue, covered, named)
		}
	}
	if n := scalar[int64](t, a.db, "SELECT sum(coalesce(missed_count, 1))::bigint FROM scheduler.job_runs WHERE job_name = 'each_second' AND trigger = 'schedule' AND tick >= $1", begin); n != due {
		failed = true
		t.Errorf("the ledger accounts for %d ticks, %d were due", n, due)
	}
	if n := scalar[int64](t, a.db, hitsDoubled); n != 0 {
		t.Errorf("%d ticks ran twice", n)
	}
	if failed {
		t.Logf("what was done:\n%s", strings.Join(a.script, "\n"))
		t.Logf("the ledger:\n%s", scalar[string](t, a.db, `SELECT string_agg(concat_ws(' ', to_char(tick, 'SS'), to_char(last_missed_tick, 'SS'), missed_count, status, reason), E'\n' ORDER BY tick)
			FROM scheduler.job_runs WHERE job_name = 'each_second'`))
	}
	t.Logf("%d ticks were due, in %d changes", due, len(a.history))
}
