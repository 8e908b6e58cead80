// Package cli is the command line of a scheduler, for the program in cmd/scheduler and
// for programs that bring jobs of their own: importing a module registers its jobs, and
// [Main] does the rest. docs/reference/cli.md lists the commands.
//
// It is the only place that reads flags and the environment, and that exits.
package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
	_ "time/tzdata" // for TZ, in which times are shown, where the machine has no time zone database
)

// Program is what a program hands to its command line. The zero value will do.
type Program struct {
	// Version is the program's version, as "version", the metrics and the pages show it.
	// Empty means that of the main module, as Go's build information has it.
	Version string

	// App is handed to the jobs: see scheduler.Config.App. Optional.
	App any
}

// Main runs the program that os.Args calls, with the jobs of jobs.DefaultRegistry, and
// exits. It handles SIGINT and SIGTERM.
func Main(program Program) {
	os.Exit(run(program))
}

func run(program Program) int {
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
		given:     program,
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
