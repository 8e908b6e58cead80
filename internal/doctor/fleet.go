package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/sql"
)

// failuresInRow is how many of a job's newest runs have failed before that is a problem.
const failuresInRow = 3

// fleetState is what the fleet's checks look at, as of one moment or nearly so.
type fleetState struct {
	leader   *sql.LeaderRow
	replicas []sql.ReplicaRow
	state    sql.StateRow
	hasLed   bool
	failing  []sql.DoctorFailing
	old      []sql.DoctorRun
	now      time.Time
}

// fleet makes the checks of the replicas, the jobs and their runs.
func (e *examination) fleet(ctx context.Context) {
	names := []string{"leader", "replicas", "ticks", "jobs", "failures", "runs"}
	switch {
	case !e.reachable():
		e.skip(groupFleet, noConnection, names...)
		return
	case !e.maySchema:
		e.skip(groupFleet, noSchema, names...)
		return
	}
	var f fleetState
	err := e.read(ctx, func(ctx context.Context, tx pgx.Tx) error { return e.readFleet(ctx, tx, &f) })
	if err != nil {
		e.failed(groupFleet, "leader", err)
		e.skip(groupFleet, "the fleet's state could not be read", names[1:]...)
		return
	}
	e.leader(f)
	e.overdue(f)
	e.jobStates(f)
	e.failures(f)
	e.oldRuns(f)
}

func (e *examination) readFleet(ctx context.Context, tx pgx.Tx, f *fleetState) (err error) {
	if f.now, err = e.statements.Clock(ctx, tx); err != nil {
		return err
	}
	if f.leader, err = e.statements.GetLeader(ctx, tx); err != nil {
		return err
	}
	if f.replicas, err = e.statements.ListReplicas(ctx, tx); err != nil {
		return err
	}
	if f.state, err = e.statements.GetState(ctx, tx); err != nil {
		return err
	}
	if f.hasLed, err = e.statements.DoctorLed(ctx, tx); err != nil {
		return err
	}
	if e.jobs, err = e.statements.ListJobs(ctx, tx, ""); err != nil {
		return err
	}
	if f.failing, err = e.statements.DoctorFailing(ctx, tx, failuresInRow); err != nil {
		return err
	}
	f.old, err = e.statements.DoctorOldRuns(ctx, tx)
	return err
}

func (e *examination) leader(f fleetState) {
	switch {
	case f.leader != nil:
		e.add(groupFleet, "leader", StatusOK, fmt.Sprintf("%s leads, in term %d, for %s", f.leader.ReplicaID, f.leader.Epoch, about(f.now.Sub(f.leader.AcquiredAt).Seconds())))
	case !f.hasLed:
		e.add(groupFleet, "leader", StatusNote, "no replica has led yet: nothing is scheduled").fix("scheduler serve")
	case len(f.replicas) > 0:
		e.add(groupFleet, "leader", StatusProblem, "nobody leads, although replicas live: nothing is enqueued").fix("see the logs of the replicas for why none begins a term; then: scheduler leader")
	default:
		e.add(groupFleet, "leader", StatusProblem, "nobody leads: nothing is enqueued").fix("scheduler serve")
	}
	var ids []string
	for _, replica := range f.replicas {
		if replica.ReplicaID != nil {
			ids = append(ids, *replica.ReplicaID)
		}
	}
	switch {
	case len(f.replicas) > 1:
		e.add(groupFleet, "replicas", StatusOK, plural(len(f.replicas), "replica")+" live").detail(strings.Join(ids, ", "))
	case len(f.replicas) == 1:
		e.add(groupFleet, "replicas", StatusNote, "1 replica lives: when it ends, nobody takes over").fix("start another one: scheduler serve").detail(ids...)
	case f.hasLed:
		e.add(groupFleet, "replicas", StatusProblem, "no replica lives: nothing is worked").fix("scheduler serve")
	default:
		e.add(groupFleet, "replicas", StatusNote, "no replica lives").fix("scheduler serve")
	}
}

// overdue looks for ticks that nobody decides.
func (e *examination) overdue(f fleetState) {
	var late time.Duration
	var job string
	for _, j := range e.jobs {
		if j.NextRun == nil || j.State != "active" {
			continue
		}
		if d := f.now.Sub(*j.NextRun); d > late {
			late, job = d, j.JobName
		}
	}
	switch {
	case late <= scheduler.OverdueDefault:
		e.add(groupFleet, "ticks", StatusOK, "no tick is overdue")
	case f.leader == nil:
		e.addOf(groupFleet, "ticks", job, StatusProblem, fmt.Sprintf("a tick of %s has been due for %s, and nobody leads", job, about(late.Seconds()))).fix("scheduler serve")
	default:
		e.addOf(groupFleet, "ticks", job, StatusProblem, fmt.Sprintf("a tick of %s has been due for %s, although %s leads", job, about(late.Seconds()), f.leader.ReplicaID)).
			fix(fmt.Sprintf("see who locks the job's row: SELECT pid, pg_blocking_pids(pid), query FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0; or let another replica lead: SELECT pg_terminate_backend(%d)", f.leader.BackendPID))
	}
}

func (e *examination) jobStates(f fleetState) {
	problems := 0
	if f.state.PausedAt != nil {
		e.add(groupFleet, "paused", StatusNote, fmt.Sprintf("the whole scheduler has been paused for %s%s", about(f.now.Sub(*f.state.PausedAt).Seconds()), because(f.state.PausedReason))).
			fix("scheduler resume --all")
	}
	if f.state.DisabledAt != nil {
		e.add(groupFleet, "disabled", StatusWarning, "the leader's configuration disables the scheduler: nothing is enqueued").fix("enabled: true, in the configuration of the replicas")
	}
	for _, j := range e.jobs {
		problems += e.jobState(f, j)
	}
	if problems == 0 {
		e.add(groupFleet, "jobs", StatusOK, plural(len(e.jobs), "job")+" declared, each with a schedule that is in force")
	}
}

// jobState looks at one job, and counts what is wrong with it.
func (e *examination) jobState(f fleetState, j sql.JobRow) (problems int) {
	say := func(name string, status Status, found, fix string) {
		e.addOf(groupFleet, name, j.JobName, status, found).fix(fix)
		problems++
	}
	if _, err := scheduler.NextTicks(j, f.now, 1); err != nil && j.Registered {
		say("jobs", StatusProblem, fmt.Sprintf("the schedule of %s cannot be read: %v", j.JobName, err), "scheduler reschedule "+j.JobName+" --reset")
	}
	switch {
	case !j.Registered:
		say("jobs", StatusNote, j.JobName+" is not in the program of the leader any more: its history is kept, it is not enqueued", "")
	case j.PausedAt != nil && f.state.PausedAt == nil:
		say("jobs", StatusNote, fmt.Sprintf("%s has been paused for %s%s", j.JobName, about(f.now.Sub(*j.PausedAt).Seconds()), because(j.PausedReason)), "scheduler resume "+j.JobName)
	}
	if j.LastStatus != nil && *j.LastStatus == "blocked" {
		say("blocked", StatusProblem, fmt.Sprintf("the newest run of %s is blocked: %s", j.JobName, firstLine(j.LastError)), "look at what it would change, as the error says; then let it through once, or mend the cause")
		return problems
	}
	if j.Problem != nil && j.Registered {
		say("jobs", StatusProblem, fmt.Sprintf("%s: %s", j.JobName, oneLine(*j.Problem)), "correct the schedule: scheduler reschedule "+j.JobName+" SCHEDULE")
	}
	return problems
}

func (e *examination) failures(f fleetState) {
	for _, job := range f.failing {
		e.addOf(groupFleet, "failures", job.JobName, StatusProblem, fmt.Sprintf("the last %d runs of %s failed; the newest: %s", job.Runs, job.JobName, firstLine(&job.LastError))).
			fix(fmt.Sprintf("see what happened: scheduler runs %s; when it is mended: scheduler run %s --wait", job.JobName, job.JobName))
	}
	if len(f.failing) == 0 {
		e.add(groupFleet, "failures", StatusOK, fmt.Sprintf("no job has failed %d times in a row", failuresInRow))
	}
}

// oldRuns says of runs that should have ended why they have not.
func (e *examination) oldRuns(f fleetState) {
	for _, run := range f.old {
		object := fmt.Sprint(run.ID)
		cancel := fmt.Sprintf("scheduler cancel %d", run.ID)
		switch {
		case run.IsOrphan:
			e.addOf(groupFleet, "runs", object, StatusProblem, fmt.Sprintf("run %d of %s is running on %s, which does not live", run.ID, run.JobName, run.ReplicaID)).
				fix("start a replica, whose leader hands it to another: scheduler serve")
		case run.Status == "running":
			status, ran := StatusWarning, 0.0
			if run.Ran != nil {
				ran = *run.Ran
			}
			if run.Timeout != nil && ran > *run.Timeout+5*60 {
				status = StatusProblem
			}
			e.addOf(groupFleet, "runs", object, status, fmt.Sprintf("run %d of %s has been running on %s for %s", run.ID, run.JobName, run.ReplicaID, about(ran))).fix(cancel)
		case run.Status == "retrying":
			e.addOf(groupFleet, "runs", object, StatusWarning, fmt.Sprintf("run %d of %s has been tried again for %s (attempt %d)", run.ID, run.JobName, about(run.Age), run.Attempt)).
				fix("see why: scheduler runs " + run.JobName + "; or: " + cancel)
		default:
			e.addOf(groupFleet, "runs", object, StatusWarning, fmt.Sprintf("run %d of %s has waited for %s to be taken up", run.ID, run.JobName, about(run.Age))).
				fix("start another replica, or raise max_workers: scheduler serve")
		}
	}
	if len(f.old) == 0 {
		e.add(groupFleet, "runs", StatusOK, "no run goes on for longer than it should")
	}
}

func because(reason *string) string {
	if reason == nil || *reason == "" {
		return ""
	}
	return " (" + oneLine(*reason) + ")"
}

func firstLine(text *string) string {
	if text == nil {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(*text), "\n")
	return line
}
