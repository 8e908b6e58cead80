package cli

import (
	"fmt"
	"slices"
	"time"
)

// parseTime reads a time that somebody has typed: RFC 3339, or a date, or a date
// and a time of day, which are those of the location. A date is its first instant.
//
// A time of day that the location's clock leaves out or shows twice that day is
// refused, and the error says what to write instead.
func parseTime(text string, location *time.Location) (time.Time, error) {
	withT := []byte(text)
	if len(withT) > len(time.DateOnly) && withT[len(time.DateOnly)] == ' ' {
		withT[len(time.DateOnly)] = 'T'
	}
	if t, err := time.Parse(time.RFC3339, string(withT)); err == nil {
		return t.In(location), nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.DateOnly} {
		wall, err := time.Parse(layout, string(withT))
		if err != nil {
			continue
		}
		found, gapEnd := instants(wall, location)
		switch {
		case len(found) == 0 && layout == time.DateOnly:
			return gapEnd, nil
		case len(found) == 0:
			return time.Time{}, fmt.Errorf("%q does not exist in %s, where the clock is set forward over it; write a time from %s on",
				text, location, gapEnd.Format(time.RFC3339))
		case len(found) > 1 && layout != time.DateOnly:
			return time.Time{}, fmt.Errorf("%q exists twice in %s, where the clock is set back; write %s or %s",
				text, location, found[0].Format(time.RFC3339), found[1].Format(time.RFC3339))
		}
		return found[0], nil
	}
	return time.Time{}, fmt.Errorf("%q is not a time; write one such as 2026-03-29T14:30:00Z or 2026-03-29T14:30:00+02:00, "+
		`or 2026-03-29 or "2026-03-29 14:30", which is read in %s`, text, location)
}

// instants returns when the location's clock shows what wall says, read as UTC, in
// order. If it never does, gapEnd is the instant at which the clock skips it.
func instants(wall time.Time, location *time.Location) (found []time.Time, gapEnd time.Time) {
	// No offset was ever further from UTC than 16 hours, nor in force for less
	// than one.
	const far = 17 * time.Hour
	for at := wall.Add(-far); !at.After(wall.Add(far)); at = at.Add(time.Hour) {
		t := wall.Add(-offset(at.In(location))).In(location)
		switch shown := t.Add(offset(t)); {
		case shown.Equal(wall):
			if !slices.ContainsFunc(found, t.Equal) {
				found = append(found, t)
			}
		case shown.After(wall) && gapEnd.IsZero():
			// By the clock before the change it is now that time; by the one after, it is past.
			gapEnd, _ = t.ZoneBounds()
		}
	}
	slices.SortFunc(found, time.Time.Compare)
	return found, gapEnd
}

func offset(t time.Time) time.Duration {
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second
}
