package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
)

// mark makes sure that what follows happens without a reload.
func (p *tab) mark() (unmarked func()) {
	p.Helper()
	look[any](p, "window.marked = true; 0")
	return func() {
		p.Helper()
		require.True(p, look[bool](p, "window.marked === true"), "the page was loaded again")
	}
}

func TestPageIsLive(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	shell := shellOf(t, db)
	_, address := shell.serveHTTP(t, db, "--config=yearly.yaml", "--bootstrap-jobs=")
	p := openTab(t, address)
	p.open("/")
	unmarked := p.mark()
	require.True(t, look[bool](p, `document.getElementById("working").hidden`))

	// A run begins, goes on and ends.
	release := hold(t, db)
	id := scalar[int64](t, db, "SELECT scheduler.run_now('cleanup_inactive_sessions')")
	p.reads("#working", fmt.Sprintf(`running\s+Run %d of cleanup_inactive_sessions`, id))
	p.reads("#job-cleanup_inactive_sessions", `running`)
	p.photograph("running", true)
	for _, done := range []int{250, 500} {
		exec1(t, db, `UPDATE scheduler.job_runs SET details = details || jsonb_build_object('progress', jsonb_build_object('done', $2::int, 'total', 1000, 'rows_per_second', 125.4, 'seconds_left', 6)) WHERE id = $1`, id, done)
		p.reads("#working", fmt.Sprintf(`%d of 1.000 rows \(%d %%\), 125 rows/s, about 6\.0 s left`, done, done/10))
		require.Equal(t, done, look[int](p, `document.querySelector("#working progress").value`))
	}
	second := openTab(t, address)
	second.open(fmt.Sprintf("/runs/%d", id))
	secondUnmarked := second.mark()
	second.reads("#run-facts", `running`)

	// What somebody does meanwhile is not taken away: a reason that is being written, the
	// focus on a link, an unfolded part, what was typed into the filter.
	second.fill("#cancel-reason", "perhaps")
	p.fill("#filter", "cleanup")
	look[any](p, `document.querySelector("#job-cleanup_inactive_sessions a").focus(); 0`)
	release()
	p.reads("#job-cleanup_inactive_sessions", `success[\s\S]*600 rows`)
	see(p, true, `document.getElementById("working").hidden`)
	see(p, "last 1 run: 1 success", `document.querySelector("#job-cleanup_inactive_sessions .strip").getAttribute("aria-label")`)
	require.Equal(t, "/jobs/cleanup_inactive_sessions", look[string](p, `document.activeElement.getAttribute("href")`))
	require.Equal(t, "cleanup", look[string](p, `document.getElementById("filter").value`))
	second.reads("#run-facts", `success[\s\S]*600`)
	second.reads("#run-rest", `sessions\s+600[\s\S]*ended: success after`)
	require.Equal(t, "perhaps", look[string](second, `document.getElementById("cancel-reason").value`))
	look[any](second, `document.activeElement.blur(); 0`)
	see(second, false, `!!document.getElementById("cancel-reason")`)
	secondUnmarked()

	// A job's own page, with what is unfolded there.
	second.open("/jobs/cleanup_empty_contexts")
	secondUnmarked = second.mark()
	second.fillIn("run", "#p-retention_hours", "7")
	shell.succeed(t, "run", "cleanup_empty_contexts", "--wait")
	second.reads("#job-runs", `success[\s\S]*410`)
	second.reads("#job-facts", `success`)
	require.Equal(t, "7", look[string](second, `document.getElementById("p-retention_hours").value`))
	shell.succeed(t, "pause", "cleanup_empty_contexts", "--reason", "a backup")
	second.reads("#job-facts", `Paused since .* by postgres: a backup`)
	p.reads("#job-cleanup_empty_contexts", `paused`)
	secondUnmarked()

	// A job that is new.
	exec1(t, db, `INSERT INTO scheduler.job_definitions (job_name, schedule, timeout, max_attempts, registered, paused_at, paused_by) VALUES ('cleanup_fresh', '@yearly', '1 hour', 1, false, now(), 'x')`)
	see(p, "cleanup_fresh", `document.querySelector("#job-cleanup_empty_contexts + tr").dataset.name`)
	unmarked()
	require.NotEmpty(t, p.events)
}

func TestPageShowsWhoLeads(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	shell := shellOf(t, db)
	first, firstAddress := shell.serveHTTP(t, db, "--config=yearly.yaml", "--bootstrap-jobs=")
	_, address := shell.serveHTTP(t, db, "--config=yearly.yaml", "--bootstrap-jobs=")
	waitValue(t, db, waitCLI, 2, "SELECT count(*)::int FROM scheduler.replicas")
	leader := scalar[string](t, db, "SELECT replica_id FROM scheduler.leader")
	other := scalar[string](t, db, "SELECT replica_id FROM scheduler.replicas WHERE replica_id <> $1", leader)
	p, lost := openTab(t, address), openTab(t, firstAddress)
	p.open("/")
	lost.open("/")
	unmarked := p.mark()
	p.reads("#fleet", `Leader\s+`+leader+`\s+term 1`)
	p.reads("#fleet", `2 replicas\s+[\s\S]*`+other)

	require.NoError(t, first.command.Process.Kill())
	p.reads("#fleet", `Leader\s+`+other+`\s+term 2`)
	p.reads("#fleet", `1 replica\s+`+other)
	lost.reads("#live-state", `^Not up to date: no connection to this replica$`)
	lost.photograph("lost", false)
	lost.forgive(`ERR_(CONNECTION_REFUSED|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE|CONNECTION_RESET)`)
	require.NoError(t, lost.close())

	// The database goes away, and comes back.
	admin, err := pgx.Connect(t.Context(), db.Server().URL("postgres"))
	require.NoError(t, err)
	defer admin.Close(context.WithoutCancel(t.Context()))
	allow := func(yes bool) {
		t.Helper()
		_, err := admin.Exec(t.Context(), fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS %t", pgx.Identifier{db.Name}.Sanitize(), yes))
		require.NoError(t, err)
		_, err = admin.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", db.Name)
		require.NoError(t, err)
	}
	allow(false)
	p.reads("#live-state", `^Not up to date: the database cannot be used now`)
	p.audit()
	p.photograph("database_away", false)
	away := openTab(t, address)
	away.open("/")
	require.Contains(t, away.text("main"), "the database cannot be used now")
	away.audit()
	away.photograph("error", true)
	away.forgive("503")
	allow(true)
	see(p, "", `document.getElementById("live-state").textContent`)
	p.reads("#fleet", `Leader\s+`+other+`\s+term [3-9]`)
	away.open("/")
	require.True(t, strings.HasPrefix(away.text("#fleet"), "Fleet"))
	unmarked()
}
