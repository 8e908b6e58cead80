package periodic

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// Declaration is a registered job as a deployment configures it. Every field is
// set; where the deployment says nothing, to the definition's own default.
type Declaration struct {
	// Definition is the job's own.
	Definition jobs.Definition
	// Schedule is cron text, TimeZone an IANA name.
	Schedule string
	TimeZone string
	// Enabled jobs are scheduled.
	Enabled bool
	// The policies; see the package jobs.
	Overlap       jobs.Overlap
	CatchUp       jobs.CatchUp
	CatchUpLimit  int
	CatchUpMaxAge time.Duration
	// Timeout bounds an attempt.
	Timeout time.Duration
	// MaxAttempts is the last attempt.
	MaxAttempts int
	// DryRun makes scheduled runs report and change nothing.
	DryRun bool
	// DryRunFor is how long after it was first declared so the job's scheduled runs are
	// dry runs; zero: not at all.
	DryRunFor time.Duration
	// Parameters are those that the deployment sets; the definition's defaults are
	// not among them.
	Parameters map[string]any
}

// statement is the form in which a declaration is stored.
func (d Declaration) statement() (sql.Declaration, error) {
	parameters := d.Parameters
	if parameters == nil {
		parameters = map[string]any{}
	}
	encoded, err := json.Marshal(parameters)
	if err != nil {
		return sql.Declaration{}, fmt.Errorf("job %q: encode the parameters: %w", d.Definition.Name, err)
	}
	specs := d.Definition.Parameters
	if specs == nil {
		specs = []jobs.Parameter{}
	}
	encodedSpecs, err := json.Marshal(specs)
	if err != nil {
		return sql.Declaration{}, fmt.Errorf("job %q: encode the parameters' declaration: %w", d.Definition.Name, err)
	}
	statement := sql.Declaration{
		JobName:        d.Definition.Name,
		Description:    d.Definition.Description,
		Schedule:       d.Schedule,
		TimeZone:       d.TimeZone,
		Enabled:        d.Enabled,
		Overlap:        d.Overlap,
		CatchUp:        d.CatchUp,
		CatchUpLimit:   d.CatchUpLimit,
		Timeout:        d.Timeout,
		MaxAttempts:    d.MaxAttempts,
		DryRun:         d.DryRun,
		Parameters:     encoded,
		ParameterSpecs: encodedSpecs,
	}
	if d.CatchUpMaxAge > 0 {
		statement.CatchUpMaxAge = &d.CatchUpMaxAge
	}
	if d.DryRunFor > 0 {
		statement.DryRunFor = &d.DryRunFor
	}
	statement.Declared, err = json.Marshal(statement)
	if err != nil {
		return sql.Declaration{}, fmt.Errorf("job %q: encode the declaration: %w", d.Definition.Name, err)
	}
	return statement, nil
}
