package web

import (
	"fmt"
	"html/template"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

const (
	// barWidth and barGap are those of a chart, barHeight its height, in pixels.
	barWidth  = 3
	barGap    = 1
	barHeight = 24
)

// class is how a status looks: ok, bad, warn, busy or idle.
func class(status jobs.Status) string {
	switch status {
	case jobs.StatusSuccess:
		return "ok"
	case jobs.StatusFailed:
		return "bad"
	case jobs.StatusBlocked, jobs.StatusMissed, jobs.StatusRetrying:
		return "warn"
	case jobs.StatusRunning, jobs.StatusPending:
		return "busy"
	case jobs.StatusRequested, jobs.StatusScheduled, jobs.StatusWaiting, jobs.StatusCancelled, jobs.StatusSkipped:
		return "idle"
	}
	return "idle"
}

// stripChart is a job's newest runs, oldest first: a bar's height is the duration, on a
// logarithmic scale; what failed reaches to the top, so that colour is not all that
// tells it.
func stripChart(h scheduler.History) template.HTML {
	if len(h.IDs) == 0 {
		return ""
	}
	longest := slices.Max(h.Durations)
	paths := make(map[string]*strings.Builder)
	offset := historyCount - len(h.IDs)
	for i, status := range h.Statuses {
		kind := class(status)
		if paths[kind] == nil {
			paths[kind] = &strings.Builder{}
		}
		height := 2 + int((barHeight-6)*logShare(h.Durations[i], longest))
		if kind == "bad" || status == jobs.StatusBlocked {
			height = barHeight
		}
		fmt.Fprintf(paths[kind], "M%d %dv-%d", (offset+i)*(barWidth+barGap)+barWidth/2+1, barHeight, height)
	}
	var b strings.Builder
	width := historyCount * (barWidth + barGap)
	fmt.Fprintf(&b, `<svg class="strip" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`,
		width, barHeight, width, barHeight, template.HTMLEscapeString(historyWords(h)))
	for _, kind := range slices.Sorted(maps.Keys(paths)) {
		fmt.Fprintf(&b, `<path class="%s" d="%s"/>`, kind, paths[kind])
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // made of numbers and escaped text
}

// historyWords is a strip for those who do not see it.
func historyWords(h scheduler.History) string {
	counts := make(map[jobs.Status]int)
	for _, status := range h.Statuses {
		counts[status]++
	}
	parts := make([]string, 0, len(counts))
	for _, status := range jobs.Statuses() {
		if c := counts[status]; c > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c, status))
		}
	}
	return fmt.Sprintf("last %s: %s", counted(int64(len(h.IDs)), "run"), strings.Join(parts, ", "))
}

// logShare is how long a value is beside the longest, 0 to 1.
func logShare(value, longest float64) float64 {
	const least = 0.001 // a millisecond
	if longest <= least || value <= least {
		return 0
	}
	return math.Log(value/least) / math.Log(longest/least)
}

// dayChart is the rows that a job has changed a day, the last one today.
func dayChart(days []scheduler.DayRows, now time.Time) template.HTML {
	if len(days) == 0 {
		return ""
	}
	today := now.UTC().Truncate(24 * time.Hour)
	counts := make([]int64, historyDays)
	var most, sum int64
	for _, day := range days {
		if i := historyDays - 1 - int(today.Sub(day.Day)/(24*time.Hour)); i >= 0 && i < historyDays {
			counts[i] += day.Rows
			most, sum = max(most, counts[i]), sum+day.Rows
		}
	}
	if most == 0 {
		return ""
	}
	var path strings.Builder
	for i, n := range counts {
		if n > 0 {
			fmt.Fprintf(&path, "M%d %dv-%d", i*(barWidth+barGap)+barWidth/2+1, barHeight, 1+int64(float64(barHeight-1)*float64(n)/float64(most)))
		}
	}
	width := historyDays * (barWidth + barGap)
	words := fmt.Sprintf("rows a day in %d days: %s in all, %s at most, %s today", historyDays, grouped(sum), grouped(most), grouped(counts[historyDays-1]))
	return template.HTML(fmt.Sprintf(`<svg class="days" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s"><path class="rows" d="%s"/></svg>`, //nolint:gosec // as above
		width, barHeight, width, barHeight, words, path.String()))
}
