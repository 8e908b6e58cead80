package integration

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
)

// What these tests rely on: that a tab sees what goes wrong.
func TestPageTroublesAreSeen(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	_, address := shellOf(t, db).serveHTTP(t, db, "--config=yearly.yaml", "--bootstrap-jobs=")
	p := openTab(t, address)
	p.open("/agenda")
	for _, trouble := range []struct{ script, seen string }{
		{`document.body.setAttribute("style", "color: red")`, `log: security: .*style-src 'self'`},
		{`document.body.append(Object.assign(document.createElement("script"), {textContent: "window.broken = true"}))`, `log: security: .*script-src 'self'`},
		{`void fetch("https://example.com").catch(() => 0)`, `log: security: .*connect-src 'self'|Refused to connect`},
		{`console.error("wrong")`, `console: error: .*wrong`},
		{`setTimeout(() => { throw new Error("thrown") })`, `exception: .*`},
		{`void fetch("/nothing")`, `answer: \S+/nothing: 404`},
	} {
		look[any](p, trouble.script+"; 0")
		p.hasTrouble(trouble.seen)
	}
	require.False(t, look[bool](p, "'broken' in window"), "no inline script runs")
	p.forgive(".")

	// And so does the audit.
	require.Empty(t, look[[]flaw](p, accessible))
	look[any](p, `document.querySelector("main").insertAdjacentHTML("beforeend", '<h4>Too deep</h4><input id="main"><button></button><a href="/x">1</a><a href="/y">2</a><table><tr><td>1</td></tr></table><svg></svg><ul><p>No item</p></ul>'); 0`)
	look[any](p, `document.querySelector("h1").style.color = getComputedStyle(document.body).backgroundColor; document.querySelector("main").style.width = "3000px"; 0`)
	var rules []string
	for _, f := range look[[]flaw](p, accessible) {
		rules = append(rules, f.Rule)
	}
	for _, rule := range []string{"heading", "id", "name", "target", "table", "list", "contrast", "width"} {
		require.Contains(t, rules, rule)
	}
}

func TestPageOverview(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	shell := shellOf(t, db)
	_, address := shell.serveHTTP(t, db, "--config=yearly.yaml", "--bootstrap-jobs=", "--timezone=Europe/Berlin")
	leader := shell.leader(t, nil)["replica_id"].(string)
	for _, args := range []string{"cleanup_empty_contexts", "database_cleanup --dry-run"} {
		shell.succeed(t, append(append([]string{"run"}, strings.Fields(args)...), "--wait")...)
	}
	p := openTab(t, address)
	p.open("/")
	require.Equal(t, "Overview · scheduler", look[string](p, "document.title"))
	p.reads("#fleet", `Leader\s+`+leader+`\s+term 1, since (\d+ seconds? ago|now)`)
	p.reads("#fleet", `1 replica\s+`+leader)
	p.reads("#fleet", `Jobs\s+4 jobs, 4 active`)
	require.Equal(t, []string{"cleanup_empty_contexts", "cleanup_inactive_sessions", "cleanup_job_runs", "database_cleanup"}, look[[]string](p, `[...document.querySelectorAll("#jobs tbody tr")].map((r) => r.dataset.name)`))
	p.reads("#job-cleanup_empty_contexts", `every 2 hours\s+0 0 \*/2 \* \* \* Europe/Berlin\s+success (\d+ seconds? ago|now)\s+\d.*, 410 rows\s+in \d+ (hour|minute|second)s?`)
	p.reads("#job-cleanup_inactive_sessions", `none yet`)
	require.Equal(t, "last 1 run: 1 success", look[string](p, `document.querySelector("#job-cleanup_empty_contexts .strip").getAttribute("aria-label")`))
	require.Regexp(t, `^rows a day in 30 days: 410 in all, 410 at most, 410 today$`, look[string](p, `document.querySelector("#job-cleanup_empty_contexts .days").getAttribute("aria-label")`))
	require.False(t, look[bool](p, `!!document.querySelector("#job-database_cleanup .days")`), "a dry run changes no rows")

	// Finding, with a script and without.
	p.fill("#filter", "cleanup_e")
	p.reads("#found", `^1 of 4 jobs found\.`)
	visible := `[...document.querySelectorAll("#jobs tbody tr")].filter((r) => r.checkVisibility()).map((r) => r.dataset.name)`
	require.Equal(t, []string{"cleanup_empty_contexts"}, look[[]string](p, visible))
	p.fill("#filter", "success")
	p.reads("#found", `^2 of 4 jobs found\.`)
	p.fill("#filter", "nothing like it")
	p.reads("#found", `^0 of 4 jobs found\.`)
	p.script(false)
	p.open("/?q=Database")
	require.Contains(t, p.text("#found"), "1 job found.")
	require.Equal(t, []string{"database_cleanup"}, look[[]string](p, visible))
	p.open("/?q=<nothing>")
	require.Contains(t, p.text("#found"), "No job is found by “<nothing>”.")
	p.script(true)

	for path, heading := range map[string]string{
		"/jobs/database_cleanup": "database_cleanup", "/jobs/database_cleanup/explain": "What database_cleanup would do in this database",
		"/runs": "Runs", "/runs?status=success&job=database_cleanup": "Runs", "/runs/1": "Run 1 of cleanup_empty_contexts", "/agenda": "Agenda: the next 24 hours",
	} {
		p.open(path)
		require.Equal(t, heading, p.text("h1"), path)
	}
	for path, message := range map[string]string{
		"/nothing": "There is no such page.", "/jobs/nope": `job "nope"`, "/runs/99": "run 99", "/runs/x": `"x" is no id`, "/runs?status=x": `status is "x"`,
	} {
		p.open(path)
		require.Contains(t, p.text("main"), message, path)
		p.audit()
	}
	p.forgive(`(answer|log): .*40[04]`)
}

// What there is to be seen before anything has happened.
func TestPageOfNothing(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	_, address := shellOf(t, db).serveHTTP(t, db, "--config=yearly.yaml", "--bootstrap-jobs=")
	p := openTab(t, address)
	for path, says := range map[string]string{
		"/": "Nothing.", "/runs": "There are no such runs.", "/jobs/database_cleanup": "None yet.",
	} {
		p.open(path)
		require.Contains(t, p.text("main"), says)
		p.audit()
	}
	p.photograph("nothing", true)
}
