package devdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// pidFile is PostgreSQL's own: its first line is the server's process id, and
// another names its shared memory.
func (h home) pidFile() string { return filepath.Join(h.data(), "postmaster.pid") }

// noPID is the id of no process: Linux stops at 2^22, others sooner.
const noPID = "99999999"

// stopLeftover ends the server that a killed program left running on the data,
// if there is one. The caller holds the folder's lock, so no living program
// needs it.
func (h home) stopLeftover(ctx context.Context, logger *slog.Logger) error {
	text, err := os.ReadFile(h.pidFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for an earlier server: %w", err)
	}
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	pid, _ := strconv.Atoi(string(bytes.TrimSpace(first))) // 0 where it is damaged
	if pid <= 0 || !alive(pid) {
		return nil // PostgreSQL deals with the file of a server that is gone
	}
	if !h.servedBy(ctx, pid) {
		// The number is another program's by now. PostgreSQL cannot tell and
		// would refuse to start. The rest of the file must stay: by it
		// PostgreSQL knows whether children of the old server still write.
		if err := h.replace(h.pidFile(), noPID+"\n"+string(rest)); err != nil {
			return fmt.Errorf("correct an earlier server's pid file: %w", err)
		}
		return nil
	}
	logger.WarnContext(ctx, "stopping the server that an earlier program left behind", "pid", pid, "folder", h.path)
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{
		{syscall.SIGINT, 20 * time.Second},  // fast shutdown
		{syscall.SIGQUIT, 10 * time.Second}, // the next start recovers
	} {
		if gone, err := h.end(ctx, pid, step.signal, step.wait); gone || err != nil {
			return err
		}
	}
	return fmt.Errorf("the server of an earlier program does not end: end process %d, or set DATABASE_URL", pid)
}

// end signals a server that is not our child, and looks until it is gone.
func (h home) end(ctx context.Context, pid int, signal syscall.Signal, wait time.Duration) (gone bool, err error) {
	process, err := os.FindProcess(pid)
	if err != nil {
		return false, fmt.Errorf("end process %d: %w", pid, err)
	}
	defer func() { err = errors.Join(err, process.Release()) }()
	if err := process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return false, fmt.Errorf("end process %d: %w", pid, err)
	}
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	// Not alive: as a zombie that nobody waits for, it would be so for ever.
	for h.servedBy(ctx, pid) {
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("end process %d: %w", pid, ctx.Err())
		case <-deadline.C:
			return false, nil
		case <-time.After(pollInterval):
		}
	}
	return true, nil
}

// alive says whether there is such a process. One of another user is alive.
func alive(pid int) bool {
	process, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer func() { _ = process.Release() }()
	err = process.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, os.ErrPermission)
}

// servedBy says whether the process is a server on these data, by its command
// line, which names them.
func (h home) servedBy(ctx context.Context, pid int) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if errors.Is(err, fs.ErrNotExist) { // gone, or not Linux
		line, err = exec.CommandContext(ctx, "ps", "-ww", "-o", "args=", "-p", strconv.Itoa(pid)).Output()
	}
	return err == nil && bytes.Contains(line, []byte("postgres")) && bytes.Contains(line, []byte(h.data()))
}
