package cleanup

import (
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
	"github.com/systempromptio/scheduler/sql"
)

func init() { jobs.Register(EmptyContexts()) }

// EmptyContexts makes the job cleanup_empty_contexts: it deletes the contexts in which
// nothing was ever said.
func EmptyContexts() *retention.Job {
	return retention.Must(retention.Config{
		Definition: jobs.Definition{
			Name:        "cleanup_empty_contexts",
			Description: "Deletes contexts older than retention_hours that have no message and that no audit record names.",
			Schedule:    "0 0 */2 * * *",
			Parameters: []jobs.Parameter{{
				Name:        "retention_hours",
				Description: "A context is kept for this many hours, even if it is empty.",
				Type:        jobs.TypeInteger,
				Default:     24,
				Minimum:     jobs.Bound(1),
				Maximum:     jobs.Bound(hoursMax),
			}},
		},
		Rules: []retention.Rule{{
			Target: "contexts",
			Table:  "user_contexts",
			SQL:    sql.Rule("empty_contexts"),
			// A message below a task that exists locks the task, not the context.
			Children: []retention.Child{{Table: "agent_tasks", Column: "context_id", References: "context_id"}},
			// Messages that name a context are found by no index.
			Mark: &retention.Mark{Name: "message_mark", Table: "task_messages", Column: "id"},
		}},
	})
}
