package declared

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/systempromptio/scheduler/jobs"
)

// partitionsDone is the cursor: what the run has done, by target.
type partitionsDone map[string]somePartitions

// somePartitions counts partitions, and has the names of the first few.
type somePartitions struct {
	Count int      `json:"count"`
	Names []string `json:"names"`
}

// record notes a step that is done.
func (w *partitionWork) record(ctx context.Context, batch *jobs.Batch, step partitionStep) {
	target, name := targetCreated, step.making.Name
	if step.take != nil {
		target, name = w.job.takenTarget(), takenName(*step.take)
	}
	w.done = w.done.with(target, name)
	w.next()
	batch.Targets = jobs.Targets{target: {Rows: 1, Batches: 1, Note: w.done.note(target)}}
	batch.Cursor = w.done
	batch.Message = target + ": " + name
	batch.Total = int64(w.done.total() + len(w.steps))
	w.run.Logger.InfoContext(ctx, "a partition was made or taken", slog.String("how", target), slog.String("partition", name), slog.String("table", w.table.Name))
}

// summarize records the end of a run.
func (w *partitionWork) summarize(batch *jobs.Batch) {
	if batch.Targets == nil {
		batch.Targets = jobs.Targets{}
	}
	counts := fmt.Sprintf("%d created", w.done[targetCreated].Count)
	batch.Targets.Merge(jobs.Targets{targetCreated: {}})
	if target := w.job.takenTarget(); w.job.keep != nil {
		counts += fmt.Sprintf(", %d %s", w.done[target].Count, target)
		batch.Targets.Merge(jobs.Targets{target: {}})
	}
	batch.Message = counts
}

// recordDryRun records what a run would do.
func (w *partitionWork) recordDryRun(batch *jobs.Batch) {
	var problems []string
	for _, step := range w.steps {
		switch {
		case step.problem != "":
			problems = append(problems, step.problem)
		case step.take != nil:
			w.done = w.done.with(w.job.takenTarget(), takenName(*step.take))
		default:
			w.done = w.done.with(targetCreated, step.making.Name)
		}
	}
	batch.Targets = jobs.Targets{}
	for target, some := range w.done {
		batch.Targets[target] = jobs.Target{Rows: int64(some.Count), Note: w.done.note(target)}
	}
	w.summarize(batch)
	batch.Message += " by a real run"
	if len(problems) > 0 {
		created := batch.Targets[targetCreated]
		created.Note = joinLines(created.Note, "a real run would fail: "+strings.Join(problems[:min(len(problems), listedMax)], "; "))
		batch.Targets[targetCreated] = created
	}
}

// with is d with one more.
func (d partitionsDone) with(target, name string) partitionsDone {
	next := maps.Clone(d)
	if next == nil {
		next = partitionsDone{}
	}
	some := next[target]
	if some.Count++; some.Count <= listedMax {
		some.Names = append(slices.Clone(some.Names), name)
	}
	next[target] = some
	return next
}

func (d partitionsDone) note(target string) string {
	some := d[target]
	text := strings.Join(some.Names, ", ")
	if more := some.Count - len(some.Names); more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}

func (d partitionsDone) total() int {
	total := 0
	for _, some := range d {
		total += some.Count
	}
	return total
}
