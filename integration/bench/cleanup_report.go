package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// printScenario prints a scenario's table.
func printScenario(s scenario, all []figures, alone time.Duration) {
	fmt.Printf("\n## %s\n\n%s. Application: %d a second. Job: %s.\n\n", s.name, fmt.Sprintf(s.title, s.old, s.rows), s.rate, s.job)
	fmt.Printf("| Variant | Time, s | ÷ one alone | Application kept | p50, ms | p99, ms | Longest, ms | WAL, MB | Growth, MB | HOT | Left | %s |\n", s.lost)
	fmt.Printf("|---|%s\n", strings.Repeat("--:|", 11))
	for _, f := range all {
		fmt.Println("| " + strings.Join(f.cells(alone), " | ") + " |")
	}
	fmt.Println()
	for _, f := range all {
		if f.isOver {
			fmt.Printf("- %s: stopped after %.1f × the time of one statement; %.0f %% done\n", f.variant, naiveLimit, 100*float64(s.old-f.left)/float64(s.old))
		}
		for _, code := range slices.Sorted(maps.Keys(f.app.refused)) {
			fmt.Printf("- %s: the server refused %d of the application's statements with SQLSTATE %s\n", f.variant, f.app.refused[code], code)
		}
		if f.note != "" {
			fmt.Println("- " + f.note)
		}
		if f.isControl() {
			fmt.Printf("- %s: %.1f MB of WAL a second\n", f.variant, megabytes(f.wal)/f.took.Seconds())
		}
	}
}

// isControl says that nothing was cleaned.
func (f *figures) isControl() bool { return f.variant == variants()[0].name }

func (f *figures) cells(alone time.Duration) []string {
	const none = "–"
	cells := []string{f.variant, fmt.Sprintf("%.2f", f.took.Seconds())}
	switch {
	case f.isControl():
		cells = append(cells, none)
	case f.isOver:
		cells = append(cells, fmt.Sprintf("> %.2f", f.took.Seconds()/alone.Seconds()))
	default:
		cells = append(cells, fmt.Sprintf("%.2f", f.took.Seconds()/alone.Seconds()))
	}
	if f.hasApp && len(f.app.latencies) > 0 {
		latencies := f.app.latencies
		cells = append(cells, fmt.Sprintf("%.1f %%", 100*float64(f.app.done)/float64(max(f.app.scheduled, 1))),
			milliseconds(quantile(latencies, half)), milliseconds(quantile(latencies, tail)), milliseconds(latencies[len(latencies)-1]))
	} else {
		cells = append(cells, none, none, none, none)
	}
	cells = append(cells, fmt.Sprintf("%.0f", megabytes(f.wal)), fmt.Sprintf("%.0f", megabytes(f.growth)))
	if f.hot >= 0 && !f.isControl() {
		cells = append(cells, fmt.Sprintf("%.0f %%", 100*f.hot))
	} else {
		cells = append(cells, none)
	}
	if f.isControl() {
		cells = append(cells, none)
	} else {
		cells = append(cells, strconv.FormatInt(f.left, 10))
	}
	if !f.hasApp {
		return append(cells, none)
	}
	return append(cells, fmt.Sprintf("%d of %d", f.lost, len(f.app.noted)))
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond))
}

func megabytes(n int64) float64 { return float64(n) / (1 << 20) }
