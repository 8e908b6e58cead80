package web

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// runView is a run as the pages show it.
type runView struct {
	ID                                    int64
	Status                                jobs.Status
	JobName, Message, Reason              string
	DryRun, Ended                         bool
	Tick                                  *time.Time
	Rows, Took, Remark                    string
	Trigger, Replica                      string
	Attempt                               int
	Done, Total, Percent                  int64
	Progress, Error, Parameters, RiverURL string
	Targets                               []targetView
	Story                                 []storyView
	Log                                   []logView
}

// targetView is what a run did to a target.
type targetView struct {
	Name, Rows, Batches, Plan string
	Rest                      []string
}

// logView is a line of a run's log.
type logView struct {
	At                  *time.Time
	Class, Level        string
	Message, Attributes string
	// Attempt is set where another attempt begins.
	Attempt string
}

func logViews(list []scheduler.LogLine) []logView {
	views := make([]logView, 0, len(list))
	before := 0
	for _, line := range list {
		v := logView{At: line.At, Level: strings.ToLower(line.Level), Class: "idle", Message: line.Message, Attributes: string(line.Attributes)}
		switch v.Level {
		case "warn":
			v.Class = "warn"
		case "error":
			v.Class = "bad"
		}
		if v.Attributes == "{}" || v.Attributes == "null" {
			v.Attributes = ""
		}
		if line.Attempt != before {
			v.Attempt, before = fmt.Sprintf("Attempt %d on %s", line.Attempt, line.ReplicaID), line.Attempt
		}
		views = append(views, v)
	}
	return views
}

// storyView is something that happened to a run.
type storyView struct {
	At   *time.Time
	Text string
}

func runViews(list []scheduler.Run) []runView {
	views := make([]runView, 0, len(list))
	for _, run := range list {
		views = append(views, newRunView(run))
	}
	return views
}

func newRunView(run scheduler.Run) runView {
	v := runView{
		ID: run.ID, JobName: run.JobName, Status: run.Status, Message: deref(run.Message), Reason: deref(run.Reason), DryRun: run.DryRun,
		Ended: run.Status.Ended(), Tick: &run.Tick, Rows: "–", Took: "–", Error: deref(run.Error), Parameters: compact(run.Parameters),
		Done: deref(run.ProgressDone), Total: deref(run.ProgressTotal), Targets: targetViews(run.Targets), Story: story(run),
	}
	v.Trigger, v.Replica = string(run.Trigger), cmp.Or(deref(run.ReplicaID), "–")
	if run.RequestedBy != nil {
		v.Trigger += ", by " + *run.RequestedBy
	}
	v.Attempt = run.Attempt
	if run.RowsAffected != nil {
		v.Rows = grouped(*run.RowsAffected)
	}
	if run.Duration != nil {
		v.Took = secondsText(*run.Duration)
	}
	v.Percent = percent(v.Done, v.Total)
	v.Progress = progressWords(run)
	var remarks []string
	if run.DryRun {
		remarks = append(remarks, "dry run")
	}
	if run.Attempt > 1 {
		remarks = append(remarks, fmt.Sprintf("attempt %d", run.Attempt))
	}
	if n := deref(run.MissedCount); n > 0 {
		remarks = append(remarks, counted(n, "tick")+" missed")
	}
	for _, text := range []string{v.Reason, firstLine(v.Error)} {
		if text != "" {
			remarks = append(remarks, text)
		}
	}
	v.Remark = strings.Join(remarks, "; ")
	return v
}

// progressWords says how far a run is.
func progressWords(run scheduler.Run) string {
	var parts []string
	switch done, total := deref(run.ProgressDone), deref(run.ProgressTotal); {
	case total > 0:
		parts = append(parts, fmt.Sprintf("%s of %s (%d %%)", grouped(done), counted(total, "row"), percent(done, total)))
	case done > 0:
		parts = append(parts, counted(done, "row"))
	}
	if rate := deref(run.RowsPerSecond); rate > 0 {
		parts = append(parts, fmt.Sprintf("%s rows/s", grouped(int64(rate+0.5))))
	}
	if left := deref(run.SecondsLeft); left > 0 {
		parts = append(parts, "about "+secondsText(left)+" left")
	}
	if message := deref(run.ProgressMessage); message != "" {
		parts = append(parts, firstLine(message))
	}
	if run.ReplicaID != nil && run.Status == jobs.StatusRunning {
		parts = append(parts, "on "+*run.ReplicaID)
	}
	return strings.Join(parts, ", ")
}

func targetViews(raw json.RawMessage) []targetView {
	var targets map[string]map[string]any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if len(raw) == 0 || decoder.Decode(&targets) != nil {
		return nil
	}
	views := make([]targetView, 0, len(targets))
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		v := targetView{Name: name, Rows: "–", Batches: "–"}
		for _, key := range slices.Sorted(maps.Keys(targets[name])) {
			switch value := targets[name][key]; key {
			case "rows":
				v.Rows = numberText(value)
			case "batches":
				v.Batches = numberText(value)
			case "plan":
				v.Plan = fmt.Sprint(value)
			default:
				text, ok := value.(string)
				if !ok {
					encoded, err := json.Marshal(value)
					if err != nil {
						continue
					}
					text = string(encoded)
				}
				v.Rest = append(v.Rest, key+": "+text)
			}
		}
		views = append(views, v)
	}
	return views
}

func numberText(value any) string {
	number, ok := value.(json.Number)
	if !ok {
		return fmt.Sprint(value)
	}
	n, err := number.Int64()
	if err != nil {
		return number.String()
	}
	return grouped(n)
}

// story is what happened to a run, in its order.
func story(run scheduler.Run) []storyView {
	first := map[jobs.Trigger]string{
		jobs.TriggerSchedule: "was the tick of the schedule", jobs.TriggerManual: "was asked for",
		jobs.TriggerBootstrap: "was asked for by a fleet that started", jobs.TriggerBackfill: "was the tick that a backfill is for",
	}[run.Trigger]
	if run.RequestedBy != nil {
		first += " by " + *run.RequestedBy
	}
	if run.LeaderEpoch != nil {
		first += fmt.Sprintf("; the leader of term %d decided", *run.LeaderEpoch)
	}
	list := []storyView{{&run.Tick, first}}
	if run.StartedAt != nil {
		text := "the first attempt began"
		switch {
		case run.Attempt > 1 && run.ReplicaID != nil:
			text += fmt.Sprintf("; attempt %d is the latest, on %s", run.Attempt, *run.ReplicaID)
		case run.ReplicaID != nil:
			text += " on " + *run.ReplicaID
		}
		list = append(list, storyView{run.StartedAt, text})
	}
	if run.FinishedAt != nil {
		text := "ended: " + string(run.Status)
		if run.Duration != nil {
			text += " after " + secondsText(*run.Duration)
		}
		list = append(list, storyView{run.FinishedAt, text})
	}
	return list
}
