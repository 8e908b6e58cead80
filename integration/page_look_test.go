package integration

import (
	_ "embed"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
)

//go:embed testdata/gallery.sql
var gallery string

func TestPagesAreAccessible(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	shell := shellOf(t, db)
	_, address := shell.serveHTTP(t, db, "--config=yearly.yaml", "--bootstrap-jobs=")
	require.NoError(t, execute(t.Context(), db.URL, gallery))
	p := openTab(t, address)
	for _, page := range []struct{ name, path string }{
		{"overview", "/"},
		{"job", "/jobs/export_orders"},
		{"job_paused", "/jobs/paused_sync"},
		{"job_new", "/jobs/cleanup_inactive_sessions"},
		{"explain", "/jobs/database_cleanup/explain"},
		{"runs", "/runs"},
		{"agenda", "/agenda"},
		{"run_failed", "/runs/" + scalar[string](t, db, "SELECT max(id)::text FROM scheduler.runs WHERE status = 'failed'")},
		{"run_running", "/runs/" + scalar[string](t, db, "SELECT max(id)::text FROM scheduler.runs WHERE status = 'running'")},
		{"run_success", "/runs/" + scalar[string](t, db, "SELECT max(id)::text FROM scheduler.runs WHERE status = 'success'")},
	} {
		p.resize(wide)
		p.open(page.path)
		for _, scheme := range []string{"light", "dark"} {
			p.prefer(scheme)
			p.audit()
			p.photograph(page.name+"_"+scheme, true)
		}
		p.resize(phone)
		p.audit()
		p.photograph(page.name+"_phone", true)
	}
}
