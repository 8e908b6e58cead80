package integration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/jobs"
)

// talking starts a replica with jobs that log.
func talking(t *testing.T, config scheduler.Config) *testdb.DB {
	t.Helper()
	yearly := func(name string) jobs.Definition {
		return jobs.Definition{Name: name, Schedule: "@yearly", MaxAttempts: 2, BackoffFunc: shortBackoff}
	}
	config.Registry = &jobs.Registry{}
	require.NoError(t, config.Registry.Add(
		jobs.Func(yearly("chatty"), func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			run.Logger.DebugContext(ctx, "too fine")
			for i := range 1000 {
				run.Logger.InfoContext(ctx, "a row", slog.Int("n", i))
			}
			run.Logger.WarnContext(ctx, "done", slog.Group("sum", slog.Int("rows", 1000)))
			return jobs.Result{}, nil
		}),
		jobs.Func(yearly("silent"), func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			run.Logger.DebugContext(ctx, "too fine")
			return jobs.Result{}, nil
		}),
		jobs.Func(yearly("failing"), func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			run.Logger.ErrorContext(ctx, "it will not work", slog.Any("error", errors.New("no such thing")), slog.Int("try", run.Attempt))
			return jobs.Result{}, errors.New("it did not work")
		}),
		jobs.Func(yearly("hostile"), func(ctx context.Context, run *jobs.Run) (jobs.Result, error) {
			for range 5 {
				run.Logger.InfoContext(ctx, "ten megabytes", slog.String("x", strings.Repeat("y", 10<<20)))
				run.Logger.InfoContext(ctx, "a\x00b\xff\x1b[2J", slog.String("k\x00", "\xc3\x28"), slog.Float64("nan", math.NaN()), slog.Any("zeros", []string{"\x00"}))
				run.Logger.InfoContext(ctx, "no number", slog.Any("huge", fmt.Stringer(nil)))
			}
			return jobs.Result{RowsAffected: 1}, nil
		}),
	))
	if config.Logger == nil {
		config.Logger = discard()
	}
	db := testdb.New(t, migrated)
	config.DatabaseURL = db.URL
	runScheduler(t, config)
	waitValue(t, db, waitRun, true, "SELECT EXISTS (SELECT FROM scheduler.jobs) AND EXISTS (SELECT FROM scheduler.leader)")
	return db
}

func TestLogOfARun(t *testing.T) {
	t.Parallel()
	db := talking(t, scheduler.Config{ReplicaID: "one"})
	chatty, failing, silent, hostile := runNow(t, db, "chatty"), runNow(t, db, "failing"), runNow(t, db, "silent"), runNow(t, db, "hostile")
	waitStatus(t, db, chatty, jobs.StatusSuccess)
	waitStatus(t, db, silent, jobs.StatusSuccess)
	waitStatus(t, db, hostile, jobs.StatusSuccess)
	waitStatus(t, db, failing, jobs.StatusFailed)

	client, err := scheduler.NewClient(t.Context(), db.URL, "")
	require.NoError(t, err)
	t.Cleanup(client.Close)
	lines, err := client.Log(t.Context(), chatty)
	require.NoError(t, err)
	require.Len(t, lines, 101)
	require.Equal(t, "a row", lines[0].Message)
	require.JSONEq(t, `{"n": 0}`, string(lines[0].Attributes))
	require.Equal(t, "(901 lines are left out here)", lines[50].Message)
	require.Nil(t, lines[50].At)
	require.Equal(t, "WARN", lines[100].Level)
	require.JSONEq(t, `{"sum": {"rows": 1000}}`, string(lines[100].Attributes))

	// Each attempt that failed has its own.
	lines, err = client.Log(t.Context(), failing)
	require.NoError(t, err)
	require.Len(t, lines, 2)
	for i, line := range lines {
		require.Equal(t, i+1, line.Attempt)
		require.Equal(t, "one", line.ReplicaID)
		require.JSONEq(t, fmt.Sprintf(`{"error": "no such thing", "try": %d}`, i+1), string(line.Attributes))
	}
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM scheduler.run_log_chunks WHERE run_id = $1", silent), "who logs nothing writes nothing")
	require.Less(t, scalar[int32](t, db, "SELECT max(octet_length(lines::text)) FROM scheduler.run_log_chunks"), int32(80<<10))
	require.Equal(t, int64(15), scalar[int64](t, db, "SELECT count(*) FROM scheduler.run_logs WHERE run_id = $1", hostile))

	// On the command line.
	shell := shellOf(t, db)
	text := shell.succeed(t, "log", fmt.Sprint(failing))
	require.Regexp(t, `\AAttempt 1, on one\n  \d\d:\d\d:\d\d\.\d{3}  ERROR  it will not work  \{"try": 1, "error": "no such thing"\}\nAttempt 2, on one\n`, text)
	require.Len(t, shell.list(t, "log", fmt.Sprint(chatty)), 101)
	require.Contains(t, shell.succeed(t, "log", fmt.Sprint(silent)), "Nothing is kept")
	require.Equal(t, "[]\n", shell.succeed(t, "log", fmt.Sprint(silent), "--json"))
	require.NotContains(t, shell.succeed(t, "log", fmt.Sprint(hostile)), "\x1b")
	require.Contains(t, shell.refuse(t, "log", "12345"), "run 12345")
	wrong := shell.call(t, "log", "x")
	require.Equal(t, 2, wrong.code(t))
	require.Contains(t, wrong.stderr.String(), `"x" is not the id of a run`)

	// It goes with the run.
	exec1(t, db, "DELETE FROM scheduler.job_runs WHERE id = $1", chatty)
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM scheduler.run_log_chunks WHERE run_id = $1", chatty))
	require.Equal(t, int64(2), scalar[int64](t, db, "SELECT count(*) FROM scheduler.run_log_chunks WHERE run_id = $1", failing))
}

// What cannot be stored fails nobody.
func TestLogThatCannotBeStored(t *testing.T) {
	t.Parallel()
	log := &records{}
	db := talking(t, scheduler.Config{Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	exec1(t, db, "ALTER TABLE scheduler.run_log_chunks ADD CONSTRAINT never CHECK (false)")
	chatty, failing := runNow(t, db, "chatty"), runNow(t, db, "failing")
	waitStatus(t, db, chatty, jobs.StatusSuccess)
	waitStatus(t, db, failing, jobs.StatusFailed)
	require.Equal(t, int64(2), scalar[int64](t, db, "SELECT attempt::bigint FROM scheduler.runs WHERE id = $1", failing))
	said := 0
	for _, record := range log.list(t) {
		if record["msg"] == "what the run has logged could not be stored; the run is not affected" {
			said++
		}
	}
	require.Equal(t, 3, said, "once an attempt")
}

func TestLogIsNotKept(t *testing.T) {
	t.Parallel()
	db := talking(t, scheduler.Config{LogLines: scheduler.LogLinesOff})
	waitStatus(t, db, runNow(t, db, "chatty"), jobs.StatusSuccess)
	waitStatus(t, db, runNow(t, db, "failing"), jobs.StatusFailed)
	require.Zero(t, scalar[int64](t, db, "SELECT count(*) FROM scheduler.run_log_chunks"))
}
