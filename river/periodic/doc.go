// Package periodic turns schedules that are stored in Postgres into River jobs.
//
// # Who decides
//
// The leader, in its term, on its lock session. Its registry and configuration
// are in force: it writes them when the term begins (see [Declaration]). What
// operators set by SQL (pauses, schedule_override) is never overwritten, and a
// leader that declares the same as the one before changes nothing at all. Time is
// the database's clock.
//
// # What happens to a tick
//
// One transaction decides every tick that is due: it writes a row of the ledger
// for each, inserts River's job for those that are to run, and moves next_run on.
// All or nothing; after an error the same ticks are decided again. So a tick is
// enqueued at most once, and one that is not enqueued is in the ledger with the
// reason. Which ticks are run, after an outage, the job's catch-up policy says
// (decide.go); what becomes of a run while another one is unfinished, its overlap
// policy (place). Runs that wait are in line: status waiting.
//
// A job that is paused, disabled or not registered has no next_run: nothing piles
// up, and it goes on from the moment when it may run again. A change of a job takes
// its plan back; ticks that it leaves undecided are noted by a trigger as a span,
// and counted into the ledger when the job is planned anew (plan.go).
//
// # Runs asked for
//
// run_now() writes a row with status requested and notifies; run_at() one with
// status scheduled; backfill() a request that the leader turns into a line of runs.
// The leader decides them on the same path, by the same overlap policy (asked.go).
// Only the leader inserts River jobs.
//
// # River's maintenance
//
// River's clients elect no leader here. Promotion of retries, deletion of old rows
// and the handing back of a dead replica's jobs are done by our leader, in
// transactions on the lock session: fenced like the ticks.
package periodic
