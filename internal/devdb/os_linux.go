package devdb

import "syscall"

// signalAtParentDeath asks the kernel to signal the program when the thread that
// starts it ends.
func signalAtParentDeath(attr *syscall.SysProcAttr, signal syscall.Signal) {
	attr.Pdeathsig = signal
}
