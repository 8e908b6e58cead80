package integration

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// rollout is a database on which each_second is declared with a rollout.
type rollout struct {
	db  *testdb.DB
	log lines
	job scheduler.JobConfig
}

func newRollout(t *testing.T, dryRunFor time.Duration) *rollout {
	t.Helper()
	return &rollout{
		db:  testdb.New(t, migrated),
		job: scheduler.JobConfig{Name: "each_second", Overlap: "allow", DryRunFor: dryRunFor},
	}
}

// lead starts a replica.
func (r *rollout) lead(t *testing.T) (stop func()) {
	t.Helper()
	return runScheduler(t, scheduler.Config{
		DatabaseURL: r.db.URL, Jobs: []scheduler.JobConfig{r.job}, BootstrapJobs: []string{"each_second"},
		Logger: slog.New(slog.NewTextHandler(&r.log, nil)),
	})
}

// follow replaces a replica with one that declares the job otherwise.
func (r *rollout) follow(t *testing.T, stop func()) (next func()) {
	t.Helper()
	stop()
	r.job.Timeout += time.Minute
	next = r.lead(t)
	waitValue(t, r.db, waitRun, true, "SELECT timeout = $1 FROM scheduler.scheduled_jobs WHERE job_name = 'each_second'", r.job.Timeout)
	return next
}

// told is how often the replicas have said something.
func (r *rollout) told(text string) int { return strings.Count(r.log.String(), text) }

func (r *rollout) waitTold(t *testing.T, text string, times int) {
	t.Helper()
	testdb.WaitFor(t, text, waitRun, func(context.Context) (bool, any, error) {
		told := r.told(text)
		return told == times, told, nil
	})
}

func (r *rollout) dryRuns(t *testing.T, more int64) {
	t.Helper()
	const dry = "SELECT count(*) FROM scheduler.runs WHERE trigger = 'schedule' AND dry_run AND status = 'success'"
	had := scalar[int64](t, r.db, dry)
	waitValue(t, r.db, waitRun, true, "SELECT ("+dry+") >= $1", had+more)
	require.Zero(t, scalar[int64](t, r.db, "SELECT count(*) FROM scheduler.runs WHERE trigger IN ('schedule', 'bootstrap') AND NOT dry_run"))
}

const overText = "a job's rollout is over"

// Scheduled runs of a job in rollout are dry, whoever leads and whatever else is
// declared, until somebody ends it.
func TestRollout(t *testing.T) {
	t.Parallel()
	r := newRollout(t, time.Hour)
	stop := r.lead(t)
	r.dryRuns(t, 2)
	waitValue(t, r.db, waitRun, true, "SELECT dry_run AND status = 'success' FROM scheduler.runs WHERE trigger = 'bootstrap'")
	require.Zero(t, scalar[int64](t, r.db, "SELECT count(*) FROM hits"))
	until := scalar[time.Time](t, r.db, "SELECT dry_run_until FROM scheduler.jobs WHERE job_name = 'each_second'")
	require.True(t, scalar[bool](t, r.db, "SELECT $1 BETWEEN now() + interval '50 minutes' AND now() + interval '1 hour'", until))
	require.True(t, scalar[bool](t, r.db, `SELECT dry_runs >= 3 AND blocked = 0 AND failed = 0 AND target IS NULL AND min_rows = 1 AND max_rows = 1 AND last_rows = 1
		AND last_run > now() - interval '1 minute' FROM scheduler.rollout`))
	// Who asks for a run gets one.
	run := runNow(t, r.db, "each_second")
	waitStatus(t, r.db, run, jobs.StatusSuccess)
	require.Equal(t, int64(1), scalar[int64](t, r.db, "SELECT count(*) FROM hits WHERE run_id = $1", run))

	// Another replica declares the same, and one something else beside it.
	second := r.lead(t)
	stop()
	r.dryRuns(t, 2)
	stop = r.follow(t, second)
	r.dryRuns(t, 2)
	require.Equal(t, until, scalar[time.Time](t, r.db, "SELECT dry_run_until FROM scheduler.jobs WHERE job_name = 'each_second'"))
	// Another duration is one since the beginning.
	r.job.DryRunFor = 2 * time.Hour
	stop = r.follow(t, stop)
	require.Equal(t, until.Add(time.Hour), scalar[time.Time](t, r.db, "SELECT dry_run_until FROM scheduler.jobs WHERE job_name = 'each_second'"))
	require.Zero(t, r.told(overText))

	shell := shellOf(t, r.db)
	require.Regexp(t, `(?m)^each_second +\S+ \S+ UTC \(in 1h59m\) +\d+ +0 +0 +- +1 +1 +1$`, shell.succeed(t, "rollout"))
	require.ElementsMatch(t, columns(t, r.db, "rollout"), keysOf(shell.list(t, "rollout", "each_second")[0]))
	list := shell.succeed(t, "jobs")
	require.Regexp(t, `(?m)^each_second +active, in rollout `, list)
	require.Contains(t, list, "each_second is in rollout: scheduled runs are dry until ")
	require.Regexp(t, `^each_second is not in rollout any more; its next real run is at `, shell.succeed(t, "rollout", "each_second", "--end"))
	require.Contains(t, shell.refuse(t, "rollout", "each_second", "--end"), `job "each_second" is not in rollout`)
	require.Equal(t, "each_second is not in rollout.\n", shell.succeed(t, "rollout", "each_second"))
	refused(t, r.db, "SC003", "SELECT scheduler.end_dry_run('each_second')", "each_second", "not in rollout")
	refused(t, r.db, "SC001", "SELECT scheduler.end_dry_run('nobody')", "nobody")
	r.waitTold(t, overText, 1)
	waitValue(t, r.db, waitRun, true, "SELECT EXISTS (SELECT FROM hits h JOIN scheduler.runs r ON r.id = h.run_id WHERE r.trigger = 'schedule')")
	require.Zero(t, scalar[int64](t, r.db, "SELECT count(*) FROM scheduler.rollout"))

	// What was ended stays ended.
	r.job.DryRunFor = 3 * time.Hour
	stop = r.follow(t, stop)
	require.Zero(t, scalar[int64](t, r.db, "SELECT count(*) FROM scheduler.rollout"))
	require.Equal(t, 1, r.told(overText))

	// Without the setting there is none; with it again, a new one.
	r.job.DryRunFor = 0
	stop = r.follow(t, stop)
	require.True(t, scalar[bool](t, r.db, "SELECT dry_run_from IS NULL AND dry_run_until IS NULL AND dry_run_ended_by IS NULL FROM scheduler.job_definitions WHERE job_name = 'each_second'"))
	r.job.DryRunFor = time.Hour
	stop = r.follow(t, stop)
	require.Equal(t, int64(1), scalar[int64](t, r.db, "SELECT count(*) FROM scheduler.rollout WHERE dry_run_until > $1", until))
	require.Equal(t, 1, r.told(overText))
	r.job.DryRunFor = 0
	r.follow(t, stop)
	r.waitTold(t, overText, 2)
	require.Equal(t, 1, r.told("declared without dry_run_for"))
}

// Ticks are real from the moment on that the rollout's time is over.
func TestRolloutRunsOut(t *testing.T) {
	t.Parallel()
	r := newRollout(t, 4*time.Second)
	r.lead(t)
	r.waitTold(t, overText, 1)
	require.Equal(t, 1, r.told("its time is over"))
	waitValue(t, r.db, waitRun, true, "SELECT count(*) >= 2 FROM hits")
	const decided = `SELECT count(*) FILTER (WHERE r.dry_run) >= 2 AND bool_and(r.dry_run = (r.created_at < d.dry_run_until))
		FROM scheduler.job_runs r JOIN scheduler.job_definitions d USING (job_name) WHERE r.trigger = 'schedule' AND r.job_name = 'each_second'`
	require.True(t, scalar[bool](t, r.db, decided))
	require.True(t, scalar[bool](t, r.db, "SELECT dry_run_until IS NULL FROM scheduler.jobs WHERE job_name = 'each_second'"))
}
