package cron

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	gocron "github.com/netresearch/go-cron"
)

const (
	// timesMax is how many times of a day Words lists one by one.
	timesMax = 6

	// datesOfMonth is how many a month has at most.
	datesOfMonth = 31

	allSixty = 1<<60 - 1
	allHours = 1<<24 - 1
)

// Words says in English when the schedule is due, in its own time zone, such as
// "every 10 minutes" or "at 03:00 on Sunday". It reads the fields as they were
// understood: H and names are the values that they stand for. It is for people; two
// schedules with the same ticks may have different words.
func (s *Schedule) Words() string {
	if s.interval > 0 {
		return "every " + intervalWords(time.Duration(s.interval)*time.Second)
	}
	parts := []string{s.calendar.clockWords()}
	if days := s.calendar.dayWords(); days != "" {
		parts = append(parts, days)
	}
	if s.calendar.month != 1<<13-2 {
		parts = append(parts, "in "+setWords(s.calendar.month, func(v int) string { return time.Month(v).String() }))
	}
	words := strings.Join(parts, " ")
	if len(parts) == 1 && strings.HasPrefix(words, "at ") && !strings.Contains(words, "every") {
		words += " every day"
	}
	return words
}

func intervalWords(interval time.Duration) string {
	if interval == time.Second {
		return "second"
	}
	var parts []string
	for _, unit := range []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		n := int(interval / unit.length)
		interval %= unit.length
		switch {
		case n == 1 && interval == 0 && parts == nil:
			return unit.name
		case n > 0:
			parts = append(parts, counted(n, unit.name))
		}
	}
	return strings.Join(parts, " ")
}

func counted(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

// clockWords says at which times of a day.
func (c *calendar) clockWords() string {
	if times := c.times(); len(times) > 0 {
		return "at " + list(times)
	}
	var parts []string
	if c.second != 1 {
		parts = append(parts, unitWords(c.second, 60, "second"))
	}
	if c.minute != allSixty || len(parts) == 0 {
		parts = append(parts, unitWords(c.minute, 60, "minute"))
	}
	if c.minute == 1 && c.second == 1 {
		parts = nil // on the hour
	}
	switch {
	case c.hour != allHours:
		parts = append(parts, hourWords(c.hour, len(parts) == 0))
	case c.minute != allSixty && stepOf(c.minute, 60) == 0:
		parts = append(parts, "every hour")
	}
	words := strings.Join(parts, " of ")
	if !strings.HasPrefix(words, "every") && !strings.HasPrefix(words, "at ") {
		words = "at " + words
	}
	return words
}

// times lists the times of a day, if they are few and each is a time by itself.
func (c *calendar) times() []string {
	if n := bits.OnesCount64(c.hour) * bits.OnesCount64(c.minute) * bits.OnesCount64(c.second); n > timesMax {
		return nil
	}
	if c.minute == 1 && c.second == 1 && stepOf(c.hour, 24) > 0 && bits.OnesCount64(c.hour) > 2 {
		return nil // every n hours
	}
	var times []string
	for _, hour := range members(c.hour) {
		for _, minute := range members(c.minute) {
			for _, second := range members(c.second) {
				text := fmt.Sprintf("%02d:%02d", hour, minute)
				if c.second != 1 {
					text += fmt.Sprintf(":%02d", second)
				}
				times = append(times, text)
			}
		}
	}
	return times
}

// unitWords says which values of a field of n: "every 5 minutes", "minute 7".
func unitWords(set uint64, n int, unit string) string {
	step := stepOf(set, n)
	first := bits.TrailingZeros64(set)
	switch {
	case step == 1:
		return "every " + unit
	case step > 0 && first == 0:
		return fmt.Sprintf("every %d %ss", step, unit)
	case step > 0:
		return fmt.Sprintf("every %d %ss from %s %d", step, unit, unit, first)
	}
	return plural(set, unit) + " " + setWords(set, func(v int) string { return fmt.Sprint(v) })
}

func hourWords(set uint64, onTheHour bool) string {
	values := members(set)
	step := stepOf(set, 24)
	first, last := values[0], values[len(values)-1]
	switch {
	case step > 1 && first == 0:
		return fmt.Sprintf("every %d hours", step)
	case step > 1:
		return fmt.Sprintf("every %d hours from %02d:00", step, first)
	case len(values) > 2 && last-first == len(values)-1 && onTheHour:
		return fmt.Sprintf("every hour from %02d:00 to %02d:00", first, last)
	case len(values) > 2 && last-first == len(values)-1:
		return fmt.Sprintf("every hour from %d to %d", first, last)
	}
	return plural(set, "hour") + " " + setWords(set, func(v int) string { return fmt.Sprint(v) })
}

// dayWords says on which days of a month; nothing for all.
func (c *calendar) dayWords() string {
	const allDates, allDays = 1<<32 - 2, 1<<7 - 1
	var byDate, byDay string
	if c.dayOfMonth != allDates {
		byDate = c.dateWords()
	}
	if c.dayOfWeek != allDays {
		byDay = c.weekdayWords()
	}
	switch {
	case byDate == "" && byDay == "", c.either && (byDate == "" || byDay == ""):
		return ""
	case byDate == "":
		return "on " + byDay
	case byDay == "":
		return "on " + byDate
	case c.either:
		return "on " + byDate + ", or on " + byDay
	}
	return "on " + byDay + ", if that is " + byDate
}

func (c *calendar) dateWords() string {
	var parts []string
	if c.dayOfMonth != 0 {
		if step := stepOf(c.dayOfMonth>>1, datesOfMonth); step > 1 {
			return fmt.Sprintf("every %d days from the %s of the month", step, ordinal(bits.TrailingZeros64(c.dayOfMonth)))
		}
		parts = append(parts, "the "+setWords(c.dayOfMonth, ordinal))
	}
	for _, rule := range c.dayOfMonthRules {
		switch rule.Type {
		case gocron.DomLast:
			parts = append(parts, "the last day")
		case gocron.DomLastWeekday:
			parts = append(parts, "the last working day")
		case gocron.DomLastOffset:
			parts = append(parts, fmt.Sprintf("the day %s before the last", counted(rule.N, "day")))
		case gocron.DomNearestWeekday:
			parts = append(parts, "the working day nearest to the "+ordinal(rule.N))
		}
	}
	return list(parts) + " of the month"
}

func (c *calendar) weekdayWords() string {
	var parts []string
	if c.dayOfWeek != 0 {
		// The week begins on Monday: a range over the weekend stays one.
		week := (c.dayOfWeek>>1 | c.dayOfWeek<<6) & (1<<7 - 1)
		parts = append(parts, setWords(week, func(v int) string { return time.Weekday((v + 1) % 7).String() }))
	}
	for _, rule := range c.dayOfWeekRules {
		which := "last"
		if rule.N > 0 {
			which = ordinal(rule.N)
		}
		parts = append(parts, fmt.Sprintf("the %s %s of the month", which, time.Weekday(rule.Weekday)))
	}
	return list(parts)
}

// stepOf is the distance of a set's members, if they go on like that to the end of n
// values, and from there to the first again, and are more than two; otherwise 0. A month
// has no such end.
func stepOf(set uint64, n int) int {
	values := members(set)
	if len(values) < 3 {
		return 0
	}
	step := values[1] - values[0]
	for i := range values[1:] {
		if values[i+1]-values[i] != step {
			return 0
		}
	}
	if values[0] >= step || values[len(values)-1]+step < n {
		return 0
	}
	if n != datesOfMonth && n%step != 0 {
		return 0 // not the same distance to the first one of what follows
	}
	return step
}

func members(set uint64) []int {
	values := make([]int, 0, bits.OnesCount64(set))
	for ; set != 0; set &= set - 1 {
		values = append(values, bits.TrailingZeros64(set))
	}
	return values
}

// setWords lists a set, three and more in a row as a range.
func setWords(set uint64, name func(int) string) string {
	values := members(set)
	var parts []string
	for len(values) > 0 {
		n := 1
		for n < len(values) && values[n] == values[0]+n {
			n++
		}
		if n >= 3 {
			parts = append(parts, name(values[0])+" to "+name(values[n-1]))
		} else {
			for _, v := range values[:n] {
				parts = append(parts, name(v))
			}
		}
		values = slices.Delete(values, 0, n)
	}
	return list(parts)
}

func plural(set uint64, unit string) string {
	if bits.OnesCount64(set) > 1 {
		return unit + "s"
	}
	return unit
}

func list(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}

func ordinal(n int) string {
	suffix := "th"
	if n%100/10 != 1 {
		switch n % 10 {
		case 1:
			suffix = "st"
		case 2:
			suffix = "nd"
		case 3:
			suffix = "rd"
		}
	}
	return fmt.Sprint(n) + suffix
}
