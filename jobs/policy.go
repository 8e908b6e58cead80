package jobs

import (
	"fmt"
	"slices"
)

// Overlap says what happens to a run that is due while the job's run before has
// not ended. It holds for every run: scheduled, asked for, and made up for. A run
// whose replica has died has not ended until it was handed back and worked, or was
// given up.
type Overlap string

// The overlap policies.
const (
	// OverlapSkip leaves the new run out; the ledger says so. The default.
	OverlapSkip Overlap = "skip"
	// OverlapQueue lets one run wait until the one before has ended, and leaves out
	// those that come while it waits.
	OverlapQueue Overlap = "queue"
	// OverlapAllow runs them side by side.
	OverlapAllow Overlap = "allow"
	// OverlapCancel cancels the run that has not ended, and runs the new one. What
	// its committed batches did stays.
	OverlapCancel Overlap = "cancel"
)

// Overlaps lists the policies.
func Overlaps() []Overlap { return []Overlap{OverlapSkip, OverlapQueue, OverlapAllow, OverlapCancel} }

// CatchUp says what happens to ticks that were not decided in time because nobody
// led. Those that are not run are one row of the ledger, with their count.
type CatchUp string

// The catch-up policies.
const (
	// CatchUpLatest runs the newest missed tick, once. The default.
	CatchUpLatest CatchUp = "latest"
	// CatchUpAll runs missed ticks one after the other, oldest first: the newest
	// CatchUpLimit of those that are not older than CatchUpMaxAge. With
	// [OverlapAllow] they run at once.
	CatchUpAll CatchUp = "all"
	// CatchUpNone runs none.
	CatchUpNone CatchUp = "none"
)

// CatchUps lists the policies.
func CatchUps() []CatchUp { return []CatchUp{CatchUpLatest, CatchUpAll, CatchUpNone} }

// Check refuses what is no policy. Empty means the default.
func (o Overlap) Check() error {
	if o != "" && !slices.Contains(Overlaps(), o) {
		return fmt.Errorf("is %q, must be one of %v", string(o), Overlaps())
	}
	return nil
}

// Check refuses what is no policy. Empty means the default.
func (c CatchUp) Check() error {
	if c != "" && !slices.Contains(CatchUps(), c) {
		return fmt.Errorf("is %q, must be one of %v", string(c), CatchUps())
	}
	return nil
}

// CheckCatchUpLimit refuses a number out of range. Zero means the default.
func CheckCatchUpLimit(limit int) error {
	if limit < 0 || limit > CatchUpLimitMax {
		return fmt.Errorf("is %d, must be between 1 and %d", limit, CatchUpLimitMax)
	}
	return nil
}
