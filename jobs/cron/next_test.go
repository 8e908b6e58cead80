package cron_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/systempromptio/scheduler/jobs/cron"
)

// drawInstant draws a whole minute from 1970 to 2100, in three of four cases at
// most some hours before a change of the zone's clock or one hour after it.
func drawInstant(t *rapid.T, loc *time.Location, hours int64) time.Time {
	at := time.Unix(60*rapid.Int64Range(0, 4102444800/60).Draw(t, "minute since 1970"), 0)
	start, end := at.In(loc).ZoneBounds()
	near := time.Duration(rapid.Int64Range(-hours*60, 60).Draw(t, "minutes from the change")) * time.Minute
	switch rapid.IntRange(0, 3).Draw(t, "near") {
	case 1:
		if !start.IsZero() && start.Unix() > 0 {
			at = start.Add(near)
		}
	case 2, 3:
		if !end.IsZero() {
			at = end.Add(near)
		}
	}
	return at.Truncate(time.Minute).UTC()
}

// checkWindow compares every tick of a window with the reference: by Next one
// after the other, and by Count over the whole and over both halves.
func checkWindow(t *rapid.T, r *reference, loc *time.Location, from, to time.Time, step time.Duration) {
	want := r.ticks(loc, from, to, step)
	s, err := cron.Parse(r.text, cron.Options{Location: loc})
	if err != nil {
		for day := time.Unix(0, 0).UTC(); day.Year() < 2100; day = day.AddDate(0, 0, 1) {
			if r.matchesDay(day) {
				t.Fatalf("%q in %s is due on %s but was refused: %v", r.text, loc, day, err)
			}
		}
		return
	}

	before := from.Add(-time.Nanosecond)
	at := before
	for i, w := range want {
		next := s.Next(at)
		if !next.Equal(w) {
			t.Fatalf("%q in %s: tick %d after %s is %s, want %s", r.text, loc, i, at.In(loc), next, w.In(loc))
		}
		at = next
	}
	if next := s.Next(at); !next.After(to) {
		t.Fatalf("%q in %s: after %s comes %s, want nothing up to %s", r.text, loc, at.In(loc), next, to.In(loc))
	}

	checkCount(t, s, before, to, want)
	middle := from.Add(time.Duration(rapid.Int64Range(0, int64(to.Sub(from))).Draw(t, "middle")))
	split := 0
	for split < len(want) && !want[split].After(middle) {
		split++
	}
	checkCount(t, s, before, middle, want[:split])
	checkCount(t, s, middle, to, want[split:])
	if split < len(want) {
		if next := s.Next(middle); !next.Equal(want[split]) {
			t.Fatalf("%q in %s: after %s comes %s, want %s", r.text, loc, middle.In(loc), next, want[split].In(loc))
		}
	}
}

func checkCount(t *rapid.T, s *cron.Schedule, after, upTo time.Time, want []time.Time) {
	n, first, last := s.Count(after, upTo)
	var wantFirst, wantLast time.Time
	if len(want) > 0 {
		wantFirst, wantLast = want[0], want[len(want)-1]
	}
	if n != int64(len(want)) || !first.Equal(wantFirst) || !last.Equal(wantLast) {
		t.Fatalf("%q: Count(%s, %s) = %d, %s, %s, want %d, %s, %s",
			s, after, upTo, n, first, last, len(want), wantFirst, wantLast)
	}
}

func TestTicksEqualReferenceByMinute(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc := mustLoad(t, rapid.SampledFrom(zones).Draw(t, "zone"))
		from := drawInstant(t, loc, 72)
		if loc.String() == "Africa/Monrovia" {
			from = from.AddDate(3, 0, 0) // its clock was off by half a minute until 1972
		}
		r := drawReference(t, false)
		checkWindow(t, r, loc, from, from.Add(96*time.Hour), time.Minute)
	})
}

func TestTicksEqualReferenceBySecond(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc := mustLoad(t, rapid.SampledFrom(zones).Draw(t, "zone"))
		from := drawInstant(t, loc, 3)
		r := drawReference(t, rapid.Bool().Draw(t, "seconds"))
		checkWindow(t, r, loc, from, from.Add(3*time.Hour), time.Second)
	})
}

func mustLoad(t *rapid.T, zone string) *time.Location {
	loc, err := cron.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// A fixed time of day has one tick for every day of the calendar, whatever the
// clock does, except that times left out by the same gap share one.
func TestNoDayWithoutItsRun(t *testing.T) {
	t.Parallel()
	for _, zone := range zones {
		loc := location(t, zone)
		for _, clock := range []string{
			"0 0", "15 0", "59 0", "0 1", "30 1", "0 2", "15 2", "30 2", "0 3", "0 12", "0 23", "30 23", "59 23",
		} {
			s := parse(t, clock+" * * *", zone)
			// From noon to noon: no zone changed its clock around these.
			from := time.Date(1990, 7, 1, 12, 0, 0, 0, loc)
			to := time.Date(2040, 7, 1, 12, 0, 0, 0, loc)
			want := int64(wall(to, loc).Sub(wall(from, loc)) / (24 * time.Hour))
			if clock == "0 0" {
				// A day left out whole is due at the instant after the gap, and so is
				// the midnight of the day that begins there.
				switch zone {
				case "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Enderbury", "Pacific/Kwajalein":
					want--
				}
			}
			if n, _, _ := s.Count(from, to); n != want {
				t.Errorf("%q in %s: %d ticks, want %d", s, zone, n, want)
			}
		}
	}
}

func TestTicksAlwaysGoForward(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc := mustLoad(t, rapid.SampledFrom(zones).Draw(t, "zone"))
		r := drawReference(t, rapid.Bool().Draw(t, "seconds"))
		s, err := cron.Parse(r.text, cron.Options{Location: loc})
		if err != nil {
			return // it never fires
		}
		start := time.Unix(rapid.Int64Range(-1e9, 4102444800).Draw(t, "start"), rapid.Int64Range(0, 999999999).Draw(t, "fraction"))
		at := start
		const ticks = 300
		for range ticks {
			next := s.Next(at)
			if !next.After(at) || next.Location() != loc || next.Nanosecond() != 0 {
				t.Fatalf("%q in %s: Next(%s) = %s", s, loc, at, next)
			}
			// The tick is the first one: seen from anywhere in between it is the same.
			between := at.Add(time.Duration(rapid.Float64Range(0, 0.999).Draw(t, "between") * float64(next.Sub(at))))
			if got := s.Next(between); !got.Equal(next) {
				t.Fatalf("%q in %s: Next(%s) = %s, but Next(%s) = %s", s, loc, at, next, between, got)
			}
			at = next
			if at.Year() >= 2150 {
				return
			}
		}
		if n, first, last := s.Count(start, at); n != ticks || !first.Equal(s.Next(start)) || !last.Equal(at) {
			t.Fatalf("%q in %s: Count(%s, %s) = %d, %s, %s, want %d ticks", s, loc, start, at, n, first, last, ticks)
		}
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	s := parse(t, "0 0 * * *", "UTC")
	horizon := time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct{ after, want time.Time }{
		{time.Time{}, time.Unix(0, 0)},
		{time.Unix(-1, 0), time.Unix(0, 0)},
		{time.Unix(-1, 999_999_999), time.Unix(0, 0)},
		{time.Unix(0, 0), time.Unix(86400, 0)},
		{time.Unix(86399, 999_999_999), time.Unix(86400, 0)},
		{horizon.Add(-48 * time.Hour), horizon.Add(-24 * time.Hour)},
		{horizon.Add(-24 * time.Hour), time.Time{}},
		{horizon, time.Time{}},
		{time.Unix(1<<62, 0), time.Time{}},
		{time.Unix(1<<63-1, 0), time.Time{}},
	} {
		if got := s.Next(c.after); !got.Equal(c.want) || got.IsZero() != c.want.IsZero() {
			t.Errorf("Next(%s) = %s, want %s", c.after, got, c.want)
		}
	}

	days := horizon.Unix() / 86400
	if n, first, last := s.Count(time.Time{}, time.Unix(1<<62, 0)); n != days || first.Unix() != 0 ||
		!last.Equal(horizon.Add(-24*time.Hour)) {
		t.Errorf("Count of everything = %d, %s, %s, want %d", n, first, last, days)
	}
	for _, upTo := range []time.Time{{}, time.Unix(0, 0), time.Unix(86399, 0)} {
		if n, first, last := s.Count(time.Unix(0, 0), upTo); n != 0 || !first.IsZero() || !last.IsZero() {
			t.Errorf("Count up to %s = %d, %s, %s", upTo, n, first, last)
		}
	}
}

// On 31 December of a leap year time.ZoneBounds returns an end that has passed.
func TestEndOfALeapYear(t *testing.T) {
	t.Parallel()
	for _, zone := range zones {
		if zone == "Africa/Casablanca" || zone == "Africa/El_Aaiun" {
			continue // in some years Ramadan, and so a change of the clock, falls on these days
		}
		s := parse(t, "0 */6 * * *", zone)
		for year := 2026; year < 2100; year++ {
			at := time.Date(year, 12, 30, 0, 0, 0, 0, location(t, zone))
			for range 12 {
				next := s.Next(at)
				if next.Sub(at) != 6*time.Hour {
					t.Fatalf("%s: after %s comes %s", zone, at, next)
				}
				at = next
			}
		}
	}
}

func TestRareDays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, after, want string }{
		{"0 0 29 2 *", "2096-03-01", "2104-02-29"},     // 2100 is no leap year
		{"0 0 29 2 */5", "2096-03-01", "2104-02-29"},   // Sundays and Fridays; */5 begins with *
		{"0 0 29 2 */6", "2096-03-01", "2116-02-29"},   // Sundays and Saturdays
		{"0 0 */28 2 0,2", "2072-03-01", "2078-02-01"}, // the 1st and the 29th
		{"0 0 * 2 mon#5", "2088-03-01", "2112-02-29"},  // only a 29th can be the fifth
		{"0 0 29w 2 *", "2024-03-01", "2028-02-29"},    // a Tuesday
		{"0 0 1w 8 *", "2026-01-01", "2026-08-03"},     // a Saturday
		{"0 0 31w 5 *", "2026-01-01", "2026-05-29"},    // a Sunday
		{"0 0 31w * *", "2026-01-31", "2026-03-31"},    // February has none
		{"0 0 l-30 * *", "2026-02-01", "2026-03-01"},   // only months of 31 days
		{"0 0 l 2 *", "2027-03-01", "2028-02-29"},
	} {
		s := parse(t, c.text, "UTC")
		after, _ := time.Parse(time.DateOnly, c.after)
		if got := s.Next(after).Format(time.DateOnly); got != c.want {
			t.Errorf("%q: after %s comes %s, want %s", c.text, c.after, got, c.want)
		}
	}
}

func TestEvery(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := rapid.SampledFrom([]int64{1, 7, 60, 90, 3600, 86400, 87840 * 3600}).Draw(t, "interval")
		loc := mustLoad(t, rapid.SampledFrom(zones).Draw(t, "zone"))
		s, err := cron.Parse(fmt.Sprintf("@every %ds", d), cron.Options{Location: loc})
		if err != nil {
			t.Fatal(err)
		}
		after := rapid.Int64Range(0, 4102444800).Draw(t, "after")
		var want []time.Time
		for tick := int64(0); len(want) < 5; tick += d {
			if tick == 0 {
				tick = after / d * d // the multiples before are not asked for
			}
			if tick > after {
				want = append(want, time.Unix(tick, 0))
			}
		}
		at := time.Unix(after, rapid.Int64Range(0, 999_999_999).Draw(t, "fraction"))
		checkCount(t, s, at, want[0].Add(-1), nil)
		for i := range want {
			if want[i].Year() < 2190 {
				checkCount(t, s, at, want[i], want[:i+1])
			}
		}
		if got := s.Next(at); !got.Equal(want[0]) || got.Location() != loc {
			t.Fatalf("Next(%s) = %s, want %s", at, got, want[0])
		}
	})
}

func TestCountAYearOfSeconds(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, location(t, "Europe/Berlin"))
	to := time.Date(2027, 1, 1, 0, 0, 0, 0, location(t, "Europe/Berlin"))
	const year = 365 * 24 * 60 * 60
	for text, want := range map[string]int64{
		"* * * * * *": year, "@every 1s": year, "*/2 * * * * *": year / 2,
		"* 0-59 0-23 * * *": year - 3600, // fixed times: no second time in the repeated hour
	} {
		n, first, last := parse(t, text, "Europe/Berlin").Count(from, to)
		if n != want || !first.After(from) || last.After(to) || last.Before(to.Add(-2*time.Second)) {
			t.Errorf("%q: %d, %s, %s, want %d", text, n, first, last, want)
		}
	}
}
