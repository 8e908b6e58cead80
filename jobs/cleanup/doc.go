// Package cleanup holds the jobs that the scheduler ships with. Importing it
// registers them:
//
//	import _ "github.com/systempromptio/scheduler/jobs/cleanup"
//
// Three keep the systemprompt platform's database within bounds; cleanup_job_runs
// does so for the scheduler's own ledger. Each is made of rules, whose texts are in
// sql/rules; what a rule is, and what a run of rules promises, says package
// retention.
package cleanup

// A hundred years: what is meant to be kept for ever fits below, and the sums of
// Postgres above do not overflow.
const (
	hoursMax = 876_600
	daysMax  = 36_525
)
