package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// progress shows how a run goes: on a terminal in one line that changes, elsewhere
// in a line for each change.
type progress struct {
	w        io.Writer
	terminal bool
	last     string
}

func newProgress(w io.Writer, terminal bool) *progress { return &progress{w: w, terminal: terminal} }

// show shows the run as it is now. An ended run is the result's affair.
func (p *progress) show(run scheduler.Run) {
	if run.Status.Ended() {
		return
	}
	p.showText(progressText(run))
}

// showText shows one line.
func (p *progress) showText(text string) {
	if text == p.last {
		return
	}
	p.last = text
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s", text)
		return
	}
	fmt.Fprintln(p.w, text)
}

// end clears the line.
func (p *progress) end() {
	if p.terminal && p.last != "" {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

func progressText(run scheduler.Run) string {
	text := fmt.Sprintf("run %d of %s: %s", run.ID, run.JobName, run.Status)
	if run.Status == jobs.StatusScheduled {
		text += " for " + localTime(run.Tick)
	}
	if run.Attempt > 1 {
		text += fmt.Sprintf(", attempt %d", run.Attempt)
	}
	var report jobs.Progress
	if len(run.Progress) > 0 && json.Unmarshal(run.Progress, &report) == nil {
		if report := reportText(report); report != "" {
			text += ", " + report
		}
	}
	if run.Status == jobs.StatusRetrying && run.Error != nil {
		text += ": " + firstLine(*run.Error, 120)
	}
	return text
}

// reportText says how far a run is; nothing if that is not known.
func reportText(report jobs.Progress) string {
	var parts []string
	switch {
	case report.Total > 0:
		parts = append(parts, fmt.Sprintf("%d of %s (%d %%)", report.Done, plural(report.Total, "row"), 100*report.Done/report.Total))
	case report.Done > 0:
		parts = append(parts, plural(report.Done, "row"))
	}
	if report.Rate > 0 {
		digits := 0
		if report.Rate < 10 {
			digits = 1
		}
		parts = append(parts, fmt.Sprintf("%.*f rows/s", digits, report.Rate))
	}
	if report.SecondsLeft > 0 {
		parts = append(parts, "about "+aboutText(report.SecondsLeft)+" left")
	}
	if message := report.Message; message != "" && !repeatsCount(message, report.Done) {
		parts = append(parts, firstLine(message, 80))
	}
	return strings.Join(parts, ", ")
}

// aboutText is a time that is not known well, in seconds.
func aboutText(seconds float64) string {
	const longest = 10_000 * 24 * 60 * 60 // a Duration has its limits
	return roughly(time.Duration(math.Ceil(min(seconds, longest))) * time.Second)
}

// progressOf is how far a run is, as the view runs says it.
func progressOf(run scheduler.Run) jobs.Progress {
	var p jobs.Progress
	set(&p.Done, run.ProgressDone)
	set(&p.Total, run.ProgressTotal)
	set(&p.Rate, run.RowsPerSecond)
	set(&p.SecondsLeft, run.SecondsLeft)
	set(&p.Message, run.ProgressMessage)
	return p
}

func set[T any](target, value *T) {
	if value != nil {
		*target = *value
	}
}
