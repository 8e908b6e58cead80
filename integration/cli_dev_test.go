package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
)

// unchanged are the rows that jobs would clean.
const unchanged = "SELECT (SELECT count(*) FROM user_contexts) + (SELECT count(*) FROM logs) + (SELECT count(*) FROM user_sessions WHERE ended_at IS NULL)"

func TestCLIDevInSomebodysDatabase(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	shell := shellOf(t, db)
	before := scalar[int64](t, db, unchanged)
	dev := shell.start(t, "dev", "--config=yearly.yaml")
	dev.waitFor(t, dev.stdout, "Ctrl-C here ends it all.")
	out := dev.stdout.String()
	require.True(t, strings.HasPrefix(out, `This is your own database "`+db.Name+`" at `), out)
	for _, want := range []string{
		"from DATABASE_URL.\nNothing is made in it but the schema \"scheduler\".\nEvery job is in dry run",
		"of cleanup_empty_contexts: success, 410 rows in ", "of cleanup_inactive_sessions: success, 600 rows in ", "of database_cleanup: success, 1470 rows in ",
		"of cleanup_job_runs: success, 0 rows", "(dry run: nothing was changed)\n  contexts  410\n",
		"Try next, in another terminal with the same environment:\n",
	} {
		require.Contains(t, out, want)
	}
	require.Equal(t, before, scalar[int64](t, db, unchanged), "nothing was cleaned")
	require.Len(t, triedNext(t, out), 3)
	for _, command := range triedNext(t, out) {
		p := shell.startCommand(t, exec.Command("sh", "-c", command))
		require.Equal(t, 0, p.code(t), "%s: %s", command, p.stderr)
	}
	for _, job := range shell.list(t, "jobs") {
		require.Equal(t, true, job["dry_run"])
	}
	require.Contains(t, shell.refuseAfter(t, "dev"), "1 replica is running in this schema, such as r1-")
	dev.signal(t, syscall.SIGINT)
	require.Equal(t, 0, dev.code(t), dev.stderr)
	require.Contains(t, dev.stderr.String(), "r1 | ")

	// A run that waits and is no dry run would be worked.
	shell.succeed(t, "run", "database_cleanup", "--dry-run=false")
	require.Contains(t, shell.refuseAfter(t, "dev"), "run 6 of database_cleanup in this schema is requested and no dry run")
	require.Equal(t, before, scalar[int64](t, db, unchanged))

	// In a schema of its own, and really.
	dev = shell.start(t, "dev", "--config=yearly.yaml", "--schema=mine", "--dry-run=false", "--bootstrap-jobs=cleanup_empty_contexts")
	dev.waitFor(t, dev.stdout, "Ctrl-C here ends it all.")
	require.Contains(t, dev.stdout.String(), "The jobs really clean it, as --dry-run=false says.")
	require.Equal(t, before-410, scalar[int64](t, db, unchanged))
	require.Contains(t, triedNext(t, dev.stdout.String())[0], " jobs --config yearly.yaml --schema mine")
	dev.signal(t, syscall.SIGTERM)
	require.Equal(t, 0, dev.code(t), dev.stderr)
}

// refuseAfter is refuse for a command that says something before.
func (s shell) refuseAfter(t *testing.T, args ...string) string {
	t.Helper()
	p := s.call(t, args...)
	require.Equal(t, 2, p.code(t), "%s%s", p.stdout, p.stderr)
	return p.stderr.String()
}

// triedNext are the commands that dev shows.
func triedNext(t *testing.T, out string) []string {
	t.Helper()
	_, after, ok := strings.Cut(out, "Try next")
	require.True(t, ok, out)
	var commands []string
	for line := range strings.Lines(after) {
		if command, ok := strings.CutPrefix(line, "  "); ok {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	return commands
}

// Three replicas on the development database: what dev shows can be copied, a
// killed leader has a successor, and nothing outlives a killed dev.
func TestCLIDev(t *testing.T) {
	t.Parallel()
	shell := newShell(t)
	dev := shell.start(t, "dev", "--replicas", "3")
	dev.waitFor(t, dev.stdout, "Ctrl-C here ends it all.")
	out := dev.stdout.String()
	for _, want := range []string{"of cleanup_empty_contexts: success, 410 rows in ", "of cleanup_inactive_sessions: success, 600 rows in ", "of database_cleanup: success, 1470 rows in "} {
		require.Contains(t, out, want)
	}
	first := shell.leader(t, nil)
	for _, command := range triedNext(t, out) {
		p := shell.startCommand(t, exec.Command("sh", "-c", command))
		require.Equal(t, 0, p.code(t), "%s: %s", command, p.stderr)
		if !strings.HasPrefix(command, "kill ") {
			require.Contains(t, p.stderr.String(), "using the development database of .dev/url")
		}
	}
	dev.waitFor(t, dev.stdout, "has ended: signal: killed. The other 2 go on.")
	shell.leader(t, first["replica_id"])
	require.Contains(t, dev.stderr.String(), "r3 | ")

	var pids []int
	for _, match := range regexp.MustCompile(`r\d is process (\d+)`).FindAllStringSubmatch(out, -1) {
		pid, err := strconv.Atoi(match[1])
		require.NoError(t, err)
		pids = append(pids, pid)
	}
	require.Len(t, pids, 3)
	dev.signal(t, syscall.SIGKILL)
	testdb.WaitFor(t, "the end of the replicas", waitCLI, func(context.Context) (bool, any, error) {
		for _, pid := range pids {
			if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !bytes.Contains(state, []byte(") Z ")) {
				return false, pid, nil
			}
		}
		return true, nil, nil
	})

	// It goes on with the same database, and Ctrl-C ends it.
	dev = shell.start(t, "dev")
	dev.waitFor(t, dev.stdout, "Ctrl-C here ends it all.")
	require.Contains(t, dev.stdout.String(), "It has its rows of the last time, and ")
	p := shell.call(t, "dev")
	require.Equal(t, 2, p.code(t))
	require.Contains(t, p.stderr.String(), "in use by another program")
	dev.signal(t, syscall.SIGINT)
	require.Equal(t, 0, dev.code(t), dev.stderr)

	// No database runs any more; then it is libpq's default, as ever.
	p = shell.call(t, "jobs")
	require.NotEqual(t, 0, p.code(t))
	require.NotContains(t, p.stderr.String(), "development database of")
}
