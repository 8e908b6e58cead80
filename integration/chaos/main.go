// Command chaos starts real replicas in containers, an application beside them
// and a Postgres with a standby, breaks them at random for as long as it is told,
// and checks after each fault, from SQL alone, that nothing was lost or done
// twice. The sequence of faults follows from the seed.
//
//	go run ./integration/chaos -duration 10m              everything, with a new seed
//	go run ./integration/chaos -list                      the faults
//	go run ./integration/chaos -faults 'net-*,kill-*'     some of them
//	go run ./integration/chaos -seed 42                   the same faults again
//
// It exits with 1 if a check has failed. SIGINT and SIGTERM end it early, with the
// table so far.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	durationDefault = 10 * time.Minute
	replicasDefault = 5
	rowsDefault     = 200_000
)

func main() { os.Exit(mainCode()) }

func mainCode() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, list, err := parseFlags(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		return 2
	case list:
		listFaults(os.Stdout)
		return 0
	}
	c.out = os.Stdout
	passed, err := run(ctx, c)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	if err != nil || !passed {
		return 1
	}
	return 0
}

// config is what a run of chaos is asked to do.
type config struct {
	duration time.Duration // no fault begins after it
	seed     uint64        // of all randomness; never zero
	replicas int
	faults   []string // names or globs; empty: all
	rows     int      // in the table that is cleaned
	short    bool     // short freezes and storms, each fault of the short form once
	clock    bool     // also faults that set the database's clock
	old      string   // a git revision; also faults that need an old binary
	failFast bool     // end after the first violation
	verbose  bool     // the details of every fault
	out      io.Writer
}

func parseFlags(args []string, output io.Writer) (c config, list bool, err error) {
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(output)
	var faults string
	flags.DurationVar(&c.duration, "duration", durationDefault, "how long new faults are injected")
	flags.Uint64Var(&c.seed, "seed", 0, "the seed of all randomness; 0 takes one from the clock")
	flags.IntVar(&c.replicas, "replicas", replicasDefault, "how many replicas are kept running")
	flags.StringVar(&faults, "faults", "", "comma-separated names or globs of faults; empty: all")
	flags.BoolVar(&list, "list", false, "list the faults and exit")
	flags.BoolVar(&c.short, "short", false, "the short form, about two minutes: the fastest faults, once each")
	flags.BoolVar(&c.clock, "clock", false, "also set the database's clock (Postgres is slower then)")
	flags.StringVar(&c.old, "old", "", "a git revision: also run its binary beside the present one")
	flags.IntVar(&c.rows, "rows", rowsDefault, "rows of the table that is cleaned")
	flags.BoolVar(&c.failFast, "failfast", false, "end after the first violation")
	flags.BoolVar(&c.verbose, "v", false, "tell more of every fault")
	if err := flags.Parse(args); err != nil {
		return c, false, err
	}
	if flags.NArg() > 0 {
		return c, false, fmt.Errorf("unexpected argument %q: all options are flags, see -help", flags.Arg(0))
	}
	for name := range strings.SplitSeq(faults, ",") {
		if name = strings.TrimSpace(name); name != "" {
			c.faults = append(c.faults, name)
		}
	}
	c.seed = cmp.Or(c.seed, newSeed())
	return c, list, c.validate()
}

func (c config) validate() error {
	switch {
	case c.replicas < 2:
		return fmt.Errorf("-replicas is %d, must be at least 2: one leads, another takes over", c.replicas)
	case c.rows < 1:
		return fmt.Errorf("-rows is %d, must be positive", c.rows)
	case c.duration <= 0:
		return fmt.Errorf("-duration is %v, must be positive", c.duration)
	}
	_, err := c.chosen()
	return err
}

// newSeed is short, so that it is easily typed again.
func newSeed() uint64 {
	return uint64(time.Now().UnixNano()/int64(time.Millisecond))%1_000_000_000 + 1
}
