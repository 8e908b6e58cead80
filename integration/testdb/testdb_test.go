package testdb

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"
	"go.uber.org/goleak"
)

// childEnv makes this test's binary a process that starts a container and then
// waits for a signal, see TestMain.
const childEnv = "SCHEDULER_TESTDB_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(supervise(child))
	}
	code := Main(m)
	if err := goleak.Find(); err != nil {
		fmt.Fprintf(os.Stderr, "testdb: %v\n", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// child starts a container, says so, and waits.
func child() int {
	d, err := connect()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if _, err := runIdle(context.Background(), d); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(self())
	select {}
}

// runIdle starts a container that does nothing.
func runIdle(ctx context.Context, d *docker, options ...testcontainers.ContainerCustomizer) (*testcontainers.DockerContainer, error) {
	image, err := d.image(ctx, version(), os.Getenv)
	if err != nil {
		return nil, err
	}
	return d.run(ctx, image, append(options, testcontainers.WithEntrypoint("sleep", "600"))...)
}

func TestMain_removesContainersWhenInterrupted(t *testing.T) {
	t.Parallel()
	d := newDocker(t)

	cmd, o := startChild(t)
	require.NotEmpty(t, containersOf(t, d, o))
	require.NoError(t, cmd.Process.Signal(os.Interrupt))

	err := cmd.Wait()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	status, ok := exit.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	require.Equal(t, syscall.SIGINT, status.Signal(), "the signal ends the process")
	require.Empty(t, containersOf(t, d, o))
}

func TestRemoveLeftovers_ofAKilledProcess(t *testing.T) {
	t.Parallel()
	d := newDocker(t)
	mine, err := runIdle(t.Context(), d)
	require.NoError(t, err)

	cmd, o := startChild(t)
	require.NoError(t, d.removeLeftovers(t.Context()))
	require.NotEmpty(t, containersOf(t, d, o), "its owner lives")
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())

	require.NoError(t, d.removeLeftovers(t.Context()))
	require.Empty(t, containersOf(t, d, o))
	state, err := mine.State(t.Context())
	require.NoError(t, err)
	require.True(t, state.Running, "this process's own stay")
}

func TestOwner(t *testing.T) {
	t.Parallel()
	o := self()
	require.False(t, o.gone())

	parsed, ok := parseOwner(o.String())
	require.True(t, ok)
	require.Equal(t, o, parsed)
	for _, label := range []string{"", "host", "host/1", "host/x/2", "host/-1/2", "a/1/2/3"} {
		_, ok := parseOwner(label)
		require.False(t, ok, label)
	}

	reused := o
	reused.Started += "0"
	require.True(t, reused.gone(), "another process with the same number")
	elsewhere := reused
	elsewhere.Host = "elsewhere"
	require.False(t, elsewhere.gone(), "nothing is known of another host")
}

func TestImage(t *testing.T) {
	t.Parallel()
	d := newDocker(t)
	none := func(string) string { return "" }

	image, err := d.image(t.Context(), "17", func(name string) string { return "image of " + name })
	require.NoError(t, err)
	require.Equal(t, "image of SCHEDULER_TEST_IMAGE_17", image)

	image, err = d.image(t.Context(), version(), none)
	require.NoError(t, err)
	require.Contains(t, image, "postgres:"+version())

	_, err = d.image(t.Context(), "1", none)
	require.ErrorContains(t, err, "no image for PostgreSQL 1: run `make image`, or name one in SCHEDULER_TEST_IMAGE_1")
}

func TestServerThatCannotStart(t *testing.T) {
	t.Parallel()
	_, err := Run(t.Context(), Options{Args: []string{"-c", "no_such_setting=on"}})
	require.ErrorContains(t, err, "the container has ended")
	require.ErrorContains(t, err, `unrecognized configuration parameter "no_such_setting"`)
}

func newDocker(t *testing.T) *docker {
	t.Helper()
	d, err := connect()
	require.NoError(t, err)
	return d
}

// startChild starts this test's binary as a process with a container.
func startChild(t *testing.T) (*exec.Cmd, owner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })

	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	o, ok := parseOwner(strings.TrimSpace(line))
	require.True(t, ok, line)
	return cmd, o
}

// containersOf lists the containers of a process.
func containersOf(t *testing.T, d *docker, o owner) []string {
	t.Helper()
	var ids []string
	err := d.removeOwned(t.Context(), func(found owner, _ bool) bool {
		if found == o {
			ids = append(ids, found.String())
		}
		return false
	})
	require.NoError(t, err)
	return ids
}

// A recorder is a test that can fail without failing the test that looks at it.
type recorder struct {
	testing.TB

	mu       sync.Mutex
	text     strings.Builder
	failed   bool
	cleanups []func()
}

// record runs f as a test, with its cleanups, and returns what came of it.
func record(t *testing.T, f func(t testing.TB)) *recorder {
	t.Helper()
	r := &recorder{TB: t}
	var running sync.WaitGroup
	running.Go(func() { f(r) })
	running.Wait()
	for len(r.cleanups) > 0 {
		last := len(r.cleanups) - 1
		cleanup := r.cleanups[last]
		r.cleanups = r.cleanups[:last]
		cleanup()
	}
	return r
}

func (r *recorder) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.text, format+"\n", args...)
}

func (r *recorder) Errorf(format string, args ...any) {
	r.Logf(format, args...)
	r.Fail()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fail() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// minute is long enough for whatever is only late because the machine is busy.
const minute = time.Minute
