//go:build linux

package declared_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/declared"
)

const searchPath = "PATH=/usr/local/bin:/usr/bin:/bin"

// shellJob runs a script.
func shellJob(t *testing.T, script string, change func(*declared.ExecConfig), parameters ...jobs.Parameter) jobs.Job {
	t.Helper()
	c := declared.ExecConfig{Definition: definition(parameters...), Command: []string{"sh", "-c", script}, Environ: []string{searchPath}, Directory: t.TempDir()}
	if change != nil {
		change(&c)
	}
	job, err := declared.Exec(c)
	require.NoError(t, err)
	return job
}

func TestExecHandsOverTheRun(t *testing.T) {
	t.Parallel()
	job := shellJob(t, "env | sort; cat; pwd", func(c *declared.ExecConfig) { c.Environ = append(c.Environ, "A=b=c") },
		keep, jobs.Parameter{Name: "ids", Type: jobs.TypeStrings, Default: []string{"a b", "c"}}, jobs.Parameter{Name: "wait", Type: jobs.TypeDuration, Default: "90s"},
		jobs.Parameter{Name: "share", Type: jobs.TypeNumber, Default: 1000000.5}, jobs.Parameter{Name: "text", Type: jobs.TypeString, Default: "$(id) `id` ; id"})
	var log bytes.Buffer
	targets, message, err := attempt(t, job, func(run *jobs.Run) { run.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	require.NoError(t, err)
	require.Equal(t, "exit code 0", targets["command"].Note)
	require.Regexp(t, `^exit code 0 after \S+: /\S+$`, message)
	for _, want := range []string{
		"A=b=c", "SCHEDULER_JOB=nightly", "SCHEDULER_RUN_ID=7", "SCHEDULER_TICK=2026-11-27T03:00:00Z", "SCHEDULER_ATTEMPT=1",
		`SCHEDULER_PARAMETER_IDS=[\"a b\",\"c\"]`, "SCHEDULER_PARAMETER_WAIT=1m30s", "SCHEDULER_PARAMETER_KEEP=3", "SCHEDULER_PARAMETER_SHARE=1000000.5",
		"SCHEDULER_PARAMETER_TEXT=$(id) `id` ; id", `SCHEDULER_PARAMETERS={\"ids\"`,
	} {
		require.Contains(t, log.String(), want)
	}
	require.NotContains(t, log.String(), "HOME=", "nothing is inherited")
}

func TestExecFails(t *testing.T) {
	t.Parallel()
	job := shellJob(t, "echo begin; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i >&2; done; exit 3", nil)
	_, _, err := attempt(t, job, nil)
	require.EqualError(t, err, "sh: exit status 3; its output ends with: line 12\n\n"+
		"line 3\nline 4\nline 5\nline 6\nline 7\nline 8\nline 9\nline 10\nline 11\nline 12", "lists show the first line, and the last one says why")
	require.False(t, jobs.IsPermanent(err))
	job = shellJob(t, "kill -9 $$", nil)
	_, _, err = attempt(t, job, nil)
	require.ErrorContains(t, err, "signal: killed")
	job = shellJob(t, "touch made", nil, jobs.Parameter{Name: "big", Type: jobs.TypeString, Default: strings.Repeat("x", 200_000)})
	_, _, err = attempt(t, job, nil)
	require.True(t, jobs.IsPermanent(err), "no attempt could hand it over")
}

func TestExecBoundsTheOutput(t *testing.T) {
	t.Parallel()
	job := shellJob(t, `echo first; head -c 50000000 /dev/zero | tr '\0' 'x'; echo; i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; printf 'last\033[31m\377'`, nil)
	var log bytes.Buffer
	_, message, err := attempt(t, job, func(run *jobs.Run) { run.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	require.NoError(t, err)
	require.Contains(t, message, "last[31m")
	require.Contains(t, log.String(), "line=first")
	require.Contains(t, log.String(), "bytes are left out")
	require.Contains(t, log.String(), "lines_left_out=")
	require.Contains(t, log.String(), `line="line 1999"`)
	require.Less(t, log.Len(), 100_000)
	require.LessOrEqual(t, strings.Count(log.String(), "\n"), 81)
}

// pids waits for the pids that a script writes into files.
func pids(t *testing.T, folder string, names ...string) (list []int) {
	t.Helper()
	for _, name := range names {
		require.Eventually(t, func() bool {
			content, err := os.ReadFile(filepath.Join(folder, name))
			pid, convErr := strconv.Atoi(strings.TrimSpace(string(content)))
			if err != nil || convErr != nil {
				return false
			}
			list = append(list, pid)
			return true
		}, 20*time.Second, 5*time.Millisecond, name)
	}
	return list
}

// requireGone waits until processes are gone, or dead and only not yet waited for.
func requireGone(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		require.Eventually(t, func() bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			_, state, _ := strings.Cut(string(stat), ") ")
			return err != nil || strings.HasPrefix(state, "Z")
		}, 10*time.Second, 5*time.Millisecond, "process %d", pid)
	}
}

// The whole group ends with the run, also what ignores SIGTERM.
func TestExecEndsTheGroup(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"ends by itself":             `echo $$ > leader; trap 'echo ended > ended; exit 0' TERM; sleep 600 & echo $! > child; wait`,
		"ignores SIGTERM":            `trap '' TERM; echo $$ > leader; sleep 600 & echo $! > child; wait`,
		"leaves one that ignores it": `echo $$ > leader; sh -c 'trap "" TERM; echo $$ > child; sleep 600; sleep 600' & wait`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var folder string
			job := shellJob(t, script, func(c *declared.ExecConfig) { folder, c.Grace = c.Directory, 300*time.Millisecond })
			batches, err := job.(jobs.BatchJob).Start(t.Context(), &jobs.Run{Job: "nightly", Logger: discard})
			require.NoError(t, err)
			_, err = batches.Next(t.Context(), &jobs.Batch{})
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- batches.(jobs.Preparer).Prepare(ctx) }()
			list := pids(t, folder, "leader", "child")
			cancel()
			require.ErrorIs(t, <-ended, context.Canceled)
			requireGone(t, list)
			_, err = os.Stat(filepath.Join(folder, "ended"))
			require.Equal(t, name == "ends by itself", err == nil)
		})
	}
}

// A process that is left behind and holds the output open keeps no run from ending.
func TestExecDoesNotWaitForWhatItLeaves(t *testing.T) {
	t.Parallel()
	var folder string
	job := shellJob(t, `sleep 600 & echo $! > child; echo done`, func(c *declared.ExecConfig) { folder, c.Grace = c.Directory, 200*time.Millisecond })
	_, message, err := attempt(t, job, nil)
	require.NoError(t, err)
	require.Contains(t, message, ": done")
	requireGone(t, pids(t, folder, "child"))
}

func TestExecRefuses(t *testing.T) {
	t.Parallel()
	_, err := declared.Exec(declared.ExecConfig{Definition: definition()})
	require.Contains(t, fieldsOf(err), "exec.command")
	_, err = declared.Exec(declared.ExecConfig{Definition: definition(), Command: []string{"./relative"}})
	require.ErrorContains(t, err, "absolute path")
	_, err = declared.Exec(declared.ExecConfig{
		Definition: definition(), Command: []string{"a", "b\x00"}, Environ: []string{"SCHEDULER_JOB=x", "no sign"}, Directory: "here", Grace: time.Hour,
	})
	require.Equal(t, map[string]int{"exec.command": 0, "exec.env": 0, "exec.env.SCHEDULER_JOB": 0, "exec.directory": 0, "exec.grace": 0}, fieldsOf(err))
	plain := filepath.Join(t.TempDir(), "plain")
	require.NoError(t, os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o600))
	for _, program := range []string{"no-such-program", plain, "/nonexistent/x", "/"} {
		job, err := declared.Exec(declared.ExecConfig{Definition: definition(), Command: []string{program}, Environ: []string{searchPath}, Directory: "/nonexistent"})
		require.NoError(t, err)
		require.Equal(t, map[string]int{"exec.command": 0, "exec.directory": 0}, fieldsOf(job.(jobs.Checker).Check(t.Context(), nil)), program)
		_, _, err = attempt(t, job, nil)
		require.Error(t, err)
	}
	job := shellJob(t, "exit 0", func(c *declared.ExecConfig) { c.Directory = "/nonexistent" })
	_, _, err = attempt(t, job, nil)
	require.ErrorContains(t, err, "the command's directory: stat /nonexistent")
	job = shellJob(t, "exit 1", nil)
	require.NoError(t, job.(jobs.Checker).Check(t.Context(), nil))
	_, message, err := attempt(t, job, func(run *jobs.Run) { run.DryRun = true })
	require.NoError(t, err)
	require.Contains(t, message, "a run would run sh")
}
