package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"text/tabwriter"
)

// A fault is something that goes wrong.
type fault struct {
	name string
	// about says what it does, for -list.
	about string
	// weight is how often it comes in a round; zero: once.
	weight int
	// needs names the flag without which it is left out; empty: none.
	needs string
	// short: it is in the short form.
	short bool
	// leads: it hits the leader or the database, so that the time until somebody
	// leads again is of interest.
	leads bool
	// inject makes the fault and returns when it is over, also if ctx has ended.
	inject func(ctx context.Context, s *step) error
}

// faults are all that there are.
func faults() []fault {
	return slices.Concat(processFaults(), networkFaults(), serverFaults(), settingFaults(), clockFaults(), versionFaults(), mixedFaults())
}

func (c config) has(need string) bool {
	switch need {
	case "":
		return true
	case "-clock":
		return c.clock
	case "-old":
		return c.old != ""
	default:
		return false
	}
}

// chosen are the faults that the flags ask for.
func (c config) chosen() ([]fault, error) {
	known := faults()
	for _, pattern := range c.faults {
		found := false
		for _, f := range known {
			matches, err := path.Match(pattern, f.name)
			if err != nil {
				return nil, fmt.Errorf("-faults: %q: %w", pattern, err)
			}
			if matches && !c.has(f.needs) {
				if pattern == f.name {
					return nil, fmt.Errorf("-faults: %s needs the flag %s", f.name, f.needs)
				}
				continue
			}
			found = found || matches
		}
		if !found {
			return nil, fmt.Errorf("-faults: no fault is called %q: see -list", pattern)
		}
	}
	chosen := slices.DeleteFunc(known, func(f fault) bool {
		if !c.has(f.needs) {
			return true
		}
		if len(c.faults) == 0 {
			return c.short && !f.short
		}
		return !slices.ContainsFunc(c.faults, func(pattern string) bool {
			matches, _ := path.Match(pattern, f.name) // checked above
			return matches
		})
	})
	if len(chosen) == 0 {
		return nil, errors.New("no fault is left: see -list")
	}
	return chosen, nil
}

// A plan is the sequence of faults, the same for the same seed and flags. Every
// round has each of them, as often as its weight says, in a new order: so even a
// rare fault has its turn.
type plan struct {
	faults []fault
	seed   uint64
	short  bool // one round only, each fault once

	rounds uint64
	bag    []fault
	steps  uint64
}

// next is the next fault with the source of its parameters; false ends the plan.
func (p *plan) next() (fault, *rand.Rand, bool) {
	if len(p.bag) == 0 {
		if p.short && p.rounds > 0 {
			return fault{}, nil, false
		}
		p.rounds++
		for _, f := range p.faults {
			p.bag = append(p.bag, slices.Repeat([]fault{f}, p.copies(f))...)
		}
		order := rand.New(rand.NewPCG(p.seed, p.rounds))
		order.Shuffle(len(p.bag), func(i, j int) { p.bag[i], p.bag[j] = p.bag[j], p.bag[i] })
	}
	f := p.bag[0]
	p.bag = p.bag[1:]
	p.steps++
	// A source of its own for each fault: how often the one before asked depends on
	// what it met.
	return f, rand.New(rand.NewPCG(p.seed, 1<<32+p.steps)), true
}

func (p *plan) copies(f fault) int {
	if p.short {
		return 1
	}
	return max(f.weight, 1)
}

func listFaults(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range faults() {
		mark := ""
		if f.short {
			mark = "short"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.name, mark, f.needs, f.about)
	}
	_ = w.Flush() // a reader of the output that has gone cannot be told
}
