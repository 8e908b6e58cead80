//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package declared

import "syscall"

// dieWithProgram does nothing: only Linux has that.
func dieWithProgram(*syscall.SysProcAttr) {}
