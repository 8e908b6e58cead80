//go:build !linux

package devdb

import "syscall"

// signalAtParentDeath does nothing: only Linux has that. A server that outlives
// its program is stopped by the next start.
func signalAtParentDeath(*syscall.SysProcAttr, syscall.Signal) {}
