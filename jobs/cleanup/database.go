package cleanup

import (
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
	"github.com/systempromptio/scheduler/sql"
)

const (
	parameterMCPExecutions = "mcp_executions"
	mcpExecutionsDelete    = "delete"
	mcpExecutionsKeep      = "keep"
)

func init() { jobs.Register(Database()) }

// Database makes the job database_cleanup: it deletes logs, orphans, and credentials
// that are of no use any more.
func Database() *retention.Job {
	rule := func(name, table string) retention.Rule {
		return retention.Rule{Target: name, Table: table, SQL: sql.Rule(name)}
	}
	executions := rule("orphaned_mcp_executions", "mcp_tool_executions")
	executions.OffFunc = func(p jobs.Parameters) string {
		if p.String(parameterMCPExecutions) == mcpExecutionsKeep {
			return "kept: mcp_executions is keep"
		}
		return ""
	}
	return retention.Must(retention.Config{
		Definition: jobs.Definition{
			Name:        "database_cleanup",
			Description: "Deletes old and orphaned logs, orphaned MCP executions, and expired or used credentials.",
			Schedule:    "0 0 3 * * *",
			Parameters: []jobs.Parameter{
				{
					Name:        "log_retention_days",
					Description: "Logs are kept for this many days.",
					Type:        jobs.TypeInteger,
					Default:     30,
					Minimum:     jobs.Bound(1),
					Maximum:     jobs.Bound(daysMax),
				},
				{
					Name:        "system_user_ids",
					Description: "Ids that are no user's and under which the platform writes logs: these are no orphans.",
					Type:        jobs.TypeStrings,
					Default:     []string{"system"},
				},
				{
					Name:        parameterMCPExecutions,
					Description: "Whether MCP executions whose context is gone are deleted, or kept as an audit record.",
					Type:        jobs.TypeString,
					Default:     mcpExecutionsDelete,
					Enum:        []string{mcpExecutionsDelete, mcpExecutionsKeep},
				},
			},
		},
		Rules: []retention.Rule{
			rule("orphaned_logs", "logs"),
			rule("old_logs", "logs"),
			executions,
			rule("auth_codes", "oauth_auth_codes"),
			rule("refresh_tokens", "oauth_refresh_tokens"),
			rule("state_bindings", "oauth_state_bindings"),
			rule("jti_revocations", "oauth_jti_revocations"),
			rule("id_jag_replays", "id_jag_replay"),
		},
	})
}
