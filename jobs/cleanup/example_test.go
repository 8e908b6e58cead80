package cleanup_test

import (
	"fmt"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cleanup"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// Importing the package registers its jobs.
func Example() {
	for _, job := range jobs.DefaultRegistry().List() {
		fmt.Println(job.Definition().Name, job.Definition().Schedule)
	}
	// Output:
	// cleanup_empty_contexts 0 0 */2 * * *
	// cleanup_inactive_sessions 0 */10 * * * *
	// cleanup_job_runs 0 30 3 * * *
	// database_cleanup 0 0 3 * * *
}

// A program that wants some of them, or wants them otherwise, fills a registry of its own.
func ExampleDatabase() {
	config := cleanup.Database().Config()
	config.Definition.Schedule = "@weekly"
	weekly, err := retention.New(config)
	if err != nil {
		panic(err)
	}
	var registry jobs.Registry
	fmt.Println(registry.Add(weekly, cleanup.InactiveSessions(), cleanup.EmptyContexts(), cleanup.JobRuns()))
	fmt.Println(weekly.Definition().Schedule, len(weekly.Explain("scheduler")))
	// Output:
	// <nil>
	// @weekly 8
}
