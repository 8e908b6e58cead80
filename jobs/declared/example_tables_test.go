package declared_test

import (
	"fmt"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/declared"
)

// Invoices that were paid long ago are deleted in batches, and kept as JSON.
func ExampleRetention() {
	job, err := declared.Retention(declared.RetentionConfig{
		Definition: jobs.Definition{
			Name: "old_invoices", Schedule: "0 4 * * *",
			Parameters: []jobs.Parameter{{Name: "keep_days", Type: jobs.TypeInteger, Default: 365, Minimum: jobs.Bound(30)}},
		},
		Table:     "billing.invoices",
		Condition: "paid_at < @now - make_interval(days => @keep_days) AND NOT disputed",
		Archive:   "json",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(job.Explain("scheduler")[0].Action, job.Explain("scheduler")[0].Table)
	// Output: DELETE billing.invoices
}

// A table has a partition for each day, four of them in advance; after 90 days they are
// detached.
func ExamplePartition() {
	job, err := declared.Partition(declared.PartitionConfig{
		Definition: jobs.Definition{Name: "events_partitions", Schedule: "@hourly"},
		Table:      "events", Every: "1 day", Ahead: 4, Keep: "90 days",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(job.Definition().Name)
	// Output: events_partitions
}
