//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package declared

import (
	"errors"
	"os"
	"syscall"
)

// hasGroups says that a command can be ended with all that it has started.
const hasGroups = true

// groupAttributes start a command as the leader of a process group of its own.
func groupAttributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	dieWithProgram(attr)
	return attr
}

// terminateGroup asks the processes of a group to end. os.ErrProcessDone says that there
// are none.
func terminateGroup(pid int) error {
	err := syscall.Kill(-pid, syscall.SIGTERM)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// killGroup ends what is left of a group.
func killGroup(pid int) {
	_ = syscall.Kill(-pid, syscall.SIGKILL) // mostly there is nobody left
}
