package cron_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/systempromptio/scheduler/jobs/cron"
)

// changes returns the instants from 1970 to 2100 at which a zone's offset changes
// or might: where one of its rules begins.
func changes(loc *time.Location) []time.Time {
	var found []time.Time
	for at := time.Unix(0, 0); ; {
		_, end := at.In(loc).ZoneBounds()
		if end.IsZero() || end.Year() > 2100 {
			return found
		}
		if !end.After(at) { // the last day of a leap year, see TestEndOfALeapYear
			end = at.Add(24 * time.Hour)
		}
		found = append(found, end)
		at = end
	}
}

// The other tests against the reference take zones that are known for what their
// clocks do. This one takes every zone there is, around its own changes.
func TestTicksEqualReferenceInEveryZone(t *testing.T) {
	t.Parallel()
	const around = 30 * time.Hour // a day that is left out, and some
	rapid.Check(t, func(t *rapid.T) {
		r := drawReference(t, false)
		for range 8 {
			loc := mustLoad(t, rapid.SampledFrom(cron.LocationNames()).Draw(t, "zone"))
			at := changes(loc)
			if loc.String() == "Africa/Monrovia" {
				at = nil // its clock was off by half a minute until 1972, see the test by seconds
			}
			if len(at) == 0 { // a zone without changes since 1970
				at = []time.Time{time.Unix(60*rapid.Int64Range(3*366*24*60, 4102444800/60).Draw(t, "minute since 1970"), 0)}
			}
			change := rapid.SampledFrom(at).Draw(t, "change").UTC()
			checkWindow(t, r, loc, change.Add(-around), change.Add(around), time.Minute)
		}
	})
}
