package cron_test

import (
	"fmt"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// reference is the slow, independent account of what a cron text means: plain
// sets, a walk through real time, and no arithmetic. It never sees the parser.
type reference struct {
	text                                       string
	second, minute, hour, date, month, weekday map[int]bool
	dateStar, weekdayStar                      bool // begins with *
	fixed                                      bool // no wildcard or step in minute and hour
}

// matches reports whether a local time, held as UTC, is one of the text's.
func (r *reference) matches(local time.Time) bool {
	return r.hour[local.Hour()] && r.minute[local.Minute()] && r.second[local.Second()] && r.matchesDay(local)
}

func (r *reference) matchesDay(local time.Time) bool {
	date, weekday := r.date[local.Day()], r.weekday[int(local.Weekday())]
	if !r.dateStar && !r.weekdayStar {
		return r.month[int(local.Month())] && (date || weekday)
	}
	return r.month[int(local.Month())] && date && weekday
}

// ticks walks real time from one instant to another, both included, in steps of
// a second or a minute, and returns the ticks. For fixed times it starts eight
// hours early, so as to know which local times have been seen: since 1970 no clock
// was set back by more than Vostok's in 1994, by seven.
func (r *reference) ticks(loc *time.Location, from, to time.Time, step time.Duration) []time.Time {
	var found []time.Time
	var previous time.Time
	seen := map[int64]bool{}
	start := from
	if r.fixed {
		start = from.Add(-8 * time.Hour)
	}
	for at := start; !at.After(to); at = at.Add(step) {
		local := wall(at, loc)
		due := false
		if r.fixed {
			// The times that the clock left out since the last step, and this one.
			first := local
			if !previous.IsZero() && local.Sub(previous) > step {
				first = previous.Add(step)
			}
			for t := first; !t.After(local); t = t.Add(step) {
				if !seen[t.Unix()] && r.matches(t) {
					due = true
				}
				seen[t.Unix()] = true
			}
		} else {
			due = r.matches(local)
		}
		if due && !at.Before(from) {
			found = append(found, at)
		}
		previous = local
	}
	return found
}

// wall returns what a clock in loc shows at an instant, as a time in UTC.
func wall(at time.Time, loc *time.Location) time.Time {
	year, month, day := at.In(loc).Date()
	hour, minute, second := at.In(loc).Clock()
	return time.Date(year, month, day, hour, minute, second, 0, time.UTC)
}

// drawReference draws a text of 5 or 6 fields together with its meaning. The
// hours and minutes are mostly small lists, so that they meet changes of clocks.
func drawReference(t *rapid.T, seconds bool) *reference {
	r := &reference{second: map[int]bool{0: true}}
	var texts []string
	var text string
	if seconds {
		text, r.second = drawField(t, "second", 0, 59)
		texts = append(texts, text)
	}
	minute, minutes := drawField(t, "minute", 0, 59)
	hour, hours := drawField(t, "hour", 0, 23)
	r.minute, r.hour = minutes, hours
	texts = append(texts, minute, hour)
	r.fixed = !strings.ContainsAny(minute+hour, "*/")
	// Dates and weekdays are mostly free, or most windows would hold no tick.
	for _, f := range []struct {
		name     string
		min, max int
		values   *map[int]bool
		star     *bool
	}{
		{"date", 1, 31, &r.date, &r.dateStar},
		{"month", 1, 12, &r.month, new(bool)},
		{"weekday", 0, 6, &r.weekday, &r.weekdayStar},
	} {
		text, *f.values = "*", span(f.min, f.max, 1)
		if rapid.IntRange(0, 3).Draw(t, f.name+" restricted") == 0 {
			text, *f.values = drawField(t, f.name, f.min, f.max)
		}
		*f.star = text[0] == '*'
		texts = append(texts, text)
	}
	r.text = strings.Join(texts, " ")
	return r
}

func drawField(t *rapid.T, name string, low, high int) (string, map[int]bool) {
	size := high - low + 1
	switch rapid.SampledFrom([]string{"*", "*/n", "list", "list", "list", "a-b", "a-b/n"}).Draw(t, name) {
	case "*":
		return "*", span(low, high, 1)
	case "*/n":
		n := rapid.IntRange(1, size-1).Draw(t, name+" step")
		return fmt.Sprintf("*/%d", n), span(low, high, n)
	case "a-b":
		a := rapid.IntRange(low, high).Draw(t, name+" from")
		b := rapid.IntRange(a, high).Draw(t, name+" to")
		return fmt.Sprintf("%d-%d", a, b), span(a, b, 1)
	case "a-b/n":
		a := rapid.IntRange(low, high-3).Draw(t, name+" from")
		b := rapid.IntRange(a+2, high).Draw(t, name+" to")
		n := rapid.IntRange(1, b-a).Draw(t, name+" step")
		return fmt.Sprintf("%d-%d/%d", a, b, n), span(a, b, n)
	default:
		values := map[int]bool{}
		var texts []string
		for range rapid.IntRange(1, 4).Draw(t, name+" length") {
			v := rapid.IntRange(low, min(high, low+rapid.SampledFrom([]int{3, 60}).Draw(t, name+" reach"))).Draw(t, name+" value")
			values[v] = true
			texts = append(texts, fmt.Sprint(v))
		}
		return strings.Join(texts, ","), values
	}
}

func span(low, high, step int) map[int]bool {
	values := map[int]bool{}
	for v := low; v <= high; v += step {
		values[v] = true
	}
	return values
}
