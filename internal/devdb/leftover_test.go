package devdb

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A program without the kernel's help (macOS) leaves its server behind.
func TestLeftoverServerIsStopped(t *testing.T) {
	t.Parallel()
	dir, on := openFolderFor(t), testMachine(t)
	program, url := startHelper(t, dir, helperNoSignal+"=1")
	execute(t, url, "CREATE TABLE kept AS SELECT 42 AS n")
	session := connect(t, url)
	kill(t, program)
	require.NoError(t, session.Ping(t.Context()), "the server outlives its program")

	db := running(t, dir, on)
	requireCutOff(t, session)
	requireKept(t, db)
}

// A pid file may name a process that has nothing to do with us, after a restart
// of the machine for instance.
func (f inFolder) testForeignProcessIsLeftAlone(t *testing.T) {
	db := running(t, f.dir, f.on)
	pidFile := filepath.Join(f.dir, "server", "data", "postmaster.pid")
	text, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	info, err := os.Stat(pidFile)
	require.NoError(t, err)
	require.NoError(t, db.Stop(t.Context()))

	accounts, err := f.on.accounts()
	require.NoError(t, err)
	// Of the server's own user: of another's, PostgreSQL would know itself.
	stranger := accounts[0].command(t.Context(), "/", "/bin/sh", "-c", "echo; read forever")
	in, err := stranger.StdinPipe()
	require.NoError(t, err)
	out, err := stranger.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, stranger.Start())
	_, err = out.Read(make([]byte, 1))
	require.NoError(t, err)

	_, rest, _ := strings.Cut(string(text), "\n")
	require.NoError(t, os.WriteFile(pidFile, []byte(strconv.Itoa(stranger.Process.Pid)+"\n"+rest), 0o600))
	require.NoError(t, os.Chown(pidFile, ownerOf(info), -1))
	again := running(t, f.dir, f.on)
	requireKept(t, again)

	require.NoError(t, stranger.Process.Signal(syscall.Signal(0)))
	require.NoError(t, in.Close())
	_ = stranger.Wait() // read fails at the end of its input
}
