// Package leader elects one replica of many, by a session-level advisory lock in
// Postgres.
//
// # Who is authoritative
//
// Postgres is. A replica leads while its lock session, one connection that is
// never shared and never pooled, holds the leader's lock. Nothing else makes a
// leader: no lease, no row, no clock of a replica.
//
// # A term
//
// Winning the lock begins a term: a number that grows with every term of the
// fleet, and a context that ends when the term does. What only a leader may do
// goes through the [Term] and so through the lock session itself. If the session
// is gone, the statement fails: a leader that was given up, frozen or cut off
// cannot act any more, whatever it believes.
//
// # How leadership ends
//
// The session is closed: when a statement or heartbeat does not come back within its
// deadline, and, from the server's side, when the session has been silent for
// longer than idle_session_timeout. A leader that leaves unlocks, and keeps the session
// for its presence lock until its runs have ended. The leader's deadline is shorter than the
// server's timeout: a leader that is cut off knows it before another is elected.
//
// # Presence
//
// Every lock session also holds a shared presence lock, so that pg_locks tells
// who lives (view replicas). [Presence] is how the rest of the process learns
// that it can no longer prove to be alive: its runs are cancelled at once, since
// the leader hands them to others 1.5 seconds after the lock is gone.
//
// # Lock keys
//
// Two-int advisory locks with the class ids 7235001 (leader), 7235002 (presence),
// 7235003 (joining), 7235004 (migrating), 7235005 (proof of a session). The second
// int is a hash of the schema's name, except for 7235005.
package leader
