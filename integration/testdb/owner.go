package testdb

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// An owner is a process that has started containers, as it is written on their
// label. Started tells a process from a later one with the same number.
type owner struct {
	Host    string
	PID     int
	Started string
}

// self is this process.
var self = sync.OnceValue(func() owner {
	pid := os.Getpid()
	return owner{Host: hostName(), PID: pid, Started: started(pid)}
})

func (o owner) String() string {
	return fmt.Sprintf("%s/%d/%s", o.Host, o.PID, o.Started)
}

// parseOwner is the reverse of String.
func parseOwner(label string) (owner, bool) {
	parts := strings.Split(label, "/")
	if len(parts) != 3 {
		return owner{}, false
	}
	pid, err := strconv.Atoi(parts[1])
	return owner{Host: parts[0], PID: pid, Started: parts[2]}, err == nil && pid > 0
}

// gone reports that the process has certainly ended. That of another host, or of
// another process namespace, never has: nothing is known of it here.
func (o owner) gone() bool {
	return o.Host == hostName() && started(o.PID) != o.Started
}

// hostName names the host, and on Linux the process namespace: process numbers
// mean something only within one.
func hostName() string {
	host, _ := os.Hostname()
	namespace, _ := os.Readlink("/proc/self/ns/pid") // pid:[4026531836]
	namespace = strings.TrimSuffix(strings.TrimPrefix(namespace, "pid:["), "]")
	return strings.ReplaceAll(cmp.Or(host, "localhost")+"-"+namespace, "/", "-")
}

// started is when a process was started, in a form that only compares; empty if
// there is no such process. Where there is no /proc, all it tells is whether the
// process is there.
func started(pid int) string {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		if syscall.Kill(pid, 0) == nil {
			return "running"
		}
		return ""
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The second field, the command, may hold anything but a last parenthesis;
	// the third is the state, the 22nd the start time: proc_pid_stat(5).
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}
