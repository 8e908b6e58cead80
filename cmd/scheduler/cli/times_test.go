package cli

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/systempromptio/scheduler/jobs/cron"
)

func zone(t require.TestingT, name string) *time.Location {
	location, err := cron.LoadLocation(name)
	require.NoError(t, err)
	return location
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ zone, text, want string }{
		{"Europe/Berlin", "2026-03-28T02:30:00Z", "2026-03-28T03:30:00+01:00"},
		{"Europe/Berlin", "2026-07-01T02:30:00.5-04:00", "2026-07-01T08:30:00.5+02:00"},
		{"Europe/Berlin", "2026-07-01 02:30:00+02:00", "2026-07-01T02:30:00+02:00"},
		{"Europe/Berlin", "2026-10-25T02:30:00+01:00", "2026-10-25T02:30:00+01:00"},
		{"Europe/Berlin", "2026-07-01", "2026-07-01T00:00:00+02:00"},
		{"Europe/Berlin", "2026-07-01T14:30", "2026-07-01T14:30:00+02:00"},
		{"Europe/Berlin", "2026-07-01 14:30", "2026-07-01T14:30:00+02:00"},
		{"Europe/Berlin", "2026-07-01T14:30:15", "2026-07-01T14:30:15+02:00"},
		{"Europe/Berlin", "2026-07-01 14:30:15", "2026-07-01T14:30:15+02:00"},
		{"UTC", "1970-01-01", "1970-01-01T00:00:00Z"},
		{"UTC", "9999-12-31 23:59:59", "9999-12-31T23:59:59Z"},
		{"Asia/Kathmandu", "2026-07-01 00:00", "2026-07-01T00:00:00+05:45"},
		// At the edges of changes.
		{"Europe/Berlin", "2026-03-29 01:59:59", "2026-03-29T01:59:59+01:00"},
		{"Europe/Berlin", "2026-03-29 03:00", "2026-03-29T03:00:00+02:00"},
		{"Europe/Berlin", "2026-10-25 01:59:59", "2026-10-25T01:59:59+02:00"},
		{"Europe/Berlin", "2026-10-25 03:00", "2026-10-25T03:00:00+01:00"},
		{"Europe/Berlin", "2026-10-25", "2026-10-25T00:00:00+02:00"},
		// A date is its first instant: without a midnight, with two, and on a day that was left out.
		{"America/Santiago", "2026-09-06", "2026-09-06T01:00:00-03:00"},
		{"America/Havana", "2026-11-01", "2026-11-01T00:00:00-04:00"},
		{"Pacific/Apia", "2011-12-30", "2011-12-31T00:00:00+14:00"},
	} {
		got, err := parseTime(test.text, zone(t, test.zone))
		require.NoError(t, err, test.text)
		require.Equal(t, test.want, got.Format(time.RFC3339Nano), test.text)
		require.Equal(t, test.zone, got.Location().String(), test.text)
	}
}

func TestParseTimeRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ zone, text, want string }{
		{"Europe/Berlin", "2026-03-29 02:30", `"2026-03-29 02:30" does not exist in Europe/Berlin, where the clock is set forward over it; write a time from 2026-03-29T03:00:00+02:00 on`},
		{"Europe/Berlin", "2026-03-29T02:00:00", `write a time from 2026-03-29T03:00:00+02:00 on`},
		{"Pacific/Apia", "2011-12-30 23:59", `write a time from 2011-12-31T00:00:00+14:00 on`},
		{"America/Santiago", "2026-09-06 00:00", `write a time from 2026-09-06T01:00:00-03:00 on`},
		{"Europe/Berlin", "2026-10-25 02:30", `"2026-10-25 02:30" exists twice in Europe/Berlin, where the clock is set back; write 2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00`},
		{"America/Havana", "2026-11-01T00:00", `write 2026-11-01T00:00:00-04:00 or 2026-11-01T00:00:00-05:00`},
		{"Europe/Berlin", "", `"" is not a time; write one such as 2026-03-29T14:30:00Z`},
		{"Europe/Berlin", "tomorrow", `"tomorrow" is not a time; `},
		{"Europe/Berlin", "14:30", `"14:30" is not a time; `},
		{"Europe/Berlin", "2026-02-30", `which is read in Europe/Berlin`},
		{"Europe/Berlin", "2026-07-01 24:00", `is not a time`},
		{"Europe/Berlin", "2026-07-01  14:30", `is not a time`},
		{"Europe/Berlin", "2026-07-01 ", `is not a time`},
		{"Europe/Berlin", "01.07.2026", `is not a time`},
		{"Europe/Berlin", "1767225600", `is not a time`},
	} {
		got, err := parseTime(test.text, zone(t, test.zone))
		require.ErrorContains(t, err, test.want, test.text)
		require.Zero(t, got)
	}
}

// Whatever a clock shows is read as the instant at which it shows it, unless it
// shows it twice; what it leaves out is not read.
func TestParseTimeInEveryZone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		location := zone(t, rapid.SampledFrom(cron.LocationNames()).Draw(t, "zone"))
		at := time.Unix(rapid.Int64Range(0, 4102444800).Draw(t, "second since 1970"), 0).In(location)
		_, change := at.ZoneBounds()
		if change.IsZero() {
			change = at
		}
		at = change.Add(time.Duration(rapid.Int64Range(-26*3600, 26*3600).Draw(t, "seconds from the change")) * time.Second)
		text := at.Format(time.DateTime)
		found, _ := instants(at.Add(offset(at)), location)
		for _, same := range found {
			require.Equal(t, text, same.Format(time.DateTime))
		}
		got, err := parseTime(text, location)
		switch len(found) {
		case 1:
			require.NoError(t, err)
			require.True(t, got.Equal(at), "%s: got %s", at, got)
		case 2:
			require.Error(t, err)
			require.True(t, found[0].Before(found[1]))
			require.True(t, found[0].Equal(at) || found[1].Equal(at), "%s: got %s", at, found)
		default:
			t.Fatalf("%s: found %s", at, found)
		}

		before := change.Add(-time.Second)
		if gap := offset(change) - offset(before); gap > 0 {
			skipped := change.Add(offset(before)).Add(time.Duration(rapid.Int64Range(0, int64(gap/time.Second)-1).Draw(t, "into the gap")) * time.Second)
			found, end := instants(skipped, location)
			require.Empty(t, found)
			require.True(t, end.Equal(change), "the gap with %s ends at %s, got %s", skipped, change, end)
		}
	})
}
