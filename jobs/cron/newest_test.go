package cron_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/systempromptio/scheduler/jobs/cron"
)

// walk is the ticks of a window by Next, one after the other.
func walk(s *cron.Schedule, after, upTo time.Time) []time.Time {
	var ticks []time.Time
	for at := s.Next(after); !at.IsZero() && !at.After(upTo); at = s.Next(at) {
		ticks = append(ticks, at)
	}
	return ticks
}

func TestNewestEqualsAWalk(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc := mustLoad(t, rapid.SampledFrom(cron.LocationNames()).Draw(t, "zone"))
		text := "@every 90s"
		if rapid.IntRange(0, 9).Draw(t, "every") > 0 {
			text = drawReference(t, rapid.Bool().Draw(t, "seconds")).text
		}
		s, err := cron.Parse(text, cron.Options{Location: loc})
		if err != nil {
			return // it never fires
		}
		hours := rapid.SampledFrom([]int64{1, 30, 24 * 400}).Draw(t, "hours")
		length := time.Duration(rapid.Int64Range(0, hours*3600).Draw(t, "seconds")) * time.Second
		from := drawInstant(t, loc, min(hours, 72)).Add(time.Duration(rapid.IntRange(0, 999_999_999).Draw(t, "fraction")))
		to := from
		for want := 0; want < 2000 && to.Before(from.Add(length)); want++ { // a bounded walk
			to = s.Next(to)
		}
		to = slices.MinFunc([]time.Time{to, from.Add(length)}, time.Time.Compare)

		ticks := walk(s, from, to)
		n := rapid.IntRange(-1, len(ticks)+2).Draw(t, "n")
		want := ticks[len(ticks)-min(max(n, 0), len(ticks)):]
		got := s.Newest(n, from, to)
		if !slices.EqualFunc(got, want, time.Time.Equal) {
			t.Fatalf("%q in %s: Newest(%d, %s, %s) = %s, want %s", s, loc, n, from, to, got, want)
		}
		if len(got) > 0 && got[0].Location() != loc {
			t.Fatalf("in %s, want %s", got[0].Location(), loc)
		}
	})
}

func TestNewestAtChangesOfTheClock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zone, text, after, upTo string
		n                       int
		want                    string
	}{
		// New York: 8 March 2026 2:00 becomes 3:00, 1 November 2:00 becomes 1:00.
		{"America/New_York", "0,20,40 2 * * *", "2026-03-07T02:30:00-05:00", "2026-03-08T03:00:00-04:00", 2, "2026-03-07T02:40:00-05:00 2026-03-08T03:00:00-04:00"},
		{"America/New_York", "0,20,40 2 * * *", "2026-03-07T02:30:00-05:00", "2026-03-08T01:59:59-05:00", 2, "2026-03-07T02:40:00-05:00"},
		{"America/New_York", "0,30 1 * * *", "2026-10-31T12:00:00-04:00", "2026-11-01T01:59:00-05:00", 9, "2026-11-01T01:00:00-04:00 2026-11-01T01:30:00-04:00"},
		{"America/New_York", "0,30 1 * * *", "2026-10-31T12:00:00-04:00", "2026-11-01T01:59:00-05:00", 1, "2026-11-01T01:30:00-04:00"},
		{"America/New_York", "0,30 1 * * *", "2026-11-01T01:30:00-04:00", "2026-11-01T01:59:00-05:00", 9, ""},
		{"America/New_York", "*/30 1 * * *", "2026-10-31T12:00:00-04:00", "2026-11-01T01:59:00-05:00", 3, "2026-11-01T01:30:00-04:00 2026-11-01T01:00:00-05:00 2026-11-01T01:30:00-05:00"},
		{"America/New_York", "*/30 * * * *", "2026-03-08T00:00:00-05:00", "2026-03-08T03:00:00-04:00", 2, "2026-03-08T01:30:00-05:00 2026-03-08T03:00:00-04:00"},
		{"Australia/Lord_Howe", "45 1 * * *", "2026-04-04T12:00:00+11:00", "2026-04-05T01:59:00+10:30", 5, "2026-04-05T01:45:00+11:00"},
		{"Pacific/Apia", "30 9 * * *", "2011-12-28T12:00:00-10:00", "2011-12-31T09:30:00+14:00", 3, "2011-12-29T09:30:00-10:00 2011-12-31T00:00:00+14:00 2011-12-31T09:30:00+14:00"},
		// The ends: after is left out, upTo is not.
		{"UTC", "0 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T02:00:00Z", 9, "2026-01-01T01:00:00Z 2026-01-01T02:00:00Z"},
		{"UTC", "0 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T01:59:59Z", 1, "2026-01-01T01:00:00Z"},
		{"UTC", "0 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 9, ""},
		{"UTC", "0 * * * *", "2026-01-01T02:00:00Z", "2026-01-01T01:00:00Z", 9, ""},
		{"UTC", "0 * * * *", "1960-01-01T00:00:00Z", "1970-01-01T00:00:00Z", 9, "1970-01-01T00:00:00Z"},
		{"UTC", "0 0 29 2 *", "1960-01-01T00:00:00Z", "2026-01-01T00:00:00Z", 2, "2020-02-29T00:00:00Z 2024-02-29T00:00:00Z"},
		{"UTC", "@yearly", "2190-06-01T00:00:00Z", "3000-01-01T00:00:00Z", 2, "2198-01-01T00:00:00Z 2199-01-01T00:00:00Z"},
		{"Europe/Berlin", "@every 40m", "2026-01-01T00:00:00+01:00", "2026-01-01T02:59:00+01:00", 2, "2026-01-01T01:40:00+01:00 2026-01-01T02:20:00+01:00"},
	} {
		after, err := time.Parse(time.RFC3339, c.after)
		if err != nil {
			t.Fatal(err)
		}
		upTo, err := time.Parse(time.RFC3339, c.upTo)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, tick := range parse(t, c.text, c.zone).Newest(c.n, after, upTo) {
			got = append(got, tick.Format(time.RFC3339))
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%q in %s: Newest(%d, %s, %s) = %s, want %s", c.text, c.zone, c.n, c.after, c.upTo, text, c.want)
		}
	}
}

// Walking over all of these ticks, 7 billion, would take an hour.
func TestNewestDoesNotWalk(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"* * * * * *", "* 0-59 0-23 * * *", "@every 1s"} {
		s := parse(t, text, "Europe/Berlin")
		got := s.Newest(100, time.Time{}, time.Unix(math.MaxInt64, 0))
		if len(got) != 100 || !got[99].Equal(time.Date(2199, 12, 31, 23, 59, 59, 0, time.UTC)) || got[99].Sub(got[0]) != 99*time.Second {
			t.Errorf("%q: got %d, %s", text, len(got), got)
		}
	}
	s := parse(t, "0 0 29 2 *", "Europe/Berlin")
	if got := s.Newest(math.MaxInt, time.Time{}, time.Unix(math.MaxInt64, 0)); len(got) != 56 {
		t.Errorf("%q: got %d of 56 leap days: %s", s, len(got), got)
	}
}
