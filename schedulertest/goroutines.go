package schedulertest

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"time"
)

// goroutineLabel marks the goroutines that a job starts: they have their creator's labels.
const goroutineLabel = "schedulertest"

var labels atomic.Int64 //nolint:gochecknoglobals // tells the tests of a process apart

// goroutinesOf runs fn and returns the stacks of goroutines that it, or what it has started,
// has started and that have not ended a while after it. Other tests of the process do not
// matter. What runs by a timer (time.AfterFunc) is not seen.
func goroutinesOf(ctx context.Context, wait time.Duration, fn func(ctx context.Context)) string {
	label := fmt.Sprintf("run-%d", labels.Add(1))
	done := make(chan struct{})
	go func() {
		defer close(done)
		pprof.Do(ctx, pprof.Labels(goroutineLabel, label), fn)
	}()
	<-done
	ticker := time.NewTicker(goroutinesPoll)
	defer ticker.Stop()
	for end := time.Now().Add(wait); ; <-ticker.C {
		if stacks := goroutinesWith(label); stacks == "" || time.Now().After(end) {
			return stacks
		}
	}
}

const goroutinesPoll = 10 * time.Millisecond

// goroutinesWith returns the stacks of the goroutines that have a label.
func goroutinesWith(label string) string {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return ""
	}
	var found []string
	for entry := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(entry, fmt.Sprintf("%q:%q", goroutineLabel, label)) {
			found = append(found, entry)
		}
	}
	return strings.Join(found, "\n\n")
}
