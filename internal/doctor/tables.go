package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/internal/connection"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
)

const (
	// What a pass is taken to need where no run has told yet: cautious figures for a
	// server on a disk of today, see docs/benchmarks.md.
	rowsPerSecondAssumed  = 5_000
	pagesPerSecondAssumed = 12_800 // 100 MB of 8 kB

	// indexPages is the size, 8 MB, from which on a scan for each deleted row is felt.
	indexPages = 1_000
)

// tables looks at what the next run of each cleanup job would meet.
func (e *examination) tables(ctx context.Context) {
	names := []string{"autovacuum", "rules"}
	var rates map[string]float64
	var tables []string
	switch {
	case !e.reachable():
		e.skip(groupTables, noConnection, names...)
		return
	case !e.maySchema:
		e.skip(groupTables, noSchema, names...)
		if !e.mayLook {
			return
		}
	default:
		rates = e.rates(ctx)
		defer func() { e.withoutAutovacuum(ctx, tables) }()
	}
	for _, job := range e.config.Registry.List() {
		cleanup, ok := job.(*retention.Job)
		if !ok || !e.reachable() {
			continue
		}
		parameters, err := e.parametersOf(cleanup)
		if err != nil {
			e.failed(groupTables, "rules", err)
			continue
		}
		e.jobPrivileges(ctx, cleanup, parameters)
		for _, p := range cleanup.Privileges(e.config.Schema, parameters) {
			tables = append(tables, p.Table)
		}
		if e.maySchema {
			e.survey(ctx, cleanup, parameters, rates[cleanup.Definition().Name])
		}
	}
}

// parametersOf are those that a scheduled run of a job has: as the leader has declared
// them, else as this configuration does.
func (e *examination) parametersOf(job *retention.Job) (jobs.Parameters, error) {
	name := job.Definition().Name
	var declared map[string]any
	for _, c := range e.config.Jobs {
		if c.Name == name {
			declared = c.Parameters
		}
	}
	for _, row := range e.jobs {
		if row.JobName != name || !row.Registered {
			continue
		}
		declared = nil
		if err := json.Unmarshal(row.Parameters, &declared); err != nil {
			return nil, fmt.Errorf("job %q: read its parameters: %w", name, err)
		}
	}
	return jobs.Resolve(job.Definition(), declared)
}

// rates are the rows a second of each job's runs, by name.
func (e *examination) rates(ctx context.Context) map[string]float64 {
	rates := make(map[string]float64)
	err := e.read(ctx, func(ctx context.Context, tx pgx.Tx) error {
		list, err := e.statements.DoctorRates(ctx, tx)
		for _, r := range list {
			if r.Seconds > 0 {
				rates[r.JobName] = float64(r.RowsAffected) / r.Seconds
			}
		}
		return err
	})
	if err != nil {
		e.failed(groupTables, "rates", err)
	}
	return rates
}

// survey looks at one job's targets.
func (e *examination) survey(ctx context.Context, job *retention.Job, parameters jobs.Parameters, rate float64) {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	name := job.Definition().Name
	survey, err := job.Survey(ctx, &jobs.Run{
		Job: name, Now: e.session.Now, DryRun: true, Parameters: parameters, Schema: e.config.Schema,
		Logger: e.config.Logger, Beginner: readOnly{e},
	})
	if err != nil {
		e.failed(groupTables, "rules", err)
		return
	}
	for _, target := range survey.Targets {
		e.target(name, target, rate)
	}
	if survey.Blocked != "" {
		e.addOf(groupTables, "bounds", name, StatusProblem, "a run now would be blocked: "+survey.Blocked).fix("look at the rows first, as the text says; then let them through once, or raise the bound in the job's parameters")
	}
}

func (e *examination) target(job string, t retention.SurveyTarget, rate float64) {
	object := job + "." + t.Target
	switch {
	case t.Err != nil:
		found, fix := diagnose(t.Err)
		status := StatusProblem
		if connection.IsHeldUp(t.Err) {
			status = StatusWarning
		}
		e.addOf(groupTables, "rules", object, status, "could not be looked at: "+found).fix(fix)
		return
	case t.Absent:
		e.addOf(groupTables, "rules", object, StatusNote, t.Plan+": the job leaves the target out")
		return
	case t.IsOff:
		e.addOf(groupTables, "rules", object, StatusNote, t.Plan)
		return
	}
	found := fmt.Sprintf("%s %s: %s now; a pass takes about %s", t.Action, t.Table, rowsText(t), about(seconds(t, rate)))
	check := e.addOf(groupTables, "rules", object, StatusOK, found)
	check.detail("plan: "+t.Plan, assumption(rate))
	if t.Problem != "" {
		e.addOf(groupTables, "bounds", object, StatusProblem, "a run now would be blocked: "+oneLine(t.Problem)).fix(indexes(t.MissingIndexes))
		return
	}
	for _, index := range t.MissingIndexes {
		if e.missing[index.DDL] {
			continue
		}
		e.missing[index.DDL] = true
		status := StatusNote
		if index.Pages >= indexPages {
			status = StatusWarning
		}
		e.addOf(groupTables, "indexes", object, status, fmt.Sprintf("the foreign key %s has no index: each row that is deleted from %s reads all of %s (%s)",
			index.Constraint, t.Table, index.Table, plural(index.Pages, "page"))).fix(index.DDL)
	}
}

func rowsText(t retention.SurveyTarget) string {
	if t.IsCounted {
		return plural(t.Found, "row")
	}
	return "about " + plural(t.Found, "row") + " by the planner's estimate (counting takes longer than 5 s)"
}

// seconds is how long a pass will take: one look through the table, and its rows.
func seconds(t retention.SurveyTarget, rate float64) float64 {
	if rate <= 0 {
		rate = rowsPerSecondAssumed
	}
	return float64(t.Pages)/pagesPerSecondAssumed + float64(t.Found)/rate
}

func assumption(rate float64) string {
	if rate > 0 {
		return fmt.Sprintf("estimate: %.0f rows a second, as the job's newest runs, and one look through the table at %d pages a second", rate, pagesPerSecondAssumed)
	}
	return fmt.Sprintf("estimate: %d rows a second and one look through the table at %d pages a second, assumed, since no run has told", rowsPerSecondAssumed, pagesPerSecondAssumed)
}

func indexes(missing []retention.MissingIndex) string {
	var lines []string
	for _, index := range missing {
		lines = append(lines, index.DDL+";")
	}
	return strings.Join(lines, "\n")
}
