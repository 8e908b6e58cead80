package integration

import (
	_ "embed"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
)

//go:embed testdata/gallery.sql
var gallery string

// Every page with jobs in every state and runs in every status, in both sets of colours
// and on a phone, with all that is folded unfolded.
func TestPagesAreAccessible(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	_, address := shellOf(t, db).serveHTTP(t, db, "--config=yearly.yaml", "--bootstrap-jobs=")
	require.NoError(t, execute(t.Context(), db.URL, gallery))
	replicas(t, db, "worker-1", "worker-2", "ip-10-0-12-131.eu-central-1.compute.internal", "scheduler-7c9f8b6d54-x2k9q-"+strings.Repeat("long", 10), "worker-3", "worker-4", "worker-5")
	run := func(status string) string {
		return "/runs/" + scalar[string](t, db, "SELECT max(id)::text FROM scheduler.runs WHERE status = $1", status)
	}
	p := openTab(t, address)
	p.authorize("") // to read, nobody needs a password here
	for _, page := range []struct {
		name, path string
		// alike: one picture will do.
		alike bool
	}{
		{"overview", "/", false},
		{"overview_found", "/?q=failed", true},
		{"job", "/jobs/export_orders", false},
		{"job_paused", "/jobs/paused_sync", true},
		{"job_rollout", "/jobs/new_cleanup", true},
		{"job_long", "/jobs/billing_close_of_the_month_for_every_tenant_and_each_of_its_subsidiaries_in_the_european_area_eea", false},
		{"job_wrong", "/jobs/wrong_schedule?schedule=61+*+*+*+*", true},
		{"explain", "/jobs/database_cleanup/explain", false},
		{"runs", "/runs?job=export_orders", false},
		{"runs_none", "/runs?status=requested", true},
		{"agenda", "/agenda", false},
		{"run_running", run("running"), false},
		{"run_retrying", run("retrying"), true},
		{"run_pending", run("pending"), true},
		{"run_waiting", run("waiting"), true},
		{"run_scheduled", run("scheduled"), true},
		{"run_success", run("success"), true},
		{"run_failed", run("failed"), false},
		{"run_blocked", run("blocked"), true},
		{"run_cancelled", run("cancelled"), true},
		{"run_skipped", run("skipped"), true},
		{"run_missed", run("missed"), true},
	} {
		p.resize(wide)
		p.open(page.path)
		require.NotEmpty(t, p.text("h1"), page.path)
		p.prefer("light")
		p.photograph(page.name+"_light", true)
		look[any](p, `document.querySelectorAll("details").forEach((d) => { d.open = true }); 0`)
		for _, scheme := range []string{"light", "dark"} {
			p.prefer(scheme)
			p.audit()
		}
		if !page.alike {
			p.photograph(page.name+"_dark", true)
		}
		p.resize(phone)
		p.audit()
		if !page.alike {
			p.photograph(page.name+"_phone", true)
		}
	}

	// Everything can be reached by the Tab key, and is seen to have the focus.
	for _, width := range []int64{wide, phone} {
		p.resize(width)
		for _, path := range []string{"/", "/jobs/export_orders", run("running"), "/runs?job=export_orders"} {
			p.open(path)
			look[any](p, `document.querySelectorAll("details").forEach((d) => { d.open = true }); 0`)
			p.tabThrough()
		}
	}
	p.resize(wide)
	p.open("/")
	p.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter), chromedp.KeyEvent(kb.Tab))
	require.Equal(t, "failing_import", look[string](p, "document.activeElement.textContent"), "the first link skips to the content")
}

// tabThrough presses Tab until the focus has been everywhere. What it has been on is known
// by name: the page may put another element in its place.
func (p *tab) tabThrough() {
	p.Helper()
	const prepare = `
		window.nameOf = (e) => [e.tagName, e.getAttribute("href"), e.id, e.getAttribute("aria-label"), e.textContent.slice(0, 40)].join(" ");
		window.stops = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")].filter((e) => e.tabIndex >= 0 && e.checkVisibility({visibilityProperty: true})).map(window.nameOf);
		window.reached = new Set();
		window.unseen = [];
		document.addEventListener("focusin", (event) => {
			window.reached.add(window.nameOf(event.target));
			const style = getComputedStyle(event.target);
			if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) window.unseen.push(event.target.outerHTML.slice(0, 150));
		});
		document.activeElement.blur();
		// A date has a stop for each of its parts, and one for its calendar.
		window.stops.length + 3 * document.querySelectorAll("input[type=date]").length`
	stops := look[int](p, prepare)
	require.Greater(p, stops, 5)
	p.do(slices.Repeat([]chromedp.Action[chromedp.Void]{chromedp.KeyEvent(kb.Tab)}, stops)...)
	require.Empty(p, look[[]string](p, "window.stops.filter((e) => !window.reached.has(e))"), "%s: not reached", p.path())
	require.Empty(p, look[[]string](p, "window.unseen"), "%s: not seen to have the focus", p.path())
}

// replicas holds the presence locks of replicas that are nobody.
func replicas(t *testing.T, db *testdb.DB, ids ...string) {
	t.Helper()
	for _, id := range ids {
		conn := db.Conn(t)
		_, err := conn.Exec(t.Context(), "SELECT set_config('application_name', 'scheduler/' || $1, false), pg_advisory_lock_shared(7235002, scheduler.lock_key())", id)
		require.NoError(t, err)
	}
}
