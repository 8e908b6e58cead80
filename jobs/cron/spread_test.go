package cron_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/systempromptio/scheduler/jobs/cron"
)

func hashed(t *testing.T, text, name string) *cron.Schedule {
	t.Helper()
	s, err := cron.Parse(text, cron.Options{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The values are the contract: a change here moves the jobs of every user.
func TestHashIsStable(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct{ text, name, want string }{
		{"H h * * *", "cleanup", "2026-01-01 00:18:00"},
		{"H h * * *", "cleanup2", "2026-01-01 16:28:00"},
		{"H h H h *", "cleanup", "2026-03-15 00:18:00"},
		{"H h * * H", "cleanup", "2026-01-06 00:18:00"},
		{"H/15 * * * *", "cleanup", "2026-01-01 00:03:00"},
		{"H(0-29) * * * *", "cleanup", "2026-01-01 00:18:00"},
		{"H 0 0~9 * * *", "cleanup", "2026-01-01 02:00:36"},
	} {
		if got := hashed(t, c.text, c.name).Next(start).Format(time.DateTime); got != c.want {
			t.Errorf("%q for %s: got %s, want %s", c.text, c.name, got, c.want)
		}
	}
}

// A thousand jobs must not meet: over the 3600 seconds of an hour, over the
// minutes, and with no tie between the fields.
func TestHashSpreads(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const jobs = 1000
	seconds, minutes, clocks := map[time.Time]int{}, map[int]int{}, map[string]int{}
	for i := range jobs {
		name := fmt.Sprintf("job-%d", i)
		seconds[hashed(t, "H h * * * *", name).Next(start)]++
		minutes[hashed(t, "H * * * *", name).Next(start).Minute()]++
		at := hashed(t, "H h * * *", name).Next(start)
		clocks[fmt.Sprintf("hour %d, minute %d", at.Hour()%2, at.Minute()%2)]++
	}
	for at, n := range seconds {
		if n > 6 {
			t.Errorf("%d jobs at %s", n, at)
		}
	}
	for minute := range 60 {
		if n := minutes[minute]; n < 4 || n > 36 { // 16.7 expected, 5 standard deviations
			t.Errorf("%d jobs in minute %d", n, minute)
		}
	}
	for parity, n := range clocks {
		if n < 180 || n > 320 {
			t.Errorf("%d jobs with %s", n, parity)
		}
	}
}

// H/n keeps the distance n, begins below n, and stays in its range.
func TestHashSteps(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 200 {
		name := fmt.Sprintf("job-%d", i)
		at := hashed(t, "H/15 * * * *", name).Next(start.Add(-1))
		if at.Sub(start) >= 15*time.Minute {
			t.Errorf("%s: H/15 begins at %s", name, at)
		}
		for s, n := hashed(t, "H/15 * * * *", name), 0; n < 10; n++ {
			next := s.Next(at)
			if next.Sub(at) != 15*time.Minute {
				t.Errorf("%s: H/15 goes from %s to %s", name, at, next)
			}
			at = next
		}
		if n, _, _ := hashed(t, "H(10-39)/10 5 * * *", name).Count(start, start.Add(24*time.Hour)); n != 3 {
			t.Errorf("%s: H(10-39)/10 has %d ticks", name, n)
		}
		if at := hashed(t, "H(10-12) * * * *", name).Next(start); at.Minute() < 10 || at.Minute() > 12 {
			t.Errorf("%s: H(10-12) is %s", name, at)
		}
		if n, _, _ := hashed(t, "0 0 H * *", name).Count(start, start.AddDate(1, 0, 0)); n != 12 {
			t.Errorf("%s: %d months have the day", name, n)
		}
	}
}
