package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs/cron"
)

// spanMax is ten years, the longest span that a command takes.
const spanMax = 3653 * day

// parseSpan reads how long something is: a duration such as 24h or 90m, which may
// begin with days, as in 7d or 1d12h. It is positive and at most ten years.
func parseSpan(text string) (time.Duration, error) {
	errForm := fmt.Errorf("%q is no duration; write one such as 24h, 90m or 7d", text)
	errRange := fmt.Errorf("%q is out of range; a duration must be positive and at most ten years (3653d)", text)
	days, rest, found := strings.Cut(text, "d")
	if !found {
		days, rest = "0", text
	}
	n, err := strconv.ParseUint(days, 10, 16)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return 0, errRange
	case err != nil:
		return 0, errForm
	}
	var clock time.Duration
	if rest != "" || !found {
		if clock, err = time.ParseDuration(rest); err != nil || found && clock < 0 {
			return 0, errForm
		}
	}
	if clock > spanMax {
		return 0, errRange // their sum might not be a duration
	}
	span := time.Duration(n)*day + clock
	if span <= 0 || span > spanMax {
		return 0, errRange
	}
	return span, nil
}

// parseAt is parseTime that takes, too, a plus and how long it is from now.
func parseAt(text string, location *time.Location, now time.Time) (time.Time, error) {
	span, ok := strings.CutPrefix(text, "+")
	if !ok {
		return parseTime(text, location)
	}
	d, err := parseSpan(span)
	return now.Add(d), err
}

const timeForms = `write one such as 2026-03-29T14:30:00Z, or 2026-03-29 or "2026-03-29 14:30", which is read in the job's time zone`

// checkTime refuses the text of a flag that is a time in no time zone, before
// anybody knows the job's.
func checkTime(flag, text string) error {
	if _, err := parseTime(text, time.UTC); err != nil {
		return fmt.Errorf("--%s is %q, which is not a time; %s", flag, text, timeForms)
	}
	return nil
}

// checkAt is checkTime for what parseAt reads.
func checkAt(flag, text string) error {
	if strings.HasPrefix(text, "+") {
		if _, err := parseAt(text, time.UTC, time.Time{}); err != nil {
			return fmt.Errorf("--%s: %w", flag, err)
		}
		return nil
	}
	if err := checkTime(flag, text); err != nil {
		return fmt.Errorf("%w; or +90m, which is counted from now", err)
	}
	return nil
}

// inOrder says whether one time can be no later than another, as long as nobody knows
// the job's time zone, in which they may have to be read.
func inOrder(from, to string) bool {
	const far = 18 * 60 * 60 // no zone is further from UTC
	for _, seconds := range []int{-far, far} {
		location := time.FixedZone("", seconds)
		first, err := parseTime(from, location)
		last, err2 := parseTime(to, location)
		if err != nil || err2 != nil || !first.After(last) {
			return true // what cannot be read is refused elsewhere
		}
	}
	return false
}

// shownIn is the time zone in which a job's next runs are shown: the job's, if this
// version of the program knows it.
func shownIn(job scheduler.Job) *time.Location {
	location, err := locationOf(job)
	if err != nil {
		return time.Local //nolint:gosmopolitan // whoever reads it is there
	}
	return location
}

// locationOf is the time zone of a job's schedule.
func locationOf(job scheduler.Job) (*time.Location, error) {
	location, err := cron.LoadLocation(job.Timezone)
	if err != nil {
		return nil, fmt.Errorf("job %q: %w", job.JobName, err)
	}
	return location, nil
}
