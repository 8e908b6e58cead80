package cleanup

import (
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
	"github.com/systempromptio/scheduler/sql"
)

func init() { jobs.Register(InactiveSessions()) }

// InactiveSessions makes the job cleanup_inactive_sessions: it ends the sessions that
// nobody has used for a while.
func InactiveSessions() *retention.Job {
	return retention.Must(retention.Config{
		Definition: jobs.Definition{
			Name:        "cleanup_inactive_sessions",
			Description: "Ends sessions that nobody has used for inactive_hours.",
			Schedule:    "0 */10 * * * *",
			Parameters: []jobs.Parameter{{
				Name:        "inactive_hours",
				Description: "A session is inactive when its last activity is older than this many hours.",
				Type:        jobs.TypeInteger,
				Default:     1,
				Minimum:     jobs.Bound(1),
				Maximum:     jobs.Bound(hoursMax),
			}},
		},
		Rules: []retention.Rule{{
			Target: "sessions",
			Table:  "user_sessions",
			SQL:    sql.Rule("inactive_sessions"),
			Set:    "ended_at = now()",
		}},
	})
}
