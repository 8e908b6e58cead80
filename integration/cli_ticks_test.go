package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
)

// ticking starts a replica none of whose jobs runs by itself in the midst of a test.
func ticking(t *testing.T) (*testdb.DB, shell, *process) {
	t.Helper()
	db := testdb.New(t, seeded)
	shell := shellOf(t, db)
	return db, shell, shell.serve(t, db, "--config=yearly.yaml", "--bootstrap-jobs=", "--timezone=Europe/Berlin")
}

// hold keeps the runs of cleanup_inactive_sessions from going on until the test lets
// them.
func hold(t *testing.T, db *testdb.DB) (release func()) {
	t.Helper()
	conn := db.Conn(t)
	_, err := conn.Exec(t.Context(), "BEGIN; LOCK TABLE user_sessions IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	return func() {
		t.Helper()
		_, err := conn.Exec(t.Context(), "ROLLBACK")
		require.NoError(t, err)
	}
}

// held asks for a run that does not end, and returns its id.
func (s shell) held(t *testing.T, db *testdb.DB) int {
	t.Helper()
	id := int(s.object(t, "run", "cleanup_inactive_sessions")["id"].(float64))
	waitRunIs(t, db, id, "running")
	return id
}

func waitRunIs(t *testing.T, db *testdb.DB, id int, status string) {
	t.Helper()
	waitValue(t, db, waitCLI, status, "SELECT status FROM scheduler.runs WHERE id = $1", id)
}

// timeOf is a time of JSON.
func timeOf(t *testing.T, text any) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text.(string))
	require.NoError(t, err)
	return at
}

// fail calls the program with what fails after something was done.
func (s shell) fail(t *testing.T, args ...string) *process {
	t.Helper()
	p := s.call(t, args...)
	require.Equal(t, 1, p.code(t), "%v: %s%s", args, p.stdout, p.stderr)
	return p
}

func TestCLITicksRefuseAMissingSchema(t *testing.T) {
	t.Parallel()
	shell := shellOf(t, testdb.New(t))
	for _, command := range []string{
		"run x --at +1h", "cancel 1", "cancel --backfill 1", "pause --all --reason y", "resume --all", "reschedule x @daily",
		"backfill x --from 2025-03-01", "backfills", "agenda",
	} {
		require.Contains(t, shell.refuse(t, strings.Fields(command)...), `run "scheduler migrate up", or start with --migrate`, command)
	}
}

func TestCLITicksRefuseWhatIsUnknown(t *testing.T) {
	t.Parallel()
	shell := shellOf(t, testdb.New(t, migrated))
	for _, command := range []string{
		"run nope --at +1h", "reschedule nope @daily", "reschedule nope --reset", "backfill nope --from 2025-03-01", "agenda --job nope", "resume nope",
	} {
		require.Contains(t, shell.refuse(t, strings.Fields(command)...), `job "nope": unknown job; list them with: scheduler jobs`, command)
	}
	require.Contains(t, shell.refuse(t, "cancel", "99"), "run 99: run not found; list them with: scheduler runs")
	require.Contains(t, shell.refuse(t, "cancel", "--backfill", "99"), "backfill 99: backfill not found; list them with: scheduler backfills")
	require.Contains(t, shell.refuse(t, "backfills", "99"), "backfill 99: backfill not found; list them with: scheduler backfills")
	require.Equal(t, "[]\n", shell.succeed(t, "backfills", "--json"))
	require.Contains(t, shell.succeed(t, "backfills"), "There are no backfills.")
	require.Equal(t, "[]\n", shell.succeed(t, "agenda", "--json"))
	p := shell.call(t, "agenda", "--for", "1h")
	require.Regexp(t, `^Nothing runs until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\.\n$`, p.stdout.String())
	require.Equal(t, "scheduler: nobody leads; nothing is run until a replica does: scheduler serve\n", p.stderr.String())
}

func TestCLIRunAt(t *testing.T) {
	t.Parallel()
	db, shell, replica := ticking(t)

	said := shell.succeed(t, "run", "database_cleanup", "--at", "+90m", "--param", "log_retention_days=1", "--dry-run")
	require.Regexp(t, `^run 1 of database_cleanup: scheduled for \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(in 1h(30m|29m)\); take it back with: scheduler cancel 1\n$`, said)
	run := shell.object(t, "run", "database_cleanup", "--at", "2099-07-01 04:30")
	require.Equal(t, "scheduled", run["status"])
	require.Equal(t, "postgres", run["requested_by"])
	require.Equal(t, "2099-07-01T02:30:00Z", timeOf(t, run["tick"]).UTC().Format(time.RFC3339), "in the job's time zone")
	require.Len(t, shell.list(t, "runs", "--status", "scheduled"), 2)
	tokyo := shell
	tokyo.variables = append(slices.Clone(shell.variables), "TZ=Asia/Tokyo")
	require.Regexp(t, `(?m)^2 +database_cleanup +2099-07-01 11:30:00 JST \(in \d+d\) `, tokyo.succeed(t, "runs"))
	require.Equal(t, run["tick"], tokyo.list(t, "runs", "--status", "scheduled")[0]["tick"], "JSON is the same everywhere")
	require.Regexp(t, `(?m)^Next run +\S+ 03:00:00 CES?T \(in \w+\)$`, tokyo.succeed(t, "job", "database_cleanup"))
	require.Regexp(t, `(?m)^1 +database_cleanup +\S+ \S+ UTC \(in 1h\w+\) +manual +scheduled +.* dry run; asked for by postgres$`, shell.succeed(t, "runs"))

	// Only once it has ended.
	p := shell.call(t, "run", "cleanup_empty_contexts", "--at", "+4s", "--wait")
	require.Equal(t, 0, p.code(t), p.stderr)
	require.Regexp(t, `^run 3 of cleanup_empty_contexts: success, 410 rows`, p.stdout.String())
	require.Regexp(t, `(?m)^run 3 of cleanup_empty_contexts: scheduled for \d{4}-`, p.stderr.String())
	require.True(t, scalar[bool](t, db, "SELECT started_at >= tick FROM scheduler.runs WHERE id = 3"))

	for _, at := range []string{"2025-03-01T00:00:00Z", "2025-03-01", "2201-01-01"} {
		require.Contains(t, shell.refuse(t, "run", "database_cleanup", "--at", at), "the time must lie in the future, before the year 2200", at)
	}
	require.Contains(t, shell.refuse(t, "run", "database_cleanup", "--at", "2025-03-30 02:30"), `--at: "2025-03-30 02:30" does not exist in Europe/Berlin`)
	require.Contains(t, shell.refuse(t, "run", "database_cleanup", "--at", "+1h", "--param", "log_retention_days=0"), "is 0, must be at least 1")
	require.EqualValues(t, 3, scalar[int64](t, db, "SELECT count(*) FROM scheduler.runs"), "what was refused is not in the ledger")

	// The pause may be over by then.
	shell.succeed(t, "pause", "database_cleanup", "--reason", "a backup")
	p = shell.call(t, "run", "database_cleanup", "--at", "+1h")
	require.Equal(t, 0, p.code(t))
	require.Regexp(t, `^scheduler: run 4 is skipped if that is still so at its time: job "database_cleanup" is paused since .* by postgres: a backup; let it run again with: scheduler resume database_cleanup\n$`, p.stderr.String())
	replica.end(t)
}

func TestCLICancel(t *testing.T) {
	t.Parallel()
	db, shell, replica := ticking(t)
	release := hold(t, db)
	running := shell.held(t, db)
	for range 3 {
		shell.succeed(t, "run", "database_cleanup", "--at", "+1d")
	}

	require.Equal(t, "run 2 of database_cleanup is cancelled\n", shell.succeed(t, "cancel", "2", "--reason", "a mistake"))
	require.Equal(t, "cancelled by postgres: a mistake", scalar[string](t, db, "SELECT reason FROM scheduler.runs WHERE id = 2"))
	require.Contains(t, shell.refuse(t, "cancel", "2"), "run 2 has ended: cancelled")
	p := shell.call(t, "cancel", "2", "99")
	require.Equal(t, 2, p.code(t), "nothing was changed")
	require.Contains(t, p.stderr.String(), "run 2 has ended: cancelled. Only a run that has not ended can be cancelled; run 99: run not found")
	require.Contains(t, shell.call(t, "cancel", "3", "x").stderr.String(), `"x" is not the id of a run`)
	waitRunIs(t, db, 3, "scheduled")

	p = shell.fail(t, "cancel", "3", "2", fmt.Sprint(running), "3")
	require.Equal(t, fmt.Sprintf("run 3 of database_cleanup is cancelled\nrun %d of cleanup_inactive_sessions is cancelled\n", running), p.stdout.String())
	require.Contains(t, p.stderr.String(), "scheduler: 1 of 3 runs were not cancelled: run 2 has ended: cancelled")

	p = shell.fail(t, "cancel", "4", "2", "99", "--json")
	var results []map[string]any
	require.NoError(t, json.Unmarshal([]byte(p.stdout.String()), &results))
	require.Len(t, results, 3)
	require.Equal(t, map[string]any{"run_id": 4.0, "cancelled": true, "status": "cancelled", "error": nil}, results[0])
	require.Equal(t, false, results[1]["cancelled"])
	require.Equal(t, "cancelled", results[1]["status"])
	require.Contains(t, results[1]["error"], "has ended")
	require.Nil(t, results[2]["status"])
	release()
	replica.end(t)
}

func TestCLIPauseAndResume(t *testing.T) {
	t.Parallel()
	db, shell, replica := ticking(t)
	release := hold(t, db)

	running := shell.held(t, db)
	require.Equal(t, fmt.Sprintf("cleanup_inactive_sessions is paused: why\nrun %d of cleanup_inactive_sessions is running and goes on\nStop what goes on with: scheduler cancel %d\n", running, running),
		shell.succeed(t, "pause", "cleanup_inactive_sessions", "--reason", "why"))
	paused := shell.object(t, "pause", "cleanup_inactive_sessions", "--reason", "why")
	require.Equal(t, "paused", paused["state"])
	require.Equal(t, []any{float64(running)}, paused["unfinished_runs"])
	require.Regexp(t, `^cleanup_inactive_sessions was paused already, since \S+ \S+ UTC \(.*\) by postgres: why\n$`, shell.succeed(t, "pause", "cleanup_inactive_sessions", "--reason", "now", "--cancel-running"))
	waitRunIs(t, db, running, "cancelled")
	require.Regexp(t, `^cleanup_inactive_sessions is active; its next run is at \S+ 00:00:00 CET \(in \w+\)\n$`, shell.succeed(t, "resume", "cleanup_inactive_sessions"))

	// The whole scheduler, beside a job that is paused by itself.
	running = shell.held(t, db)
	shell.succeed(t, "pause", "database_cleanup", "--reason", "a backup")
	require.Equal(t, fmt.Sprintf("the scheduler is paused: a move\nrun %d of cleanup_inactive_sessions is running and goes on\nStop what goes on with: scheduler cancel %d\n", running, running),
		shell.succeed(t, "pause", "--all", "--reason", "a move"))
	state := shell.object(t, "pause", "--all", "--reason", "a move")
	require.ElementsMatch(t, []string{"paused_at", "paused_by", "paused_reason", "disabled_at", "unfinished_runs"}, keysOf(state))
	require.Equal(t, []any{"postgres", "a move", []any{float64(running)}}, []any{state["paused_by"], state["paused_reason"], state["unfinished_runs"]})

	table := shell.succeed(t, "jobs")
	require.Equal(t, 1, strings.Count(table, ": a move"), table)
	require.Regexp(t, `(?m)^The scheduler is paused since \S+ \S+ UTC \(.*\) by postgres: a move; let it run again with: scheduler resume --all$`, table)
	require.Regexp(t, `(?m)^database_cleanup is paused since .* by postgres: a backup$`, table)
	require.Contains(t, shell.succeed(t, "job", "cleanup_empty_contexts"), "\nIt is paused with the whole scheduler, since ")
	require.Contains(t, shell.succeed(t, "agenda"), "\nThe scheduler is paused since ")

	require.Regexp(t, `^scheduler: the scheduler is paused since .* by postgres: a move; let it run again with: scheduler resume --all\n$`, shell.refuse(t, "run", "cleanup_empty_contexts"))
	require.Contains(t, shell.refuse(t, "run", "database_cleanup"), "let it run again with: scheduler resume database_cleanup\n")
	require.Contains(t, shell.refuse(t, "backfill", "cleanup_empty_contexts", "--from", "2025-03-01"), "let it run again with: scheduler resume --all\n")
	require.Regexp(t, `job "cleanup_empty_contexts" cannot be resumed: the scheduler is paused since .*; let it run again with: scheduler resume --all\n$`, shell.refuse(t, "resume", "cleanup_empty_contexts"))

	require.Regexp(t, `^the scheduler was paused already, since .* by postgres: a move\n$`, shell.succeed(t, "pause", "--all", "--reason", "now", "--cancel-running"))
	waitRunIs(t, db, running, "cancelled")
	require.Equal(t, "the scheduler is resumed\ndatabase_cleanup stays paused: a backup; let it run again with: scheduler resume database_cleanup\n", shell.succeed(t, "resume", "--all"))
	require.Equal(t, map[string]any{"paused_at": nil, "paused_by": nil, "paused_reason": nil, "disabled_at": nil}, shell.object(t, "resume", "--all"))
	require.NotContains(t, shell.succeed(t, "jobs"), "The scheduler is paused")
	release()
	replica.end(t)
}

func TestCLIReschedule(t *testing.T) {
	t.Parallel()
	db, shell, replica := ticking(t)
	declared := shell.object(t, "job", "database_cleanup")["schedule"]

	said := shell.succeed(t, "reschedule", "database_cleanup", "30 2 * * *")
	require.Regexp(t, `^database_cleanup follows from now on: 30 2 \* \* \*  in Europe/Berlin\n\nNext ticks\n(  \d{4}-\S+ 02:30:00 CES?T \(in \w+\)\n){5}$`, said)
	job := shell.object(t, "reschedule", "database_cleanup", "@every 6h")
	require.Equal(t, "@every 6h", job["schedule"])
	require.Len(t, job["next_ticks"], 5)
	require.WithinDuration(t, timeOf(t, job["next_ticks"].([]any)[0]), timeOf(t, job["next_run"]), 0, "the leader has planned it")
	require.ElementsMatch(t, keysOf(shell.object(t, "job", "database_cleanup")), keysOf(job))

	require.Contains(t, shell.refuse(t, "reschedule", "database_cleanup", "0 25 * * *"), `cron text "0 25 * * *": hour: `)
	require.Equal(t, "@every 6h", shell.object(t, "job", "database_cleanup")["schedule"], "nothing was changed")
	text := shell.succeed(t, "job", "database_cleanup")
	require.Regexp(t, `(?m)^Override +@every 6h  set over the declared one; go back with: scheduler reschedule database_cleanup --reset$`, text)
	require.Regexp(t, `(?m)^Declared +0 0 3 \* \* \*$`, text)
	require.Contains(t, shell.succeed(t, "reschedule", "database_cleanup", "--reset"), fmt.Sprintf("database_cleanup follows the declared schedule again: %s  in Europe/Berlin\n", declared))
	require.Equal(t, declared, shell.object(t, "job", "database_cleanup")["schedule"])
	require.NotContains(t, shell.succeed(t, "job", "database_cleanup"), "Override")

	shell.succeed(t, "pause", "database_cleanup", "--reason", "a backup")
	require.Contains(t, shell.succeed(t, "reschedule", "database_cleanup", "@daily"), "\nNext ticks, once it is resumed\n")
	shell.succeed(t, "resume", "database_cleanup")

	// What somebody has set with SQL, and the leader cannot read.
	exec1(t, db, "UPDATE scheduler.scheduled_jobs SET schedule_override = 'now and then' WHERE job_name = 'database_cleanup'")
	waitValue(t, db, waitCLI, true, "SELECT problem IS NOT NULL FROM scheduler.jobs WHERE job_name = 'database_cleanup'")
	text = shell.succeed(t, "job", "database_cleanup")
	require.Contains(t, text, "It has a problem: ")
	require.Regexp(t, `(?m)^Override +now and then  `, text)
	require.Contains(t, text, "@daily  in Europe/Berlin", "the schedule in force")
	require.Len(t, shell.object(t, "job", "database_cleanup")["next_ticks"], 5)

	replica.end(t)
	p := shell.call(t, "reschedule", "database_cleanup", "@weekly")
	require.Equal(t, 0, p.code(t))
	require.Equal(t, "scheduler: nobody leads; the new schedule waits until a replica does: scheduler serve\n", p.stderr.String())
	require.Contains(t, p.stdout.String(), "database_cleanup follows from now on: @weekly")
}

func TestCLIBackfill(t *testing.T) {
	t.Parallel()
	db, shell, replica := ticking(t)

	// At three in the morning of four days in Berlin.
	p := shell.call(t, "backfill", "database_cleanup", "--from", "2025-03-01", "--to", "2025-03-04 03:00", "--dry-run", "--wait")
	require.Equal(t, 0, p.code(t), p.stderr)
	require.Regexp(t, `^backfill 1 of database_cleanup, from \S+ \S+ UTC to \S+ \S+ UTC, dry run: 4 runs, 4 succeeded\n$`, p.stdout.String())
	require.Equal(t, []string{"2025-03-01 02:00:00", "2025-03-02 02:00:00", "2025-03-03 02:00:00", "2025-03-04 02:00:00"},
		scalar[[]string](t, db, "SELECT array_agg((tick AT TIME ZONE 'UTC')::text ORDER BY tick) FROM scheduler.runs WHERE backfill_id = 1 AND dry_run"))

	again := []string{"backfill", "database_cleanup", "--from", "2025-03-01", "--to", "2025-03-06", "--dry-run", "--limit", "1", "--param", "log_retention_days=7", "--wait"}
	said := shell.succeed(t, again...)
	require.Contains(t, said, ": 1 run, 1 succeeded\n4 ticks left out, since they have succeeded or are about to be run; --again includes those that have succeeded\n")
	require.NotContains(t, said, "beyond the limit")
	said = shell.succeed(t, append(again, "--again")...)
	require.Contains(t, said, ": 1 run, 1 succeeded\n4 ticks beyond the limit; ask for them in another backfill\n")
	require.EqualValues(t, 7, scalar[int64](t, db, "SELECT (parameters ->> 'log_retention_days')::bigint FROM scheduler.runs WHERE backfill_id = 3"))
	backfill := shell.object(t, append(again, "--again")...)
	require.ElementsMatch(t, columns(t, db, "backfills"), keysOf(backfill))
	require.Equal(t, []any{"done", 1.0, 1.0, 0.0, 4.0}, []any{backfill["status"], backfill["runs"], backfill["success"], backfill["left_out"], backfill["remaining"]})

	require.Contains(t, shell.succeed(t, "backfill", "database_cleanup", "--from", "2025-03-01T12:00:00Z", "--to", "2025-03-01T13:00:00Z"), ": 0 runs\nThe schedule has no tick between these times.\n")
	require.Contains(t, shell.refuse(t, "backfill", "database_cleanup", "--from", "2025-03-01", "--to", "2099-01-01"), "the later must not lie in the future")
	require.Contains(t, shell.refuse(t, "backfill", "database_cleanup", "--from", "2099-01-01"), "the earlier one first", "to now")
	require.Contains(t, shell.refuse(t, "backfill", "database_cleanup", "--from", "2025-03-01T02:00:00Z", "--to", "2025-03-01 02:30"), "the earlier one first", "in the job's time zone")
	require.Contains(t, shell.refuse(t, "backfill", "database_cleanup", "--from", "2025-03-30 02:30"), `--from: "2025-03-30 02:30" does not exist in Europe/Berlin`)
	require.Contains(t, shell.refuse(t, "backfill", "database_cleanup", "--from", "2025-03-01", "--param", "days=3"), `parameter "days": unknown`)
	require.EqualValues(t, 5, scalar[int64](t, db, "SELECT count(*) FROM scheduler.backfills"), "what was refused is not there")

	// The leader refuses.
	shell.succeed(t, "reschedule", "database_cleanup", "* * * * *")
	require.Contains(t, shell.refuse(t, "backfill", "database_cleanup", "--from", "2025-03-01", "--to", "2025-03-20"), "ticks to run, and at most 10000 at a time; set a limit")
	p = shell.call(t, "backfill", "database_cleanup", "--from", "2025-03-01", "--to", "2025-03-20", "--wait", "--json")
	require.Equal(t, 2, p.code(t))
	var refused map[string]any
	require.NoError(t, json.Unmarshal([]byte(p.stdout.String()), &refused))
	require.Equal(t, "refused", refused["status"])
	require.Contains(t, shell.succeed(t, "backfills", "7"), "backfill 7 of database_cleanup is refused: ")
	require.Regexp(t, `(?m)^7 +database_cleanup .* refused +0 +0 +0 +0 +postgres +job "database_cleanup": there are \d+ ticks`, shell.succeed(t, "backfills"))
	replica.end(t)
}

func TestCLIBackfillIsTakenBack(t *testing.T) {
	t.Parallel()
	db, shell, replica := ticking(t)
	release := hold(t, db)
	shell.succeed(t, "reschedule", "cleanup_inactive_sessions", "@daily")
	p := shell.call(t, "backfill", "cleanup_inactive_sessions", "--from", "2025-03-01", "--to", "2025-03-30")
	require.Equal(t, 0, p.code(t))
	require.Regexp(t, `^backfill 1 of cleanup_inactive_sessions, from .*: 30 runs\nSee how far it is with: scheduler backfills 1\nTake back what has not begun with: scheduler cancel --backfill 1\n$`, p.stdout.String())
	waitRunIs(t, db, 1, "running")

	list := shell.list(t, "backfills")
	require.Len(t, list, 1)
	require.ElementsMatch(t, columns(t, db, "backfills"), keysOf(list[0]))
	require.Equal(t, []any{"running", 30.0, 29.0, 1.0}, []any{list[0]["status"], list[0]["runs"], list[0]["waiting"], list[0]["working"]})
	require.Equal(t, list[0], shell.object(t, "backfills", "1"))
	require.Regexp(t, `(?m)^backfill 1 of cleanup_inactive_sessions: 0 of 30 runs ended, 1 being worked$`, shell.succeed(t, "backfills", "1"))
	require.Regexp(t, `(?m)^30 +cleanup_inactive_sessions .* backfill +waiting .* asked for by postgres; backfill 1; in line of a backfill$`, shell.succeed(t, "runs"))
	require.Regexp(t, `(?m)^- +- +cleanup_inactive_sessions +run 6, in line, asked for by postgres; 24 more after it$`, shell.succeed(t, "agenda", "--job", "cleanup_inactive_sessions"))

	// Somebody waits, while somebody else takes it back.
	waiting := shell.start(t, "backfill", "cleanup_inactive_sessions", "--from", "2025-04-01", "--to", "2025-04-10", "--wait")
	waiting.waitFor(t, waiting.stderr, "backfill 2 of cleanup_inactive_sessions: 0 of 10 runs ended\n")
	require.Equal(t, "backfill 1 of cleanup_inactive_sessions: 29 runs taken back; 1 run has begun: scheduler runs --backfill 1\n",
		shell.succeed(t, "cancel", "--backfill", "1", "--reason", "a mistake"))
	require.EqualValues(t, 29, scalar[int64](t, db, "SELECT count(*) FROM scheduler.runs WHERE reason = 'cancelled by postgres: a mistake'"))
	taken := shell.object(t, "cancel", "--backfill", "2")
	require.EqualValues(t, 10, taken["taken_back"])
	require.Subset(t, keysOf(taken), columns(t, db, "backfills"))
	require.Equal(t, 1, waiting.code(t))
	require.Contains(t, waiting.stdout.String(), ": 10 runs, 10 cancelled\n")
	require.Contains(t, waiting.stderr.String(), "scheduler: backfill 2 of cleanup_inactive_sessions: of 10 runs, 10 cancelled; see why with: scheduler runs --backfill 2\n")
	release()
	waitRunIs(t, db, 1, "success")
	replica.end(t)

	// Nobody leads.
	p = shell.call(t, "backfill", "cleanup_inactive_sessions", "--from", "2025-05-01")
	require.Equal(t, 0, p.code(t))
	require.Equal(t, "scheduler: nobody leads; backfill 3 waits until a replica does: scheduler serve\n", p.stderr.String())
	require.Contains(t, p.stdout.String(), ": requested, the leader has not decided yet\n")
	waiting = shell.start(t, "backfill", "cleanup_inactive_sessions", "--from", "2025-05-01", "--wait")
	waiting.waitFor(t, waiting.stderr, "nobody leads; backfill 4 waits")
	waiting.signal(t, syscall.SIGINT)
	require.Equal(t, 1, waiting.code(t))
	require.Contains(t, waiting.stderr.String(), "backfill 4 goes on, but is not waited for any more: ended by a signal: interrupt")
	require.Contains(t, shell.succeed(t, "cancel", "--backfill", "3"), "backfill 3 of cleanup_inactive_sessions: 0 runs taken back")
	require.Equal(t, "backfill 3 of cleanup_inactive_sessions was cancelled by postgres\n", shell.succeed(t, "backfills", "3"))
	said := shell.succeed(t, "backfills", "1")
	require.Contains(t, said, "\nIt was cancelled by postgres: a mistake\n")
	require.NotContains(t, said, "Take back")

	p = shell.call(t, "run", "database_cleanup")
	require.Equal(t, 0, p.code(t))
	require.Regexp(t, `^scheduler: nobody leads; run \d+ waits until a replica does: scheduler serve\n$`, p.stderr.String())
	p = shell.call(t, "run", "database_cleanup", "--at", "+1h")
	require.Regexp(t, `^scheduler: nobody leads; run \d+ waits until a replica does: scheduler serve\n$`, p.stderr.String())
	shell.succeed(t, "pause", "database_cleanup", "--reason", "a backup")
	table := shell.succeed(t, "agenda")
	require.Regexp(t, `(?m) run \d+, asked for by postgres; the job is paused: skipped if it still is then$`, table)
	require.Regexp(t, `(?m) run \d+, the leader has yet to decide, asked for by postgres; the job is paused: skipped$`, table)
	p = shell.call(t, "resume", "database_cleanup")
	require.Equal(t, 0, p.code(t))
	require.Equal(t, "scheduler: nobody leads; database_cleanup does not run until a replica does: scheduler serve\n", p.stderr.String())
	require.Equal(t, "database_cleanup is active\n", p.stdout.String())
}

func TestCLIAgenda(t *testing.T) {
	t.Parallel()
	db, shell, replica := ticking(t)
	shell.succeed(t, "run", "database_cleanup", "--at", "+3h")
	shell.succeed(t, "reschedule", "cleanup_inactive_sessions", "* * * * *")
	waitValue(t, db, waitCLI, true, "SELECT next_run IS NOT NULL FROM scheduler.jobs WHERE job_name = 'cleanup_inactive_sessions'")

	table := shell.succeed(t, "agenda")
	require.Regexp(t, `^TIME +IN +JOB +WHAT\n`, table)
	require.Regexp(t, `(?m)^\S+ \S+ UTC +(now|in \w+) +cleanup_inactive_sessions +14\d\d times until \d{4}-\S+ \S+ UTC$`, table)
	require.Regexp(t, `(?m)^\S+ \S+ UTC +in (3h|2h59m) +database_cleanup +run \d+, asked for by postgres$`, table)
	require.Regexp(t, `(?m)^\S+ \S+ UTC +in \w+ +database_cleanup +tick$`, table)

	entries := shell.list(t, "agenda", "--for", "7d", "--job", "database_cleanup")
	ticks := 0
	for _, entry := range entries {
		require.ElementsMatch(t, []string{"run_at", "job_name", "trigger", "status", "count", "last", "tick", "paused", "run_id", "requested_by"}, keysOf(entry))
		require.Equal(t, "database_cleanup", entry["job_name"])
		if entry["status"] == "planned" {
			ticks++
		}
	}
	require.InDelta(t, 7, ticks, 1, "the clock may be set meanwhile")
	require.Len(t, entries, ticks+1)
	require.Empty(t, shell.list(t, "agenda", "--for", "1s", "--job", "database_cleanup"))
	replica.end(t)
}

// Relative times are by the database's clock, not by this machine's.
func TestCLITellsTheDatabasesTime(t *testing.T) {
	t.Parallel()
	server := testdb.Start(t, testdb.Options{Clock: true})
	server.SetClock(t, 48*time.Hour)
	db := testdb.New(t, testdb.On(server), seeded)
	shell := shellOf(t, db)
	replica := shell.serve(t, db, "--config=yearly.yaml", "--bootstrap-jobs=")
	clock := databaseClock(t, db)

	require.WithinRange(t, timeOf(t, shell.object(t, "job", "database_cleanup")["next_ticks"].([]any)[0]), clock, clock.Add(25*time.Hour))
	require.Regexp(t, `(?m)^database_cleanup +active .* \(in \d+[hms]\w*\) `, shell.succeed(t, "jobs"))
	require.Contains(t, shell.succeed(t, "run", "database_cleanup", "--at", "+90m"), "(in 1h")
	require.Regexp(t, `(?m) in (1h30m|1h29m) +database_cleanup +run 1,`, shell.succeed(t, "agenda"))
	require.Regexp(t, `(?m) \(in 1h\w+\) +manual +scheduled `, shell.succeed(t, "runs"))
	require.Regexp(t, `\((now|\w+ ago)\)`, shell.succeed(t, "leader"))
	require.NotContains(t, shell.succeed(t, "leader"), "(in ")
	replica.end(t)
}

func TestCLIJobShowsItsCatchUp(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	shell := shellOf(t, db)
	config := "bootstrap_jobs: []\n" + yearly + "  - name: database_cleanup\n    catch_up: all\n    catch_up_limit: 7\n    catch_up_max_age: 36h\n"
	require.NoError(t, os.WriteFile(filepath.Join(shell.folder, "c.yaml"), []byte(config), 0o600))
	replica := shell.serve(t, db, "--config=c.yaml")
	require.Regexp(t, `(?m)^Catch-up +all, 7 ticks at most, none older than 36h$`, shell.succeed(t, "job", "database_cleanup"))
	require.Regexp(t, `(?m)^Catch-up +latest$`, shell.succeed(t, "job", "cleanup_empty_contexts"))
	job := shell.object(t, "job", "database_cleanup")
	require.Equal(t, []any{7.0, 129600.0}, []any{job["catch_up_limit"], job["catch_up_max_age"]})
	replica.end(t)
}

func TestCLISaysThatTheSchedulerIsDisabled(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	shell := shellOf(t, db)
	replica := shell.serve(t, db, "--enabled=false")
	for _, command := range []string{"jobs", "agenda", "job database_cleanup"} {
		require.Regexp(t, `(?m)^The scheduler is disabled by the leader's configuration since \S+ \S+ UTC \(.*\): no job has ticks until a leader has enabled: true \(SCHEDULER_ENABLED\)$`,
			shell.succeed(t, strings.Fields(command)...), command)
	}
	require.Equal(t, "disabled", shell.object(t, "job", "database_cleanup")["state"])
	replica.end(t)
}
