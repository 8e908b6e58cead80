package cli

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

func TestRelative(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0:                               "now",
		-500 * time.Millisecond:         "now",
		5 * time.Second:                 "in 5s",
		-61 * time.Second:               "1m1s ago",
		10 * time.Minute:                "in 10m",
		time.Hour + 10*time.Minute:      "in 1h10m",
		20 * time.Hour:                  "in 20h",
		-(26*time.Hour + 5*time.Minute): "1d2h ago",
		30 * 24 * time.Hour:             "in 30d",
	} {
		require.Equal(t, want, relative(d), d)
	}
}

func TestDurationText(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0:                          "0s",
		1234567 * time.Nanosecond:  "1ms",
		345 * time.Millisecond:     "345ms",
		12345 * time.Millisecond:   "12.35s",
		10 * time.Minute:           "10m",
		90 * time.Second:           "1m30s",
		time.Hour:                  "1h",
		time.Hour + 30*time.Minute: "1h30m",
		100 * time.Hour:            "100h",
	} {
		require.Equal(t, want, durationText(d), d)
	}
}

func TestFirstLine(t *testing.T) {
	t.Parallel()
	require.Equal(t, "short", firstLine("short", 5))
	require.Equal(t, "lon…", firstLine("longer", 4))
	require.Equal(t, "one…", firstLine("one\ntwo", 10))
	require.Equal(t, "äöü", firstLine("äöü\n", 3))
}

func TestTablesAreAligned(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	writeTable(&out, []string{"A", "B", "C"}, [][]string{{"long one", "1", ""}, {"x", "2\t3", "c"}})
	require.Equal(t, "A         B    C\nlong one  1\nx         2 3  c\n", out.String())
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		scheduler.ErrSchema, scheduler.ErrStandby, scheduler.ErrPooled, scheduler.ErrUnsupportedServer, scheduler.ErrJobNotRunnable,
		scheduler.ErrBadArgument, scheduler.ErrRunNotFound, scheduler.ErrBackfillNotFound,
		jobs.ErrUnknownJob, jobs.ErrInvalidSchedule, &jobs.ParameterError{}, refused("x"),
		&pgconn.PgError{Code: "28P01"}, &pgconn.PgError{Code: "28000"}, &pgconn.PgError{Code: "3D000"}, &pgconn.PgError{Code: "42501"}, &pgconn.PgError{Code: "25006"},
	} {
		require.Equal(t, exitRefused, exitCode(fmt.Errorf("wrapped: %w", err)), "%v", err)
	}
	require.Equal(t, exitRunsLeft, exitCode(fmt.Errorf("wrapped: %w", scheduler.ErrRunsLeft)))
	require.Equal(t, exitJobStuck, exitCode(errors.Join(scheduler.ErrRunsLeft, scheduler.ErrJobStuck)), "the worse of the two")
	for _, err := range []error{errors.New("x"), &partialError{err: refused("x")}, &pgconn.PgError{Code: "53300"}, &pgconn.PgError{Code: "57P03"}, net.ErrClosed} {
		require.Equal(t, exitFailed, exitCode(fmt.Errorf("wrapped: %w", err)), "%v", err)
	}
}

func TestErrorsAreOneLine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	writeError(&out, errors.Join(errors.New("one"), fmt.Errorf("two:\n\tthree\n\t%s", "four."), errors.New("five")))
	require.Equal(t, "scheduler: one; two: three; four; five\n", out.String())

	out.Reset()
	writeError(&out, fmt.Errorf("read: %w", &pgconn.PgError{Message: "permission denied for schema scheduler", Code: "42501", Severity: "ERROR", Hint: "Ask."}))
	require.Equal(t, "scheduler: read: ERROR: permission denied for schema scheduler (SQLSTATE 42501). Ask; give the user the privilege (scheduler roles writes the SQL), or connect as another\n", out.String())
}

func TestShellQuote(t *testing.T) {
	t.Parallel()
	require.Equal(t, "./bin/scheduler", shellQuote("./bin/scheduler"))
	require.Equal(t, "''", shellQuote(""))
	require.Equal(t, `'a b'`, shellQuote("a b"))
	require.Equal(t, `'it'\''s $x'`, shellQuote("it's $x"))
	require.Equal(t, "retention_hours=1", shellQuote("retention_hours=1"))
}

func TestPrefixedLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	shared := &lines{w: &out}
	one, two := shared.prefixed("1 | "), shared.prefixed("2 | ")
	for _, text := range []string{"a", "b\nc", "", "d\n\ne"} {
		n, err := one.Write([]byte(text))
		require.NoError(t, err)
		require.Equal(t, len(text), n)
		_, err = two.Write([]byte("x\n"))
		require.NoError(t, err)
	}
	one.flush()
	two.flush()
	require.Equal(t, "2 | x\n1 | ab\n2 | x\n2 | x\n1 | cd\n1 | \n2 | x\n1 | e\n", out.String())
}

func TestNoTerminal(t *testing.T) {
	t.Parallel()
	require.False(t, isTerminal(&bytes.Buffer{}))
	for _, path := range []string{os.DevNull, filepath.Join(t.TempDir(), "x")} {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		require.NoError(t, err)
		require.False(t, isTerminal(f), path)
		require.NoError(t, f.Close())
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	run := scheduler.Run{ID: 7, JobName: "j", Status: "running", Attempt: 1}
	report := func(p *progress) {
		for _, text := range []string{"", "", `{"done": 1}`, `{"done": 5, "total": 10, "message": "half"}`} {
			run.Progress = []byte(text)
			p.show(run)
		}
		ended := run
		ended.Status = "success"
		p.show(ended)
		p.end()
	}
	var out bytes.Buffer
	report(newProgress(&out, false))
	require.Equal(t, "run 7 of j: running\nrun 7 of j: running, 1 row\nrun 7 of j: running, 5 of 10 rows (50 %), half\n", out.String())
	out.Reset()
	report(newProgress(&out, true))
	require.Equal(t, "\r\x1b[Krun 7 of j: running\r\x1b[Krun 7 of j: running, 1 row\r\x1b[Krun 7 of j: running, 5 of 10 rows (50 %), half\r\x1b[K", out.String())

	run.Progress = []byte(`{"done": 5, "total": 10, "message": "5 rows affected", "rows_per_second": 0.25, "seconds_left": 19.3}`)
	require.Equal(t, "run 7 of j: running, 5 of 10 rows (50 %), 0.2 rows/s, about 20s left", progressText(run))
	run.Progress = []byte(`{"done": 5, "message": "pass 2", "rows_per_second": 1234.5}`)
	require.Equal(t, "run 7 of j: running, 5 rows, 1234 rows/s, pass 2", progressText(run))

	problem := "no such table"
	run.Status, run.Attempt, run.Error, run.Progress = "retrying", 2, &problem, nil
	require.Equal(t, "run 7 of j: retrying, attempt 2: no such table", progressText(run))
}

func TestRunText(t *testing.T) {
	t.Parallel()
	rows, seconds, message := int64(1), 1.5, "1 rows affected"
	run := scheduler.Run{ID: 7, JobName: "j", Status: "success", RowsAffected: &rows, Duration: &seconds, DryRun: true, Message: &message}
	require.Equal(t, "run 7 of j: success, 1 row in 1.5s (dry run: nothing was changed)", runText(run))
	message = "as usual"
	require.Equal(t, "run 7 of j: success, 1 row in 1.5s (dry run: nothing was changed); as usual", runText(run))
	require.NoError(t, failure(run))

	reason, problem := "the run before had not ended", "broken\nstack"
	run.Status, run.Reason = "skipped", &reason
	require.EqualError(t, failure(run), "run 7 of j: skipped: the run before had not ended")
	run.Status, run.Reason, run.Error = "failed", nil, &problem
	require.EqualError(t, failure(run), "run 7 of j: failed: broken…")
	run.Reason = &reason
	require.EqualError(t, failure(run), "run 7 of j: failed: broken…", "the reason is why it was begun")
	run.Status = "blocked"
	require.EqualError(t, failure(run), "run 7 of j: blocked: broken…")
	run.Status = "cancelled"
	require.EqualError(t, failure(run), "run 7 of j: cancelled: the run before had not ended", "the error is an earlier attempt's")
	run.Status, run.Reason, run.Error = "cancelled", nil, nil
	require.EqualError(t, failure(run), "run 7 of j: cancelled")
}

func TestComingText(t *testing.T) {
	t.Parallel()
	now := time.Now()
	reason := "waits for the run before to end"
	run := scheduler.Run{ID: 7, JobName: "j", Status: "requested", Tick: now.Add(90 * time.Minute)}
	require.Equal(t, "run 7 of j: requested; see how it goes with: scheduler runs --job j", comingText(run, now))
	run.Status, run.Reason = "waiting", &reason
	require.Equal(t, "run 7 of j: waiting (waits for the run before to end); see how it goes with: scheduler runs --job j", comingText(run, now))
	run.Status = "scheduled"
	require.Equal(t, "run 7 of j: scheduled for "+localTime(run.Tick)+" (in 1h30m); take it back with: scheduler cancel 7", comingText(run, now))
	require.Equal(t, "run 7 of j: scheduled for "+localTime(run.Tick), progressText(run))
}

func TestRemark(t *testing.T) {
	t.Parallel()
	by, reason, backfill := "ops", "in line of a backfill", int64(3)
	run := scheduler.Run{ID: 7, JobName: "j", Status: "scheduled", RequestedBy: &by}
	require.Equal(t, "asked for by ops", remark(run))
	run.Status, run.Reason, run.BackfillID = "waiting", &reason, &backfill
	require.Equal(t, "asked for by ops; backfill 3; in line of a backfill", remark(run))
	run.Status = "success"
	require.Equal(t, "backfill 3; in line of a backfill", remark(run))

	done, total, rate, left, message := int64(5), int64(10), 50.0, 3700.0, "pass 2"
	run = scheduler.Run{
		ID: 7, JobName: "j", Status: "running", Message: &message,
		ProgressDone: &done, ProgressTotal: &total, RowsPerSecond: &rate, SecondsLeft: &left, ProgressMessage: &message,
	}
	require.Equal(t, "5 of 10 rows (50 %), 50 rows/s, about 1h1m left, pass 2", remark(run))
}

func TestCatchUpText(t *testing.T) {
	t.Parallel()
	age := 36 * time.Hour.Seconds()
	job := scheduler.Job{CatchUp: "latest", CatchUpLimit: 100}
	require.Equal(t, "latest", catchUpText(job))
	job.CatchUp = "all"
	require.Equal(t, "all, 100 ticks at most", catchUpText(job))
	job.CatchUpMaxAge = &age
	require.Equal(t, "all, 100 ticks at most, none older than 36h", catchUpText(job))
	job.CatchUp = "none"
	require.Equal(t, "none", catchUpText(job))
}

// A job that is paused with the whole scheduler is not told from its state, but from
// since when, by whom and why it is paused.
func TestPausedWithAll(t *testing.T) {
	t.Parallel()
	at, by, reason := time.Now(), "ops", "a move"
	later, other := at.Add(time.Microsecond), "another"
	state := scheduler.State{PausedAt: &at, PausedBy: &by, PausedReason: &reason}
	job := scheduler.Job{PausedAt: &at, PausedBy: &by, PausedReason: &reason, Registered: true}
	require.True(t, pausedWithAll(job, state))
	require.Empty(t, remarks(job, state, at))
	require.False(t, pausedWithAll(scheduler.Job{}, state))
	require.False(t, pausedWithAll(job, scheduler.State{}))
	require.False(t, pausedWithAll(scheduler.Job{}, scheduler.State{}))
	require.False(t, pausedWithAll(scheduler.Job{PausedAt: &later, PausedBy: &by, PausedReason: &reason}, state))
	require.False(t, pausedWithAll(scheduler.Job{PausedAt: &at, PausedBy: &by, PausedReason: &other}, state))
	require.Equal(t, []string{"is paused since " + localTime(at) + " (now) by ops: a move"}, remarks(job, scheduler.State{}, at))
}

func TestTargetRows(t *testing.T) {
	t.Parallel()
	rows, err := targetRows(scheduler.Run{Targets: []byte(`{"b": {"rows": 3, "batches": 1}, "a": {"rows": 0, "absent": true, "note": "no table x"}}`)})
	require.NoError(t, err)
	require.Equal(t, [][]string{{"  a", "absent", "no table x"}, {"  b", "3", ""}}, rows)
	_, err = targetRows(scheduler.Run{ID: 7, Targets: []byte(`[]`)})
	require.ErrorContains(t, err, "run 7: read its targets")
}
