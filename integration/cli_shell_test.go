package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/sql/platform"
)

// program builds the command line once, as it is shipped: without -race.
var program = sync.OnceValues(func() (string, error) {
	path, err := filepath.Abs("../bin/test/scheduler")
	if err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-race=false", "-ldflags=-X main.version=v0.0.0-test", "-o", path, "../cmd/scheduler").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the command line: %w\n%s", err, out)
	}
	return path, nil
})

// seeded is the platform's database, without the scheduler's schema.
var seeded = testdb.Template("cli_seeded", func(ctx context.Context, url string) (err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if err := platform.Create(ctx, conn); err != nil {
		return err
	}
	return platform.Seed(ctx, conn, 1)
})

// process is a call of the program.
type process struct {
	command        *exec.Cmd
	stdout, stderr *lines
	exited         chan struct{}
	// logs is set if its output is logged when the test fails.
	logs bool
}

// shell is where somebody types: a folder and an environment.
type shell struct {
	folder    string
	variables []string
}

// yearly keeps the job that runs every ten minutes from running in the midst of a
// test.
const yearly = "jobs:\n  - name: cleanup_inactive_sessions\n    schedule: \"@yearly\"\n"

func newShell(t *testing.T, variables ...string) shell {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "yearly.yaml"), []byte(yearly), 0o600))
	return shell{folder: folder, variables: append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TZ=UTC"}, variables...)}
}

func shellOf(t *testing.T, db *testdb.DB) shell {
	t.Helper()
	return newShell(t, "DATABASE_URL="+db.URL)
}

// as is the shell of somebody who has a role of testdb.MakeRoles.
func (s shell) as(role string) shell {
	variables := make([]string, 0, len(s.variables))
	for _, variable := range s.variables {
		if url, ok := strings.CutPrefix(variable, "DATABASE_URL="); ok {
			variable = "DATABASE_URL=" + testdb.RoleURL(url, role)
		}
		variables = append(variables, variable)
	}
	s.variables = variables
	return s
}

// start starts the program. It is killed at the end of the test, if it still runs.
func (s shell) start(t *testing.T, args ...string) *process {
	t.Helper()
	path, err := program()
	require.NoError(t, err)
	return s.startCommand(t, exec.Command(path, args...))
}

func (s shell) startCommand(t *testing.T, command *exec.Cmd) *process {
	t.Helper()
	p := &process{command: command, stdout: &lines{}, stderr: &lines{}, exited: make(chan struct{}), logs: true}
	command.Dir, command.Env = s.folder, s.variables
	command.Stdout, command.Stderr = p.stdout, p.stderr
	require.NoError(t, command.Start())
	go func() {
		defer close(p.exited)
		_ = command.Wait() // the exit code tells
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill() // it has mostly ended
		<-p.exited
		if t.Failed() && p.logs {
			t.Logf("%s\nstdout:\n%s\nstderr:\n%s", command, p.stdout, p.stderr)
		}
	})
	return p
}

// call calls the program and waits for its end.
func (s shell) call(t *testing.T, args ...string) *process {
	t.Helper()
	p := s.start(t, args...)
	p.logs = false // whoever asks shows what it has
	p.code(t)
	return p
}

// succeed calls the program and returns its output.
func (s shell) succeed(t *testing.T, args ...string) string {
	t.Helper()
	p := s.call(t, args...)
	require.Equal(t, 0, p.code(t), "%v: %s", args, p.stderr)
	return p.stdout.String()
}

// refuse calls the program with what it must refuse, in one line, and returns that.
func (s shell) refuse(t *testing.T, args ...string) string {
	t.Helper()
	p := s.call(t, args...)
	require.Equal(t, 2, p.code(t), "%v: %s%s", args, p.stdout, p.stderr)
	require.Regexp(t, `(?m)\Ascheduler: .*\n\z`, p.stderr.String(), "one line")
	return p.stderr.String()
}

// object reads the output of a call with --json.
func (s shell) object(t *testing.T, args ...string) map[string]any {
	t.Helper()
	var value map[string]any
	require.NoError(t, json.Unmarshal([]byte(s.succeed(t, append(args, "--json")...)), &value))
	return value
}

func (s shell) list(t *testing.T, args ...string) []map[string]any {
	t.Helper()
	var value []map[string]any
	require.NoError(t, json.Unmarshal([]byte(s.succeed(t, append(args, "--json")...)), &value))
	require.NotNil(t, value, "no list is an empty list")
	return value
}

// leader waits until another replica than the given one leads: on a machine with
// other things to do, a term may end at any time.
func (s shell) leader(t *testing.T, than any) (leader map[string]any) {
	t.Helper()
	testdb.WaitFor(t, "a leader", waitCLI, func(context.Context) (bool, any, error) {
		leader = s.object(t, "leader")
		return leader != nil && leader["replica_id"] != than, leader, nil
	})
	return leader
}

func (p *process) code(t *testing.T) int {
	t.Helper()
	timer := time.NewTimer(waitCLI)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		require.Fail(t, "it did not end", "%s\n%s%s", p.command, p.stdout, p.stderr)
	}
	return p.command.ProcessState.ExitCode()
}

func (p *process) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	require.NoError(t, p.command.Process.Signal(signal))
}

func (p *process) waitFor(t *testing.T, out *lines, text string) {
	t.Helper()
	testdb.WaitFor(t, text, waitCLI, func(context.Context) (bool, any, error) {
		seen := out.String()
		return strings.Contains(seen, text), seen, nil
	})
}

// serve migrates as the owner, and makes the roles; then it starts a replica in its role,
// for which --migrate finds nothing to do, and waits until it leads and has declared the
// jobs.
func (s shell) serve(t *testing.T, db *testdb.DB, args ...string) *process {
	t.Helper()
	_, err := scheduler.MigrateUp(t.Context(), scheduler.MigrateConfig{DatabaseURL: db.URL, Logger: discard()})
	require.NoError(t, err)
	require.NoError(t, testdb.MakeRoles(t.Context(), db.URL, scheduler.SchemaDefault))
	p := s.as(scheduler.RolesDefault().Serve).start(t, append([]string{"serve", "--migrate"}, args...)...)
	waitLed(t, db)
	return p
}

func waitLed(t *testing.T, db *testdb.DB) {
	t.Helper()
	waitValue(t, db, waitCLI, true, "SELECT count(*) = 4 AND EXISTS (SELECT FROM scheduler.leader) FROM scheduler.scheduled_jobs WHERE registered")
}

// end ends a replica as an operator would.
func (p *process) end(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
	require.Equal(t, 0, p.code(t), p.stderr)
	require.Contains(t, p.stderr.String(), "msg=stopped")
}
