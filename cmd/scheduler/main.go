// Command scheduler runs the scheduler with its built-in jobs, and reads and steers
// a running fleet. docs/reference/cli.md lists its commands.
//
// It is the only place that reads flags and the environment, and that exits.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // for TZ, in which times are shown, where the machine has no time zone database

	_ "github.com/systempromptio/scheduler/jobs/cleanup"
)

//go:generate go run . reference ../../docs/reference

// version is set by the build: -ldflags '-X main.version=v1.2.3'.
var version string

func main() {
	os.Exit(run())
}

func run() int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // it ends with the process
		cancel(&signalError{signal: <-signals})
		second := <-afterEcho(signals)
		fmt.Fprintf(os.Stderr, "scheduler: ended at once by a second signal, %s; what was running is taken up by another replica, or at the next start\n", second)
		code := exitFailed
		if number, ok := second.(syscall.Signal); ok {
			code = exitSignal + int(number)
		}
		os.Exit(code)
	}()
	a := &app{
		program:   os.Args[0],
		stdin:     os.Stdin,
		stdout:    os.Stdout,
		stderr:    os.Stderr,
		environ:   os.Environ(),
		lookupEnv: os.LookupEnv,
	}
	return a.run(ctx, os.Args[1:])
}

// echo is how long after a signal the same one may arrive again without anybody
// having sent two: timeout(1), for one, signals its child and then the child's group.
const echo = 100 * time.Millisecond

// afterEcho drops what arrives within the echo of a signal.
func afterEcho(signals chan os.Signal) <-chan os.Signal {
	over := time.After(echo)
	for {
		select {
		case <-signals:
		case <-over:
			return signals
		}
	}
}

// signalError is why a context ended.
type signalError struct{ signal os.Signal }

func (e *signalError) Error() string { return "ended by a signal: " + e.signal.String() }
