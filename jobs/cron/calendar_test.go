package cron_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/systempromptio/scheduler/jobs/cron"
)

// dayRule is one item of a day field and, spelled out over the days of a month,
// whether it means a day.
type dayRule struct {
	text    string
	matches func(day time.Time) bool
}

func lastOfMonth(day time.Time) int { return day.AddDate(0, 1, -day.Day()).Day() }

func workday(day time.Time) bool {
	return day.Weekday() != time.Saturday && day.Weekday() != time.Sunday
}

// nearestWorkday spells out nW: the nearest workday in the same month.
func nearestWorkday(month time.Time, n int) int {
	for _, distance := range []int{0, -1, 1, -2, 2} {
		at := month.AddDate(0, 0, n+distance-month.Day())
		if at.Month() == month.Month() && workday(at) {
			return at.Day()
		}
	}
	return 0
}

func drawDateRule(t *rapid.T) dayRule {
	n := rapid.IntRange(1, 31).Draw(t, "n")
	switch rapid.SampledFrom([]string{"n", "L", "L-n", "LW", "nW"}).Draw(t, "date rule") {
	case "L":
		return dayRule{"L", func(day time.Time) bool { return day.Day() == lastOfMonth(day) }}
	case "L-n":
		n = min(n, 30)
		return dayRule{fmt.Sprintf("l-%d", n), func(day time.Time) bool { return day.Day() == lastOfMonth(day)-n }}
	case "LW":
		return dayRule{"lw", func(day time.Time) bool {
			for last := lastOfMonth(day); ; last-- {
				if workday(day.AddDate(0, 0, last-day.Day())) {
					return day.Day() == last
				}
			}
		}}
	case "nW":
		return dayRule{fmt.Sprintf("%dw", n), func(day time.Time) bool {
			return n <= lastOfMonth(day) && day.Day() == nearestWorkday(day, n)
		}}
	default:
		return dayRule{fmt.Sprint(n), func(day time.Time) bool { return day.Day() == n }}
	}
}

func drawWeekdayRule(t *rapid.T) dayRule {
	weekday := rapid.IntRange(0, 6).Draw(t, "weekday")
	name := strings.ToLower(time.Weekday(weekday).String()[:3])
	switch n := rapid.IntRange(0, 6).Draw(t, "weekday rule"); n {
	case 0:
		return dayRule{name, func(day time.Time) bool { return int(day.Weekday()) == weekday }}
	case 6:
		return dayRule{name + "#L", func(day time.Time) bool {
			return int(day.Weekday()) == weekday && day.AddDate(0, 0, 7).Month() != day.Month()
		}}
	default:
		return dayRule{fmt.Sprintf("%d#%d", weekday, n), func(day time.Time) bool {
			return int(day.Weekday()) == weekday &&
				day.AddDate(0, 0, -7*(n-1)).Month() == day.Month() && day.AddDate(0, 0, -7*n).Month() != day.Month()
		}}
	}
}

// drawDayField draws * or a list of rules, and reports which.
func drawDayField(t *rapid.T, rule func(*rapid.T) dayRule) (field dayRule, restricted bool) {
	if rapid.IntRange(0, 2).Draw(t, "star") == 0 {
		return dayRule{"*", func(time.Time) bool { return true }}, false
	}
	rules := rapid.SliceOfN(rapid.Custom(rule), 1, 3).Draw(t, "rules")
	var texts []string
	for _, r := range rules {
		texts = append(texts, r.text)
	}
	return dayRule{strings.Join(texts, ","), func(day time.Time) bool {
		for _, r := range rules {
			if r.matches(day) {
				return true
			}
		}
		return false
	}}, true
}

func TestDaysEqualAWalkOverDays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		date, dateRestricted := drawDayField(t, drawDateRule)
		weekday, weekdayRestricted := drawDayField(t, drawWeekdayRule)
		months := span(1, 12, rapid.SampledFrom([]int{1, 1, 2, 5, 11}).Draw(t, "month step"))
		var monthTexts []string
		for m := range months {
			monthTexts = append(monthTexts, fmt.Sprint(m))
		}
		s, err := cron.Parse(fmt.Sprintf("30 7 %s %s %s", date.text, strings.Join(monthTexts, ","), weekday.text), cron.Options{})

		start := time.Date(rapid.IntRange(1970, 2092).Draw(t, "year"), 1, 1, 7, 30, 0, 0, time.UTC).
			AddDate(0, 0, rapid.IntRange(0, 365).Draw(t, "day"))
		end := start.AddDate(0, 0, rapid.IntRange(0, 3000).Draw(t, "days"))
		var want []time.Time
		for day := start; !day.After(end); day = day.AddDate(0, 0, 1) {
			byDate, byWeekday := date.matches(day), weekday.matches(day)
			if months[int(day.Month())] &&
				(byDate && byWeekday || dateRestricted && weekdayRestricted && (byDate || byWeekday)) {
				want = append(want, day)
			}
		}
		if err != nil {
			if len(want) > 0 {
				t.Fatal(err)
			}
			return
		}
		at := start.Add(-1)
		for _, w := range want {
			next := s.Next(at)
			if !next.Equal(w) {
				t.Fatalf("%q: after %s comes %s, want %s", s, at, next, w)
			}
			at = next
		}
		checkCount(t, s, start.Add(-1), end, want)
	})
}
