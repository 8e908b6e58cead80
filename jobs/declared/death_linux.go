package declared

import "syscall"

// dieWithProgram has the kernel kill a command when the program that started it dies.
func dieWithProgram(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
