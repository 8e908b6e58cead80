package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// addJSON gives a command the flag --json.
func (a *app) addJSON(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.json, "json", false, "write the result as JSON, with the database's column names as keys")
}

// writeJSON writes a value as indented JSON.
func (a *app) writeJSON(value any) error {
	encoder := json.NewEncoder(a.stdout)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// listJSON makes an empty list of none, which JSON would have as null.
func listJSON[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// writeTable writes rows below headings, in aligned columns.
func writeTable(w io.Writer, headings []string, rows [][]string) {
	var aligned strings.Builder
	table := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	if headings != nil {
		fmt.Fprintln(table, strings.Join(headings, "\t"))
	}
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(table, "\t")
			}
			fmt.Fprint(table, strings.ReplaceAll(cell, "\t", " "))
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush() // a Builder does not fail
	for line := range strings.Lines(aligned.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}

// timeText is a time in the local zone, and how far it is from now.
func timeText(t *time.Time, now time.Time) string {
	return timeTextIn(t, now, time.Local) //nolint:gosmopolitan // whoever reads it is there
}

// timeTextIn is timeText in a time zone.
func timeTextIn(t *time.Time, now time.Time, location *time.Location) string {
	if t == nil {
		return "-"
	}
	return zonedTime(t.In(location)) + " (" + relative(t.Sub(now)) + ")"
}

// localTime is a time in the local zone.
func localTime(t time.Time) string {
	return zonedTime(t.Local()) //nolint:gosmopolitan // whoever reads it is there
}

// zonedTime is a time in its own zone, which it names.
func zonedTime(t time.Time) string { return t.Format(time.DateTime + " MST") }

// relative says how far away something is, in two units at most.
func relative(d time.Duration) string {
	switch {
	case d < -time.Second:
		return roughly(-d) + " ago"
	case d > time.Second:
		return "in " + roughly(d)
	}
	return "now"
}

const day = 24 * time.Hour

func roughly(d time.Duration) string {
	two := func(large, small time.Duration, units string) string {
		text := fmt.Sprintf("%d%c", d/large, units[0])
		if rest := d % large / small; rest > 0 {
			text += fmt.Sprintf("%d%c", rest, units[1])
		}
		return text
	}
	switch {
	case d >= 10*day:
		return fmt.Sprintf("%dd", d/day)
	case d >= day:
		return two(day, time.Hour, "dh")
	case d >= time.Hour:
		return two(time.Hour, time.Minute, "hm")
	case d >= time.Minute:
		return two(time.Minute, time.Second, "ms")
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// secondsText is a duration that the database gave in seconds.
func secondsText(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	return durationText(time.Duration(*seconds * float64(time.Second)))
}

// durationText is a duration to three digits or so.
func durationText(d time.Duration) string {
	switch {
	case d >= time.Minute:
		d = d.Round(time.Second)
	case d >= time.Second:
		d = d.Round(10 * time.Millisecond)
	default:
		d = d.Round(time.Millisecond)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func orDash[T any](value *T) string {
	if value == nil {
		return "-"
	}
	return fmt.Sprint(*value)
}

// firstLine is the beginning of a text, for a table.
func firstLine(text string, length int) string {
	text, _, more := strings.Cut(strings.TrimSpace(text), "\n")
	if runes := []rune(text); len(runes) > length {
		text, more = string(runes[:length-1]), true
	}
	if more {
		text += "…"
	}
	return text
}

func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func isAre(n int, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return fmt.Sprintf("%d %ss are", n, what)
}

// hasHave counts runs that have done something.
func hasHave(n int64) string {
	if n == 1 {
		return "1 run has"
	}
	return fmt.Sprintf("%d runs have", n)
}
