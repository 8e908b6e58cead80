package integration

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// scheduled is a registry of jobs that do nothing: names, each with its schedule.
func scheduled(t *testing.T, jobsAndSchedules ...string) *jobs.Registry {
	t.Helper()
	registry := &jobs.Registry{}
	for pair := range slices.Chunk(jobsAndSchedules, 2) {
		require.NoError(t, registry.Add(jobs.Func(jobs.Definition{Name: pair[0], Schedule: pair[1]}, func(context.Context, *jobs.Run) (jobs.Result, error) {
			return jobs.Result{}, nil
		})))
	}
	return registry
}

func clientOf(t *testing.T, url string) *scheduler.Client {
	t.Helper()
	client, err := scheduler.NewClient(t.Context(), url, "")
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

func namesOf(list []scheduler.Job) []string {
	names := make([]string, 0, len(list))
	for _, job := range list {
		names = append(names, job.JobName)
	}
	return names
}

func TestRepositoryJobs(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	registry := scheduled(t, "alpha", "0 3 * * *", "beta", "0 4 * * *", "gamma", "0 5 * * *")
	config := scheduler.Config{DatabaseURL: db.URL, Registry: registry, Jobs: []scheduler.JobConfig{{Name: "gamma", Enabled: new(bool)}}}
	stop := runScheduler(t, config)
	waitValue(t, db, waitRun, 3, "SELECT count(*)::int FROM scheduler.jobs")
	repository := newRepository(t, db.Pool(t)).Jobs
	enabled := func() []string {
		list, err := repository.ListEnabled(t.Context())
		require.NoError(t, err)
		return namesOf(list)
	}
	id := func(name string) int64 {
		return scalar[int64](t, db, "SELECT id FROM scheduler.scheduled_jobs WHERE job_name = $1", name)
	}
	require.Equal(t, []string{"alpha", "beta"}, enabled(), "gamma is declared disabled")

	// History, to be kept.
	client := clientOf(t, db.URL)
	run, err := client.RunNow(t.Context(), "alpha", nil, nil)
	require.NoError(t, err)
	_, err = client.Wait(t.Context(), run, nil)
	require.NoError(t, err)
	was := id("alpha")

	job, err := repository.Save(t.Context(), "alpha", scheduler.JobSettings{Schedule: "30 6 * * *", Disabled: true})
	require.NoError(t, err)
	require.Equal(t, "30 6 * * *", job.Schedule)
	require.Equal(t, "0 3 * * *", job.DeclaredSchedule)
	require.Equal(t, "paused", job.State)
	require.Equal(t, []string{"beta"}, enabled())
	require.Equal(t, was, id("alpha"))
	require.EqualValues(t, 1, job.RunCount)
	runs, err := repository.RecentRuns(t.Context(), "alpha", 0)
	require.NoError(t, err)
	require.Len(t, runs, 1)
	require.Equal(t, run, runs[0].ID)

	// A deploy leaves it: the declaration of the code is not what an operator has set.
	stop()
	stop = runScheduler(t, scheduler.Config{DatabaseURL: db.URL, Registry: scheduled(t, "alpha", "0 2 * * *", "beta", "0 4 * * *")})
	waitValue(t, db, waitRun, "0 2 * * *", "SELECT schedule FROM scheduler.job_definitions WHERE job_name = 'alpha'")
	job, err = repository.Find(t.Context(), "alpha")
	require.NoError(t, err)
	require.Equal(t, "30 6 * * *", job.Schedule)
	require.Equal(t, "paused", job.State)

	// Saving what is declared takes the override back.
	job, err = repository.Save(t.Context(), "alpha", scheduler.JobSettings{Schedule: "0 2 * * *"})
	require.NoError(t, err)
	require.Nil(t, job.ScheduleOverride)
	require.Equal(t, "active", job.State)
	require.NoError(t, repository.Disable(t.Context(), "alpha", "because"))
	require.NoError(t, repository.Disable(t.Context(), "alpha", "another"))
	job, err = repository.Find(t.Context(), "alpha")
	require.NoError(t, err)
	require.Equal(t, "because", *job.PausedReason)
	require.NoError(t, repository.Enable(t.Context(), "alpha"))
	require.NoError(t, repository.Enable(t.Context(), "alpha"))
	require.Equal(t, []string{"alpha", "beta"}, enabled())
	stop()
}

// A job may be saved before any program has it: nothing is enqueued, and the deployment
// that brings it finds what was set.
func TestRepositorySavesAJobThatNobodyHas(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	stop := runScheduler(t, scheduler.Config{DatabaseURL: db.URL, Registry: scheduled(t, "alpha", "0 3 * * *")})
	waitValue(t, db, waitRun, 1, "SELECT count(*)::int FROM scheduler.jobs")
	repository := newRepository(t, db.Pool(t)).Jobs
	job, err := repository.Save(t.Context(), "soon", scheduler.JobSettings{Schedule: "* * * * * *"})
	require.NoError(t, err)
	require.Equal(t, "unregistered", job.State)
	again, err := repository.Save(t.Context(), "soon", scheduler.JobSettings{Schedule: "@every 1h", Disabled: true})
	require.NoError(t, err)
	require.Equal(t, "@every 1h", again.Schedule)
	_, err = clientOf(t, db.URL).RunNow(t.Context(), "soon", nil, nil)
	require.ErrorIs(t, err, scheduler.ErrJobNotRunnable)
	id := scalar[int64](t, db, "SELECT id FROM scheduler.scheduled_jobs WHERE job_name = 'soon'")
	stop()
	require.Zero(t, scalar[int](t, db, "SELECT count(*)::int FROM scheduler.job_runs WHERE job_name = 'soon'"))

	runScheduler(t, scheduler.Config{DatabaseURL: db.URL, Registry: scheduled(t, "alpha", "0 3 * * *", "soon", "0 5 * * *")})
	waitValue(t, db, waitRun, "0 5 * * *", "SELECT schedule FROM scheduler.job_definitions WHERE job_name = 'soon'")
	job, err = repository.Find(t.Context(), "soon")
	require.NoError(t, err)
	require.Equal(t, "paused", job.State)
	require.Equal(t, "@every 1h", job.Schedule)
	require.Equal(t, id, scalar[int64](t, db, "SELECT id FROM scheduler.scheduled_jobs WHERE job_name = 'soon'"))
	require.NoError(t, repository.Enable(t.Context(), "soon"))
	waitValue(t, db, waitRun, true, "SELECT next_run IS NOT NULL FROM scheduler.scheduled_jobs WHERE job_name = 'soon'")
}

func TestRepositoryJobsRefuse(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	runScheduler(t, scheduler.Config{
		DatabaseURL: db.URL, Registry: scheduled(t, "alpha", "0 3 * * *", "off", "0 3 * * *"),
		Jobs: []scheduler.JobConfig{{Name: "off", Enabled: new(bool)}},
	})
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs WHERE next_run IS NOT NULL)") // the leader has planned, and does no more
	repository := newRepository(t, db.Pool(t)).Jobs
	before := scalar[string](t, db, "SELECT string_agg(d::text, ';' ORDER BY id) FROM scheduler.job_definitions d")
	for _, name := range []string{"", "nobody", "'; --"} {
		_, err := repository.Find(t.Context(), name)
		require.ErrorIs(t, err, jobs.ErrUnknownJob)
		require.ErrorIs(t, repository.Enable(t.Context(), name), jobs.ErrUnknownJob)
		require.ErrorIs(t, repository.Disable(t.Context(), name, "x"), jobs.ErrUnknownJob)
	}
	_, err := repository.RecentRuns(t.Context(), "nobody", 1)
	require.ErrorIs(t, err, jobs.ErrUnknownJob)
	for _, name := range []string{"", "Upper", "a-b", "1a", strings.Repeat("a", 101), "nul\x00"} {
		_, err := repository.Save(t.Context(), name, scheduler.JobSettings{Schedule: "0 3 * * *"})
		require.ErrorIs(t, err, scheduler.ErrBadArgument, name)
	}
	for _, schedule := range []string{"", "nonsense", "0 3 31 2 *"} {
		_, err := repository.Save(t.Context(), "alpha", scheduler.JobSettings{Schedule: schedule})
		require.ErrorIs(t, err, jobs.ErrInvalidSchedule, schedule)
		_, err = repository.Save(t.Context(), "fresh", scheduler.JobSettings{Schedule: schedule})
		require.ErrorIs(t, err, jobs.ErrInvalidSchedule, schedule)
	}
	// All or nothing: the schedule does not stay when the job cannot be enabled.
	_, err = repository.Save(t.Context(), "off", scheduler.JobSettings{Schedule: "0 7 * * *"})
	require.ErrorIs(t, err, scheduler.ErrJobNotRunnable)
	require.ErrorIs(t, repository.Enable(t.Context(), "off"), scheduler.ErrJobNotRunnable)
	require.Equal(t, before, scalar[string](t, db, "SELECT string_agg(d::text, ';' ORDER BY id) FROM scheduler.job_definitions d"))

	// An operator of the database may do all but bring new jobs.
	client := clientOf(t, testdb.RoleURL(db.URL, scheduler.RolesDefault().Operator))
	_, err = client.Repository().Jobs.Save(t.Context(), "alpha", scheduler.JobSettings{Schedule: "0 7 * * *"})
	require.NoError(t, err)
	_, err = client.Repository().Jobs.Save(t.Context(), "fresh", scheduler.JobSettings{Schedule: "0 7 * * *"})
	require.ErrorIs(t, err, scheduler.ErrPrivilege)
}
