package integration

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
)

// The page of the evaluations: it is linked where there are any, holds whatever text they
// have, and can be seen and reached by everybody.
func TestPageAnalytics(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformSeeded)
	exec1(t, db, `UPDATE conversation_evaluations SET analyzed_at = now() - id * interval '1 hour', issues_encountered = CASE WHEN id = 1 THEN '<script>window.broken = true</script>' ELSE issues_encountered END;
		UPDATE conversation_evaluations SET primary_category = repeat('long', 60), context_id = repeat('wide', 60) WHERE id = 2`)
	_, address := shellOf(t, db).serveHTTP(t, db, "--bootstrap-jobs=", "--enabled=false")
	p := openTab(t, address)
	p.open("/")
	require.Equal(t, "Analytics", look[string](p, `document.querySelector("nav a[href='/analytics']").textContent`))
	p.open("/analytics")
	require.Equal(t, "Analytics · scheduler", look[string](p, "document.title"))
	p.reads("#scores", `Excellent, 0\.9 and more\s+10 10 %\s+Good, 0\.7 and more\s+20 20 %\s+Fair, 0\.5 and more\s+20 20 %\s+Poor\s+50 50 %\s+Images to optimize\s+\d+`)
	require.Equal(t, []string{"yes", "partial", "no"}, look[[]string](p, `[...document.querySelectorAll("#goals tbody th")].map((e) => e.textContent)`))
	require.False(t, look[bool](p, "'broken' in window"))
	p.reads("#issues", `<script>window\.broken`)
	p.photograph("analytics_light", true)
	for _, width := range []int64{wide, phone} {
		p.resize(width)
		for _, scheme := range []string{"light", "dark"} {
			p.prefer(scheme)
			p.audit()
		}
	}
	p.photograph("analytics_phone", true)
	p.resize(wide)
	p.tabThrough()

	// The list goes on, page by page, without a script.
	rows := `document.querySelectorAll("#evaluations ~ .scroll tbody tr").length`
	require.Equal(t, 50, look[int](p, rows))
	p.open(look[string](p, `document.querySelector("a[rel=next]").getAttribute("href")`))
	require.Equal(t, 50, look[int](p, rows))
	p.open("/analytics?from=2001-01-01&to=2001-02-01&timezone=Europe/Berlin&category=" + strings.Repeat("x", 50))
	require.Contains(t, p.text("#main"), "There are no evaluations in this time.")
	p.audit()
}

// A database without evaluations has no such page.
func TestPageWithoutAnalytics(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, migrated)
	_, address := shellOf(t, db).serveHTTP(t, db, "--bootstrap-jobs=", "--enabled=false")
	p := openTab(t, address)
	p.open("/")
	require.False(t, look[bool](p, `!!document.querySelector("nav a[href='/analytics']")`))
}
