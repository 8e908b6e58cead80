package cleanup

import (
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
	"github.com/systempromptio/scheduler/sql"
)

func init() { jobs.Register(JobRuns()) }

// JobRuns makes the job cleanup_job_runs: it deletes old runs from the scheduler's own
// ledger.
func JobRuns() *retention.Job {
	return retention.Must(retention.Config{
		Definition: jobs.Definition{
			Name:        "cleanup_job_runs",
			Description: "Deletes ended runs older than retention_days from the ledger, but the newest of each job.",
			Schedule:    "0 30 3 * * *",
			Parameters: []jobs.Parameter{{
				Name:        "retention_days",
				Description: "Ended runs are kept for this many days.",
				Type:        jobs.TypeInteger,
				Default:     30,
				Minimum:     jobs.Bound(1),
				Maximum:     jobs.Bound(daysMax),
			}},
		},
		Rules: []retention.Rule{{
			Target: "job_runs",
			Table:  "scheduler.job_runs",
			SQL:    sql.Rule("job_runs"),
		}},
	})
}
