package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// outcome is what one fault did.
type outcome struct {
	remarks             string
	ledBefore, ledAfter string
	fault               string
	took                time.Duration
	takeOver            time.Duration
	measured            bool
	stats               stats
	violations          []violation
	longest             time.Duration // of the application's writes
	err                 error         // of the program itself: the fault was not made, or not healed
}

func (o outcome) failed() bool { return len(o.violations) > 0 || o.err != nil }

// line is a fault's row of the table.
type line struct {
	fault                       string
	times, failures             int
	takeOvers                   []time.Duration
	missed, skipped, givenUp    int64
	lost, doubled               int64 // ticks
	effectsLost, effectsDoubled int64
	others                      int64
	longest                     time.Duration
}

func (l *line) add(o outcome) {
	l.times++
	if o.err != nil {
		l.failures++
	}
	if o.measured {
		l.takeOvers = append(l.takeOvers, o.takeOver)
	}
	l.missed += o.stats.Missed
	l.skipped += o.stats.Skipped
	l.givenUp += o.stats.Failed
	l.longest = max(l.longest, o.longest)
	for _, v := range o.violations {
		switch v.Kind {
		case "tick_lost":
			l.lost += v.N
		case "tick_doubled":
			l.doubled += v.N
		case "effect_lost":
			l.effectsLost += v.N
		case "effect_doubled":
			l.effectsDoubled += v.N
		default:
			l.others++
		}
	}
}

// report is the table at the end.
func report(out io.Writer, outcomes []outcome) {
	lines := make(map[string]*line)
	total := &line{fault: "total"}
	var names []string
	for _, o := range outcomes {
		if lines[o.fault] == nil {
			lines[o.fault] = &line{fault: o.fault}
			names = append(names, o.fault)
		}
		lines[o.fault].add(o)
		total.add(o)
	}
	slices.Sort(names)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "fault\ttimes\ttake-over p50\tp99\tmax\tticks lost\tdoubled\tmissed\tskipped\tgiven up\teffects lost\tdoubled\tother\tlongest write\t")
	for _, name := range names {
		lines[name].print(w)
	}
	total.print(w)
	_ = w.Flush() // a reader of the output that has gone cannot be told
	fmt.Fprintln(out, "missed: ticks that nobody could decide in time, and that are in the ledger as such; skipped: the run before had not ended;")
	fmt.Fprintln(out, "given up: runs that failed after their last attempt; other: two leaders, stuck runs, replicas that ended by themselves, and so on")
	if total.failures > 0 {
		fmt.Fprintf(out, "%d faults were not made or not healed as they should, see above\n", total.failures)
	}
}

func (l *line) print(w io.Writer) {
	p50, p99, longest := "-", "-", "-"
	if len(l.takeOvers) > 0 {
		slices.Sort(l.takeOvers)
		p50, p99, longest = milliseconds(quantile(l.takeOvers, 0.5)), milliseconds(quantile(l.takeOvers, 0.99)), milliseconds(l.takeOvers[len(l.takeOvers)-1])
	}
	fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t\n", l.fault, l.times, p50, p99, longest,
		l.lost, l.doubled, l.missed, l.skipped, l.givenUp, l.effectsLost, l.effectsDoubled, l.others, milliseconds(l.longest))
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

// quantile of sorted values.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// indent puts a text under a heading.
func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}
