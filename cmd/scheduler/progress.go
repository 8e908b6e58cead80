package main

import (
	"encoding/json"
	"fmt"
	"io"

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
	if jobs.Status(run.Status).Ended() {
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
	if run.Status == string(jobs.StatusScheduled) {
		text += " for " + localTime(run.Tick)
	}
	if run.Attempt > 1 {
		text += fmt.Sprintf(", attempt %d", run.Attempt)
	}
	var report jobs.Progress
	if len(run.Progress) > 0 && json.Unmarshal(run.Progress, &report) == nil {
		switch {
		case report.Total > 0:
			text += fmt.Sprintf(", %d of %s (%d %%)", report.Done, plural(report.Total, "row"), 100*report.Done/report.Total)
		case report.Done > 0:
			text += ", " + plural(report.Done, "row")
		}
		if report.Message != "" {
			text += ", " + firstLine(report.Message, 80)
		}
	}
	if run.Status == string(jobs.StatusRetrying) && run.Error != nil {
		text += ": " + firstLine(*run.Error, 120)
	}
	return text
}
