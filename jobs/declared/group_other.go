//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package declared

import (
	"errors"
	"syscall"
)

// hasGroups says that a command can be ended with all that it has started.
const hasGroups = false

func groupAttributes() *syscall.SysProcAttr { return nil }

func terminateGroup(int) error { return errors.ErrUnsupported }

func killGroup(int) {}
