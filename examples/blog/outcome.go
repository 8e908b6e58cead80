package blog

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/systempromptio/scheduler/jobs"
)

// listedMax is how many files that were written, and how many that failed, the record of a
// run lists; the rest are counted. Files that stay as they are, are only counted.
const listedMax = 200

// outcome is what became of a file.
type outcome string

const (
	inserted  outcome = "inserted"
	updated   outcome = "updated"
	unchanged outcome = "unchanged"
	// kept: the row exists and differs, and the source does not override.
	kept   outcome = "kept"
	failed outcome = "failed"
)

// tally is how many files of a source had which outcome, and which unknown fields they
// had. It travels in the run's cursor.
type tally struct {
	Outcomes map[outcome]int64 `json:"outcomes"`
	// Written and Failed are how many of either are listed.
	Written int `json:"written,omitempty"`
	Failed  int `json:"failed,omitempty"`
	// Unknown counts the files that have a field that means nothing.
	Unknown map[string]int `json:"unknown,omitempty"`
}

// unknownMax is how many unknown fields are told apart.
const unknownMax = 20

func (t *tally) clone() *tally {
	c := &tally{Outcomes: map[outcome]int64{}, Unknown: map[string]int{}}
	if t != nil {
		c.Written, c.Failed = t.Written, t.Failed
		maps.Copy(c.Outcomes, t.Outcomes)
		maps.Copy(c.Unknown, t.Unknown)
	}
	return c
}

// add counts a file, and lists it in targets if there is room.
func (t *tally) add(targets jobs.Targets, source string, file file, o outcome) {
	t.Outcomes[o]++
	note := string(o)
	room := &t.Written
	switch o {
	case unchanged, kept:
		room = nil
	case failed:
		note, room = "failed: "+reason(file.err), &t.Failed
	case inserted, updated:
	}
	if room != nil && *room < listedMax {
		*room++
		targets[source+"/"+shown(file.path)] = jobs.Target{Note: note}
	}
	if file.doc == nil {
		return
	}
	for _, name := range file.doc.unknown {
		if _, known := t.Unknown[shown(name)]; known || len(t.Unknown) < unknownMax {
			t.Unknown[shown(name)]++
		}
	}
}

// files is how many files were counted.
func (t *tally) files() int64 {
	var n int64
	for _, count := range t.Outcomes {
		n += count
	}
	return n
}

// note is a source's line in the record.
func (t *tally) note() string {
	var parts []string
	for _, o := range []outcome{inserted, updated, unchanged} {
		parts = append(parts, fmt.Sprintf("%d %s", t.Outcomes[o], o))
	}
	if n := t.Outcomes[kept]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d differ and are kept, since override_existing is off", n))
	}
	parts = append(parts, fmt.Sprintf("%d failed", t.Outcomes[failed]))
	note := fmt.Sprintf("%d files: %s", t.files(), strings.Join(parts, ", "))
	hidden := max(t.Outcomes[inserted]+t.Outcomes[updated]-int64(t.Written), 0)
	if rest := t.Outcomes[failed] - int64(t.Failed); rest > 0 {
		note += fmt.Sprintf("; %d of those that failed are not listed here, but in the log", rest)
	}
	if hidden > 0 {
		note += fmt.Sprintf("; %d of those that were written are not listed", hidden)
	}
	if len(t.Unknown) > 0 {
		names := make([]string, 0, len(t.Unknown))
		for _, name := range slices.Sorted(maps.Keys(t.Unknown)) {
			names = append(names, fmt.Sprintf("%s (%d)", name, t.Unknown[name]))
		}
		note += "; fields of front matter that mean nothing here: " + strings.Join(names, ", ")
	}
	return note
}
