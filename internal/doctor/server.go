package doctor

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/sql"
)

// timeouts of the role that would break off what replicas do. The workers' transactions
// have an idle_in_transaction_session_timeout of their own, and the pool's sessions no
// idle_session_timeout.
var timeouts = []struct { //nolint:gochecknoglobals // a table that nobody changes
	name          string
	problem, warn time.Duration
	means         string
}{
	{"statement_timeout", 5 * time.Second, 10 * time.Minute, "a look through a large table takes longer, and the run fails"},
	{"transaction_timeout", 30 * time.Second, 10 * time.Minute, "a run in one transaction takes longer, and fails"},
	{"lock_timeout", 0, time.Second, "statements give up on a lock that is held for a moment; what is interrupted so is tried again"},
	{"idle_in_transaction_session_timeout", 0, time.Second, "a job that thinks between two statements loses its transaction, unless it is one of ours"},
	{"idle_session_timeout", 0, time.Second, "sessions behind a pooler end while they wait"},
}

// switches are settings that ought to have a value.
var switches = []struct { //nolint:gochecknoglobals // a table that nobody changes
	name, want string
	status     Status
	means, fix string
}{
	{"autovacuum", "on", StatusWarning, "autovacuum is off: what cleanups delete is never given back, and tables grow", "ALTER SYSTEM SET autovacuum = on; SELECT pg_reload_conf()"},
	{"track_counts", "on", StatusWarning, "track_counts is off: autovacuum does not learn what changes, and never runs", "ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf()"},
	{"fsync", "on", StatusProblem, "fsync is off: a crash of the machine destroys the database", "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()"},
	{"full_page_writes", "on", StatusProblem, "full_page_writes is off: a crash of the machine may destroy the database", "ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf()"},
	{"synchronous_commit", "on", StatusNote, "synchronous_commit is %s: after a crash, what was committed last may be missing; runs whose end is lost run again", "ALTER ROLE {role} SET synchronous_commit = on"},
	{"default_transaction_isolation", "read committed", StatusWarning, "default_transaction_isolation is %s: replicas begin their own transactions as read committed, the functions that operators call do not", "ALTER ROLE {role} SET default_transaction_isolation = 'read committed'"},
}

const (
	snapshotOld = 5 * time.Minute
	// slotOld is in transactions: about what a busy day brings.
	slotOld = 10_000_000
	// fullShare of the connections in use is worth a warning.
	fullShare = 0.9
)

// server makes the checks of the server's settings and of what goes on in it.
func (e *examination) server(ctx context.Context) {
	if !e.reachable() {
		e.skip(groupServer, noConnection, "timeouts", "settings", "connections", "visibility", "snapshots", "client_check")
		return
	}
	e.readSettings(ctx)
	if e.settings != nil {
		e.timeouts()
		e.switches()
	}
	e.capacity(ctx)
	e.snapshots(ctx)
	e.clientCheck(ctx)
}

func (e *examination) readSettings(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var names []string
	for _, t := range timeouts {
		names = append(names, t.name)
	}
	for _, s := range switches {
		names = append(names, s.name)
	}
	settings, err := e.statements.DoctorSettings(ctx, e.pool, names)
	if err != nil {
		e.failed(groupServer, "settings", err)
		return
	}
	e.settings = settings
}

func (e *examination) timeouts() {
	fine := true
	for _, t := range timeouts {
		setting, ok := e.settings[t.name]
		milliseconds, err := strconv.ParseInt(setting.Setting, 10, 64)
		value := time.Duration(milliseconds) * time.Millisecond
		if !ok || err != nil || value == 0 || value >= t.warn {
			continue
		}
		fine = false
		status := StatusWarning
		if value < t.problem {
			status = StatusProblem
		}
		e.addOf(groupServer, "timeouts", t.name, status, fmt.Sprintf("%s is %v (set by: %s): %s", t.name, value, setting.Source, t.means)).
			fix(e.resetting(setting, t.name, "0"))
	}
	if fine {
		e.add(groupServer, "timeouts", StatusOK, "no timeout of the role is too short for a run")
	}
}

// resetting is the SQL that gives the role another value of a setting.
func (e *examination) resetting(setting sql.DoctorSetting, name, value string) string {
	if setting.Source == "client" {
		return "take " + name + " out of the connection string, or PGOPTIONS"
	}
	return fmt.Sprintf("ALTER ROLE %s IN DATABASE %s SET %s = %s", quote(e.session.Role), quote(e.session.Database), name, literal(value))
}

func (e *examination) switches() {
	fine := true
	for _, s := range switches {
		setting, ok := e.settings[s.name]
		if !ok || setting.Setting == s.want || s.name == "synchronous_commit" && setting.Setting != "off" && setting.Setting != "local" {
			continue
		}
		fine = false
		means := s.means
		if strings.Contains(means, "%s") {
			means = fmt.Sprintf(means, setting.Setting)
		}
		fix := strings.ReplaceAll(s.fix, "{role}", quote(e.session.Role))
		if setting.Source == "command line" {
			fix = "take " + s.name + " out of the server's command line, and restart it"
		}
		e.addOf(groupServer, "settings", s.name, s.status, means).fix(fix)
	}
	if fine {
		e.add(groupServer, "settings", StatusOK, "autovacuum and durability are on")
	}
}

// capacity compares the connections that replicas need with those that there are.
func (e *examination) capacity(ctx context.Context) {
	var c sql.DoctorCapacity
	var replicas []sql.ReplicaRow
	err := e.read(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		c, err = e.statements.DoctorCapacity(ctx, tx)
		if err == nil && e.maySchema {
			replicas, err = e.statements.ListReplicas(ctx, tx)
		}
		return err
	})
	if err != nil {
		e.failed(groupServer, "connections", err)
		return
	}
	e.report.add(e.connectionsCheck(c, len(replicas)))
	if c.SeesAll || c.IsSuperuser {
		e.add(groupServer, "visibility", StatusOK, "the role sees the sessions of others")
		return
	}
	e.add(groupServer, "visibility", StatusNote, "the role sees nothing of the sessions of other roles: who holds a lock, or an old snapshot, may be left out").
		fix(fmt.Sprintf("GRANT pg_read_all_stats TO %s", quote(e.session.Role)))
}

// perReplica is what a replica needs beside a connection for each run: the lock session,
// the listener, and four for River and reports of progress.
const perReplica = 6

// perListener is what one that serves HTTP needs besides: two for pages and the API, two
// for what asks whether the database answers and the fleet is ready, and two for River UI.
const perListener = 6

func (e *examination) connectionsCheck(c sql.DoctorCapacity, replicas int) Check {
	check := Check{Group: groupServer, Name: "connections", Status: StatusOK}
	// One more than live: a deploy starts the new one before it stops the old.
	each := e.config.MaxWorkers + perReplica
	if e.listens {
		each += perListener
	}
	need := (replicas + 1) * each
	limit, by := c.MaxConnections, "max_connections"
	if !c.IsSuperuser {
		limit -= c.Reserved
	}
	if c.RoleLimit >= 0 && c.RoleLimit < limit {
		limit, by = c.RoleLimit, "the role's CONNECTION LIMIT"
	}
	if c.DatabaseLimit >= 0 && c.DatabaseLimit < limit {
		limit, by = c.DatabaseLimit, "the database's CONNECTION LIMIT"
	}
	others := c.Used - c.UsedByUs
	free := limit - others
	check.Found = fmt.Sprintf("%s and one more during a deploy need up to %d connections; %s leaves %d, others use %d of the server",
		plural(replicas, "living replica"), need, by, limit, others)
	switch {
	case need > limit:
		check.Status = StatusProblem
	case need > free || float64(c.Used) > fullShare*float64(c.MaxConnections-c.Reserved):
		check.Status = StatusWarning
	default:
		return check
	}
	check.Fix = fmt.Sprintf("lower max_workers (now %d), or: ALTER SYSTEM SET max_connections = %d, and restart the server", e.config.MaxWorkers, roundUp(others+need+c.Reserved))
	switch by {
	case "the role's CONNECTION LIMIT":
		check.Fix = fmt.Sprintf("ALTER ROLE %s CONNECTION LIMIT %d", quote(e.session.Role), roundUp(need))
	case "the database's CONNECTION LIMIT":
		check.Fix = fmt.Sprintf("ALTER DATABASE %s CONNECTION LIMIT %d", quote(e.session.Database), roundUp(others+need))
	}
	return check
}

func roundUp(n int) int { return (n + 49) / 50 * 50 }

// snapshots looks for what keeps dead rows.
func (e *examination) snapshots(ctx context.Context) {
	var held []sql.DoctorSnapshot
	var slots []sql.DoctorSlot
	err := e.read(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		if held, err = e.statements.DoctorOldSnapshots(ctx, tx, snapshotOld); err != nil {
			return err
		}
		slots, err = e.statements.DoctorOldSlots(ctx, tx, slotOld)
		return err
	})
	if err != nil {
		e.failed(groupServer, "snapshots", err)
		return
	}
	for _, h := range held {
		text := fmt.Sprintf("has been open for %s: rows that are deleted meanwhile stay on the disk, and cleanups get slow", about(h.Age))
		if h.What == "prepared" {
			e.addOf(groupServer, "snapshots", h.ID, StatusWarning, fmt.Sprintf("the prepared transaction %q, %s, %s", h.ID, h.Who, text)).
				fix("ROLLBACK PREPARED " + literal(h.ID) + ", or COMMIT PREPARED, by whoever knows which")
			continue
		}
		e.addOf(groupServer, "snapshots", h.ID, StatusWarning, fmt.Sprintf("a transaction of %s, pid %s, %s", h.Who, h.ID, text)).
			fix("SELECT pg_terminate_backend(" + h.ID + "), if nobody needs it")
	}
	for _, s := range slots {
		fix := "SELECT pg_drop_replication_slot(" + literal(s.Name) + "), if its consumer is gone for good"
		if s.What == "standby" {
			fix = "end the long query on the standby, or set hot_standby_feedback = off there"
		}
		e.addOf(groupServer, "snapshots", s.Name, StatusWarning, fmt.Sprintf("the %s %s keeps what %d transactions have left behind", s.What, s.Name, s.Age)).fix(fix)
	}
	if len(held) == 0 && len(slots) == 0 {
		e.add(groupServer, "snapshots", StatusOK, "no transaction or slot keeps dead rows for long")
	}
}

func (e *examination) clientCheck(ctx context.Context) {
	err := e.read(ctx, func(ctx context.Context, tx pgx.Tx) error { return e.statements.DoctorCanCheckClients(ctx, tx) })
	if err != nil {
		e.add(groupServer, "client_check", StatusNote, "the server's system cannot tell during a statement that its client is gone (client_connection_check_interval): what a killed replica had under way goes on to its end")
		return
	}
	e.add(groupServer, "client_check", StatusOK, "the server notices during a statement that its client is gone")
}

// withoutAutovacuum looks for tables that autovacuum leaves alone.
func (e *examination) withoutAutovacuum(ctx context.Context, tables []string) {
	for _, need := range needs {
		if strings.Contains(need.privileges, "INSERT") {
			tables = append(tables, quote(e.config.Schema)+"."+need.table)
		}
	}
	slices.Sort(tables)
	var off []string
	err := e.read(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		off, err = e.statements.DoctorWithoutAutovacuum(ctx, tx, slices.Compact(tables))
		return err
	})
	if err != nil {
		e.failed(groupTables, "autovacuum", err)
		return
	}
	for _, table := range off {
		e.addOf(groupTables, "autovacuum", table, StatusWarning, "autovacuum is off for table "+table+": what is deleted there is never given back").
			fix("ALTER TABLE " + table + " RESET (autovacuum_enabled)")
	}
	if len(off) == 0 {
		e.add(groupTables, "autovacuum", StatusOK, "autovacuum is on for every table that replicas change")
	}
}
