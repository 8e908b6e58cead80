package devdb

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// helperEnv makes the test binary a program that runs a development database
// until it is killed. Its value is the folder. helperNoSignal, if set, lets the
// server outlive it.
const (
	helperEnv      = "DEVDB_TEST_FOLDER"
	helperNoSignal = "DEVDB_TEST_NO_DEATH_SIGNAL"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(helperEnv); dir != "" {
		runHelper(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func runHelper(dir string) {
	on := thisMachine()
	on.deathSignal = os.Getenv(helperNoSignal) == ""
	db, err := start(context.Background(), Options{Dir: dir}, on)
	if err != nil {
		panic(err)
	}
	fmt.Println(db.URL)
	_, _ = io.Copy(io.Discard, os.Stdin) // for ever: until it is killed
}

// startHelper returns a running helper and the URL of its database.
func startHelper(t *testing.T, dir string, env ...string) (program *exec.Cmd, url string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(append(os.Environ(), helperEnv+"="+dir), env...)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = in.Close() })
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return cmd, strings.TrimSpace(line)
}

// openFolderFor returns an empty folder that every user can enter: those of
// t.TempDir are closed to the server's user when the tests run as root.
func openFolderFor(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	return filepath.Join(dir, ".dev")
}

// testMachine is this machine, but for what lies outside the folder.
func testMachine(t *testing.T) machine {
	t.Helper()
	on := thisMachine()
	on.homeRoots = []string{filepath.Dir(openFolderFor(t))}
	on.cacheDir = openFolderFor(t)
	return on
}

func logTo(t *testing.T) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// running starts the database of a folder and stops it with the test.
func running(t *testing.T, dir string, on machine) *DB {
	t.Helper()
	db, err := start(t.Context(), Options{Dir: dir, Logger: logTo(t)}, on)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Stop(context.WithoutCancel(t.Context())) })
	return db
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func execute(t *testing.T, url, sql string) {
	t.Helper()
	conn := connect(t, url)
	_, err := conn.Exec(t.Context(), sql)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
}

func ask[T any](t *testing.T, url, sql string) (answer T) {
	t.Helper()
	conn := connect(t, url)
	require.NoError(t, conn.QueryRow(t.Context(), sql).Scan(&answer))
	require.NoError(t, conn.Close(t.Context()))
	return answer
}

// inFolder is one folder for many tests, in turn: making a database is what takes
// the time.
type inFolder struct {
	dir string
	on  machine
}

func TestStart(t *testing.T) {
	t.Parallel()
	f := inFolder{openFolderFor(t), testMachine(t)}
	t.Run("given up", f.testGivenUp) // the folder is empty
	t.Run("keeps rows", f.testKeepsRows)
	t.Run("locked down", f.testLockedDown)
	t.Run("keeps its port", f.testKeepsItsPort)
	t.Run("second start is refused", f.testSecondStartIsRefused)
	t.Run("server killed", f.testServerKilled)
	t.Run("stop without time", f.testStopWithoutTime)
	t.Run("failed start", f.testFailedStart)
	t.Run("foreign process is left alone", f.testForeignProcessIsLeftAlone)
	t.Run("data of another version", f.testDataOfAnotherVersion)
	t.Run("interrupted initdb is repeated", f.testInterruptedInitdbIsRepeated) // loses the rows
}

func (f inFolder) testGivenUp(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := start(over, Options{Dir: f.dir}, f.on)
	require.ErrorIs(t, err, context.Canceled)
	require.NoDirExists(t, filepath.Join(f.dir, "server", "data"))
}

func (f inFolder) testKeepsRows(t *testing.T) {
	db := running(t, f.dir, f.on)
	require.True(t, db.Created)
	execute(t, db.URL, "CREATE TABLE kept AS SELECT 42 AS n")
	require.NoError(t, db.Stop(t.Context()))
	<-db.Done()
	require.NoError(t, db.Stop(t.Context()), "a second stop returns the first one's result")

	again := running(t, f.dir, f.on)
	require.False(t, again.Created)
	requireKept(t, again)
	require.NoError(t, again.Stop(t.Context()))

	log, err := os.ReadFile(filepath.Join(f.dir, logName))
	require.NoError(t, err)
	require.NotContains(t, string(log), "not properly shut down")
}

// requireKept looks for the row that testKeepsRows wrote.
func requireKept(t *testing.T, db *DB) {
	t.Helper()
	require.Equal(t, 42, ask[int](t, db.URL, "SELECT n FROM kept"))
}

func (f inFolder) testLockedDown(t *testing.T) {
	db := running(t, f.dir, f.on)

	for setting, want := range map[string]string{
		"listen_addresses":        "127.0.0.1",
		"unix_socket_directories": "",
		"shared_buffers":          "64MB",
		"fsync":                   "on",
	} {
		require.Equal(t, want, ask[string](t, db.URL, "SELECT current_setting('"+setting+"')"), setting)
	}
	require.Equal(t, `"$user", public`, ask[string](t, db.URL, "SELECT current_setting('search_path')"))
	require.NotEqual(t, "scheduler", ask[string](t, db.URL, "SELECT current_user"),
		"search_path would find our schema before the platform's")

	text, err := os.ReadFile(filepath.Join(f.dir, urlName))
	require.NoError(t, err)
	require.Equal(t, db.URL+"\n", string(text))
	for _, name := range []string{urlName, logName} {
		info, err := os.Stat(filepath.Join(f.dir, name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
	}

	config, err := pgx.ParseConfig(db.URL)
	require.NoError(t, err)
	config.Password = "wrong"
	_, err = pgx.ConnectConfig(t.Context(), config)
	var refusal *pgconn.PgError
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, "28P01", refusal.Code)
}

func (f inFolder) testKeepsItsPort(t *testing.T) {
	// Outside the range from which the kernel gives ports to whoever asks.
	address := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	port := 15432
	taken, err := net.Listen("tcp", address(port))
	for err != nil {
		port++
		taken, err = net.Listen("tcp", address(port))
	}
	require.NoError(t, taken.Close())
	path := filepath.Join(f.dir, urlName)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	wanted, err := url.Parse(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	wanted.Host = address(port)
	require.NoError(t, os.WriteFile(path, []byte(wanted.String()), 0o600))

	db := running(t, f.dir, f.on)
	require.Equal(t, wanted.String(), db.URL)
	require.NoError(t, db.Stop(t.Context()))

	taken, err = net.Listen("tcp", wanted.Host)
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })
	db = running(t, f.dir, f.on)
	require.NotEqual(t, wanted.String(), db.URL)
	requireKept(t, db)
}

func (f inFolder) testSecondStartIsRefused(t *testing.T) {
	db := running(t, f.dir, f.on)

	_, err := start(t.Context(), Options{Dir: f.dir}, f.on)
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, "process "+strconv.Itoa(os.Getpid())+" ")
	require.Equal(t, 1, ask[int](t, db.URL, "SELECT 1"), "the first one is none the worse")
}

func (f inFolder) testServerKilled(t *testing.T) {
	db := running(t, f.dir, f.on)
	connect(t, db.URL) // a child that holds shared memory when its parent dies

	require.NoError(t, db.server.process.Kill())
	<-db.Done()
	err := db.Stop(t.Context())
	require.ErrorIs(t, err, errEnded)
	require.ErrorContains(t, err, "killed")

	again := running(t, f.dir, f.on)
	require.False(t, again.Created)
	requireKept(t, again)
}

func (f inFolder) testStopWithoutTime(t *testing.T) {
	db := running(t, f.dir, f.on)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_ = db.Stop(over) // whether the checkpoint still was in time is chance
	<-db.Done()

	again := running(t, f.dir, f.on)
	requireKept(t, again)
}

func (f inFolder) testFailedStart(t *testing.T) {
	db := running(t, f.dir, f.on)
	require.NoError(t, db.Stop(t.Context()))
	conf := filepath.Join(f.dir, "server", "data", "postgresql.conf")
	good, err := os.ReadFile(conf)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(conf, []byte("no_such_setting = 1\n"), 0o600))
	_, err = start(t.Context(), Options{Dir: f.dir}, f.on)
	require.ErrorIs(t, err, errEnded)
	require.ErrorContains(t, err, `unrecognized configuration parameter "no_such_setting"`)
	require.ErrorContains(t, err, filepath.Join(f.dir, logName))

	require.NoError(t, os.WriteFile(conf, good, 0o600))
	requireKept(t, running(t, f.dir, f.on))
}

// kill ends a helper as nobody can prepare for.
func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
}

// requireCutOff waits until the server ends a session.
func requireCutOff(t *testing.T, session *pgx.Conn) {
	t.Helper()
	_, err := session.WaitForNotification(t.Context())
	var fatal *pgconn.PgError
	require.True(t, errors.As(err, &fatal) && fatal.Code == "57P01", "%v", err) // admin_shutdown
}
