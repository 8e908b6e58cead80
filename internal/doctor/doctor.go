// Package doctor looks a database, its server and the fleet on it over, as an operator
// does before production and in the night: what is wrong, and what mends it.
//
// It changes nothing. What it asks is asked in read-only transactions that wait for
// nobody and end within seconds. Where something is broken it looks at what is left: the
// checks that depend on it say that they were not made.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/sql"
)

// Status is how a check came out.
type Status string

// The statuses, from the best to the worst; a check that could not be made counts as
// none of them.
const (
	StatusSkipped Status = "skipped"
	StatusOK      Status = "ok"
	StatusNote    Status = "note"
	StatusWarning Status = "warning"
	StatusProblem Status = "problem"
)

// Check is one thing that was looked at.
type Check struct {
	// Group is what the check is about, Name what it is called within that: together
	// they are stable.
	Group string `json:"group"`
	Name  string `json:"name"`
	// Object is what was looked at, where a check is made for several: a job, a target.
	Object string `json:"object,omitempty"`
	Status Status `json:"status"`
	// Found is what was found, in a sentence.
	Found string `json:"found"`
	// Fix is what mends it, to copy.
	Fix string `json:"fix,omitempty"`
	// Details are more about it, for those who ask.
	Details []string `json:"details,omitempty"`
}

// Label names the check, with its object if it has one.
func (c *Check) Label() string {
	if c.Object == "" {
		return c.Name
	}
	return c.Name + " " + c.Object
}

// Report is what an examination has found.
type Report struct {
	Version  string `json:"version"`
	Schema   string `json:"schema"`
	Database string `json:"database,omitempty"`
	// Status is the worst of the checks'.
	Status Status `json:"status"`
	// The counts of the checks by status.
	OK       int     `json:"ok"`
	Notes    int     `json:"notes"`
	Warnings int     `json:"warnings"`
	Problems int     `json:"problems"`
	Skipped  int     `json:"skipped"`
	Checks   []Check `json:"checks"`
}

func (r *Report) add(c Check) {
	r.Checks = append(r.Checks, c)
	count := map[Status]*int{
		StatusOK: &r.OK, StatusNote: &r.Notes, StatusWarning: &r.Warnings, StatusProblem: &r.Problems, StatusSkipped: &r.Skipped,
	}[c.Status]
	*count++
	if c.Status.worse() > r.Status.worse() {
		r.Status = c.Status
	}
}

func (s Status) worse() int {
	switch s {
	case StatusProblem:
		return 3
	case StatusWarning:
		return 2
	case StatusNote:
		return 1
	case StatusOK, StatusSkipped:
	}
	return 0
}

// Config says what to look at.
type Config struct {
	// Scheduler is the configuration of the replicas. It must be one that scheduler.New
	// takes.
	Scheduler scheduler.Config
	// Listens: the replicas serve HTTP, for which each needs more connections.
	Listens bool
	// Version is the program's.
	Version string
	// LocateFunc gives what is wrong with a job its place in the configuration file. Nil
	// leaves it without.
	LocateFunc func(error) error
}

const (
	// askTimeout bounds what is asked at a time.
	askTimeout = 15 * time.Second
	// jobTimeout bounds the look at a job's targets, each of which is counted for up to
	// the five seconds of the statement doctor_begin.
	jobTimeout = 2 * time.Minute
	// connections that the examination needs: see readOnly.
	connections = 3
)

// The groups of checks.
const (
	groupConfiguration = "configuration"
	groupConnection    = "connection"
	groupSchema        = "schema"
	groupPrivileges    = "privileges"
	groupServer        = "server"
	groupClock         = "clock"
	groupFleet         = "fleet"
	groupJobs          = "jobs"
	groupTables        = "tables"
)

// groups are all of them, in the order of the report.
var groups = []string{ //nolint:gochecknoglobals // a table that nobody changes
	groupConfiguration, groupConnection, groupClock, groupSchema, groupPrivileges, groupServer, groupFleet, groupJobs, groupTables,
}

// examination is one call of the doctor.
type examination struct {
	config     scheduler.Config
	listens    bool
	statements *sql.Statements
	report     Report

	// pool is nil while there was no connection.
	pool    *pgxpool.Pool
	isLost  atomic.Bool
	session sql.DoctorSession
	// mayLook: the schema is there, and may be looked into.
	mayLook bool
	// maySchema: the schema is there, is one that this build works with, and may be
	// looked into.
	maySchema bool
	jobs      []sql.JobRow
	settings  map[string]sql.DoctorSetting
	// missing are the indexes that were told of.
	missing map[string]bool
}

// Examine makes all checks. It returns what it has when ctx ends.
func Examine(ctx context.Context, c Config) (Report, error) {
	c.Scheduler.Logger = slog.New(slog.DiscardHandler)
	s, err := scheduler.New(c.Scheduler)
	if err != nil {
		return Report{}, err
	}
	e := &examination{config: s.Config(), listens: c.Listens, missing: make(map[string]bool)}
	e.statements = sql.For(e.config.Schema)
	e.report = Report{Version: c.Version, Schema: e.config.Schema, Status: StatusOK, Checks: []Check{}}
	e.configuration()
	e.connect(ctx)
	defer func() {
		if e.pool != nil {
			e.pool.Close()
		}
	}()
	e.schema(ctx)
	e.server(ctx)
	e.fleet(ctx)
	e.declared(ctx, s, c.LocateFunc)
	e.tables(ctx)
	slices.SortStableFunc(e.report.Checks, func(a, b Check) int { return slices.Index(groups, a.Group) - slices.Index(groups, b.Group) })
	return e.report, nil
}

// add adds a check.
func (e *examination) add(group, name string, status Status, found string) *Check {
	return e.addOf(group, name, "", status, found)
}

// addOf adds a check of one of several objects.
func (e *examination) addOf(group, name, object string, status Status, found string) *Check {
	e.report.add(Check{Group: group, Name: name, Object: object, Status: status, Found: found})
	return &e.report.Checks[len(e.report.Checks)-1]
}

// fix says what mends what the check has found.
func (c *Check) fix(text string) *Check {
	c.Fix = text
	return c
}

func (c *Check) detail(lines ...string) { c.Details = append(c.Details, lines...) }

// skip adds checks that depend on something that is broken.
func (e *examination) skip(group, why string, names ...string) {
	for _, name := range names {
		e.add(group, name, StatusSkipped, "not looked at: "+why)
	}
}

// failed adds a check that could not be made by an error of its own. It is a problem if
// the database has gone away by that.
func (e *examination) failed(group, name string, err error) {
	e.notice(err)
	if errors.Is(err, errLost) {
		e.skip(group, err.Error(), name)
		return
	}
	found, fix := diagnose(err)
	status := StatusWarning
	if !e.reachable() {
		status = StatusProblem
	}
	e.add(group, name, status, "could not be looked at: "+found).fix(fix)
}

func (e *examination) configuration() {
	c := e.config
	e.add(groupConfiguration, "settings", StatusOK, fmt.Sprintf("%s in this program, %d with settings of their own; schema %s; %s at once",
		plural(len(c.Registry.List()), "job"), len(c.Jobs), c.Schema, plural(c.MaxWorkers, "run")))
	if c.Disabled {
		e.add(groupConfiguration, "enabled", StatusWarning, "the configuration disables the scheduler: nothing is enqueued").fix("enabled: true")
	}
	if c.DryRun {
		e.add(groupConfiguration, "dry_run", StatusNote, "every run is a dry run: nothing is cleaned").fix("dry_run: false")
	}
}
