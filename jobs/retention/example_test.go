package retention_test

import (
	"fmt"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// A module with a table of its own. The text would be a file, embedded with
//
//	//go:embed old_invoices.sql
//	var oldInvoices string
const oldInvoices = `
-- Paid invoices, older than keep_days, about which there is no dispute.
SELECT i.ctid
FROM invoices i
WHERE i.paid_at < @now::timestamptz - make_interval(days => @keep_days)
  -- if exists: disputes
  AND NOT EXISTS (SELECT FROM disputes d WHERE d.invoice_id = i.id)
  -- end
`

// In the module this stands in an init: jobs.Register(retention.Must(...)).
func ExampleNew() {
	job, err := retention.New(retention.Config{
		Definition: jobs.Definition{
			Name:     "cleanup_invoices",
			Schedule: "0 4 * * *",
			Parameters: []jobs.Parameter{
				{Name: "keep_days", Type: jobs.TypeInteger, Default: 365, Minimum: jobs.Bound(1), Maximum: jobs.Bound(36_500)},
			},
		},
		Rules: []retention.Rule{{Target: "old_invoices", Table: "invoices", SQL: oldInvoices}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	var registry jobs.Registry
	fmt.Println(registry.Add(job))
	for _, e := range job.Explain("scheduler") {
		fmt.Println(e.Action, e.Table, "requires", e.Requires, "may use", e.Optional)
	}
	// Output:
	// <nil>
	// DELETE invoices requires [invoices] may use [disputes]
}
