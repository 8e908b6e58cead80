package sql

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// BackendPID reads the process id of the server process behind a connection.
func (s *Statements) BackendPID(ctx context.Context, db Querier) (int32, error) {
	var pid int32
	if err := db.QueryRow(ctx, s.Text("backend_pid")).Scan(&pid); err != nil {
		return 0, fmt.Errorf("read the backend's pid: %w", err)
	}
	return pid, nil
}

// Setting is a server parameter and its value.
type Setting struct{ Name, Value string }

// SetSettings sets server parameters for the session, all of them or none.
func (s *Statements) SetSettings(ctx context.Context, db Querier, settings ...Setting) error {
	names, values := make([]string, len(settings)), make([]string, len(settings))
	for i, setting := range settings {
		names[i], values[i] = setting.Name, setting.Value
	}
	if _, err := db.Exec(ctx, s.Text("set_settings"), pgx.NamedArgs{"names": names, "values": values}); err != nil {
		return fmt.Errorf("set %v for the session: %w", names, err)
	}
	return nil
}

// SetSettingsSeparately sets server parameters for the session. Those that the
// server refuses it returns; the others hold all the same. It fails if the session
// is lost.
func (s *Statements) SetSettingsSeparately(ctx context.Context, conn *pgx.Conn, settings ...Setting) (refused []error, err error) {
	if s.SetSettings(ctx, conn, settings...) == nil {
		return nil, nil
	}
	for _, setting := range settings {
		if err := s.SetSettings(ctx, conn, setting); err != nil {
			if conn.IsClosed() {
				return nil, err
			}
			refused = append(refused, err)
		}
	}
	return refused, nil
}

// ProbeLock takes the session's proof lock and returns the backend's pid.
func (s *Statements) ProbeLock(ctx context.Context, db Querier) (int32, error) {
	var locked bool
	var pid int32
	if err := db.QueryRow(ctx, s.Text("probe_lock")).Scan(&locked, &pid); err != nil {
		return 0, fmt.Errorf("take the proof lock: %w", err)
	}
	return pid, nil
}

// ProbeHeld says whether the session still holds its proof lock, and returns the
// backend's pid.
func (s *Statements) ProbeHeld(ctx context.Context, db Querier) (bool, int32, error) {
	var held bool
	var pid int32
	if err := db.QueryRow(ctx, s.Text("probe_held")).Scan(&held, &pid); err != nil {
		return false, 0, fmt.Errorf("look for the proof lock: %w", err)
	}
	return held, pid, nil
}

// TakeMark takes a lock that tells this database from any other.
func (s *Statements) TakeMark(ctx context.Context, db Querier, mark int32) error {
	if _, err := db.Exec(ctx, s.Text("take_mark"), pgx.NamedArgs{"mark": mark}); err != nil {
		return fmt.Errorf("mark the database: %w", err)
	}
	return nil
}

// SeeMark says whether the lock of [Statements.TakeMark] is held in this database.
func (s *Statements) SeeMark(ctx context.Context, db Querier, mark int32) (bool, error) {
	var seen bool
	if err := db.QueryRow(ctx, s.Text("see_mark"), pgx.NamedArgs{"mark": mark}).Scan(&seen); err != nil {
		return false, fmt.Errorf("look for the mark of the database: %w", err)
	}
	return seen, nil
}

// ListenWake makes the session hear what wakes the leader.
func (s *Statements) ListenWake(ctx context.Context, db Querier) error {
	if _, err := db.Exec(ctx, s.Text("listen_wake")); err != nil {
		return fmt.Errorf("listen for what wakes the leader: %w", err)
	}
	return nil
}

// JoinFleet takes the session's presence lock. With isStart, a fleet begins if no
// other replica is present: its bootstrap jobs become due.
func (s *Statements) JoinFleet(ctx context.Context, db Querier, isStart bool) error {
	if _, err := db.Exec(ctx, s.Text("join_fleet"), pgx.NamedArgs{"is_start": isStart}); err != nil {
		return fmt.Errorf("take the presence lock: %w", err)
	}
	return nil
}

// WaitForLeaderLock waits for the leader's lock for at most 900 ms. False does
// not prove that the session does not hold it: ask again on the same session, or
// close it.
func (s *Statements) WaitForLeaderLock(ctx context.Context, db Querier) (bool, error) {
	var acquired bool
	if err := db.QueryRow(ctx, s.Text("wait_for_leader_lock")).Scan(&acquired); err != nil {
		return false, fmt.Errorf("wait for the leader's lock: %w", err)
	}
	return acquired, nil
}

// ReleaseLeaderLock gives the leader's lock up, if the session holds it.
func (s *Statements) ReleaseLeaderLock(ctx context.Context, db Querier) error {
	for {
		tag, err := db.Exec(ctx, s.Text("release_leader_lock"))
		if err != nil {
			return fmt.Errorf("give up the leader's lock: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return nil
		}
	}
}

// PlanAnew makes the transaction plan each statement for its arguments.
func (s *Statements) PlanAnew(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, s.Text("plan_anew")); err != nil {
		return fmt.Errorf("plan the transaction's statements anew: %w", err)
	}
	return nil
}

// BeginTerm records a new term on the session that holds the lock.
func (s *Statements) BeginTerm(ctx context.Context, db Querier, replicaID string) (epoch int64, now time.Time, err error) {
	err = db.QueryRow(ctx, s.Text("begin_term"), pgx.NamedArgs{"replica_id": replicaID}).Scan(&epoch, &now)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("begin a term: %w", err)
	}
	return epoch, now, nil
}

// Pulse is what a heartbeat of the leader reads.
type Pulse struct {
	// Now is the database's clock when the heartbeat reached it.
	Now time.Time
	// Alive lists the replicas that hold a presence lock.
	Alive []string
	// Working lists the replicas that River's running jobs name.
	Working []string
	// Promotable says that River's jobs wait to become available.
	Promotable bool
	// Nearest is the earliest planned or asked for run of any job; nil if there is
	// none.
	Nearest *time.Time
	// Unplanned says that a job that may run has no planned run.
	Unplanned bool
	// Undecided says that ticks are to be accounted for that will not be decided.
	Undecided bool
	// Requested says that somebody asked for a run whose time has come.
	Requested bool
	// Waiting says that there are runs in line.
	Waiting bool
	// Backfill says that somebody asked for one.
	Backfill bool
	// RolloutOver says that a job's rollout is over, and that nobody has told so.
	RolloutOver bool
}

// Heartbeat proves that the session lives and reads the state that the leader
// acts on.
func (s *Statements) Heartbeat(ctx context.Context, db Querier) (Pulse, error) {
	rows, err := db.Query(ctx, s.Text("heartbeat"))
	if err != nil {
		return Pulse{}, fmt.Errorf("heartbeat: %w", err)
	}
	pulse, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Pulse])
	if err != nil {
		return Pulse{}, fmt.Errorf("heartbeat: %w", err)
	}
	return pulse, nil
}
