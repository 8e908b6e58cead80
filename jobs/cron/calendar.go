package cron

import (
	"math/bits"
	"time"

	gocron "github.com/netresearch/go-cron"
)

const (
	daySeconds = 24 * 60 * 60
	// yearMax is the last year of local time that is searched for a match: in zones
	// east of UTC some local times of 2200 are before the horizon.
	yearMax = 2200
)

// calendar is the fields of a cron text as sets: bit v of a set is value v.
//
// Its methods know no time zone. They count local time: the seconds from
// 1970-01-01 00:00:00 to what a clock on the wall shows, days of 24 hours each.
type calendar struct {
	second, minute, hour         uint64
	dayOfMonth, month, dayOfWeek uint64
	dayOfMonthRules              []gocron.DomConstraint
	dayOfWeekRules               []gocron.DowConstraint
	// either is set if day-of-month and day-of-week are both restricted: then a
	// day matches by either of them.
	either bool
}

// next returns the first match at or after a local time. It reports false if
// there is none up to yearMax.
func (c *calendar) next(local int64) (int64, bool) {
	day, clock := dayNumber(local), int(floorMod(local, daySeconds))
	year, month, date := dateOf(day)
	if c.days(year, month)>>date&1 != 0 {
		if clock, ok := c.nextClock(clock); ok {
			return day*daySeconds + int64(clock), true
		}
	}
	first, _ := c.nextClock(0)
	for year <= yearMax {
		if later := c.days(year, month) >> (date + 1); later != 0 {
			date += 1 + bits.TrailingZeros32(later)
			return dayOf(year, month, date)*daySeconds + int64(first), true
		}
		if date, month = 0, month+1; month > time.December {
			year, month = year+1, time.January
		}
	}
	return 0, false
}

// previous returns the last match at or before a local time. There must be one.
func (c *calendar) previous(local int64) int64 {
	day, clock := dayNumber(local), int(floorMod(local, daySeconds))
	year, month, date := dateOf(day)
	if c.days(year, month)>>date&1 != 0 {
		if clock, ok := c.previousClock(clock); ok {
			return day*daySeconds + int64(clock)
		}
	}
	last, _ := c.previousClock(daySeconds - 1)
	for {
		if earlier := c.days(year, month) & (1<<date - 1); earlier != 0 {
			return dayOf(year, month, bits.Len32(earlier)-1)*daySeconds + int64(last)
		}
		if date, month = 32, month-1; month < time.January {
			year, month = year-1, time.December
		}
	}
}

// count returns how many local times from low to high, both included, match.
func (c *calendar) count(low, high int64) int64 {
	if low > high {
		return 0
	}
	high++
	perDay := int64(bits.OnesCount64(c.hour) * bits.OnesCount64(c.minute) * bits.OnesCount64(c.second))
	return perDay*c.countDays(dayNumber(low), dayNumber(high)) -
		c.countBefore(low) + c.countBefore(high)
}

// countDays returns how many days from low to before high match.
func (c *calendar) countDays(low, high int64) (n int64) {
	year, month, date := dateOf(low)
	for day := low - int64(date); day < high; { // the day before the month's first
		set := c.days(year, month) &^ (1<<date - 1)
		if rest := high - day; rest < 32 {
			set &= 1<<rest - 1
		}
		n += int64(bits.OnesCount32(set))
		day += int64(monthLength(year, month))
		if date, month = 0, month+1; month > time.December {
			year, month = year+1, time.January
		}
	}
	return n
}

// countBefore returns how many times of the same day, before a local time, match.
func (c *calendar) countBefore(local int64) int64 {
	year, month, date := dateOf(dayNumber(local))
	if c.days(year, month)>>date&1 == 0 {
		return 0
	}
	below := func(set uint64, v int) int { return bits.OnesCount64(set & (1<<v - 1)) }
	hour, minute, second := splitClock(int(floorMod(local, daySeconds)))
	n := below(c.hour, hour) * bits.OnesCount64(c.minute) * bits.OnesCount64(c.second)
	if c.hour>>hour&1 != 0 {
		n += below(c.minute, minute) * bits.OnesCount64(c.second)
		if c.minute>>minute&1 != 0 {
			n += below(c.second, second)
		}
	}
	return int64(n)
}

// nextClock returns the first matching time of day at or after one, in seconds.
func (c *calendar) nextClock(clock int) (int, bool) {
	hour, minute, second := splitClock(clock)
	if c.hour>>hour&1 != 0 {
		if c.minute>>minute&1 != 0 {
			if set := c.second >> second; set != 0 {
				return clock + bits.TrailingZeros64(set), true
			}
		}
		if set := c.minute >> (minute + 1); set != 0 {
			minute += 1 + bits.TrailingZeros64(set)
			return joinClock(hour, minute, bits.TrailingZeros64(c.second)), true
		}
	}
	set := c.hour >> (hour + 1)
	if set == 0 {
		return 0, false
	}
	hour += 1 + bits.TrailingZeros64(set)
	return joinClock(hour, bits.TrailingZeros64(c.minute), bits.TrailingZeros64(c.second)), true
}

// previousClock returns the last matching time of day at or before one, in seconds.
func (c *calendar) previousClock(clock int) (int, bool) {
	hour, minute, second := splitClock(clock)
	top := func(set uint64, v int) int { return bits.Len64(set&(1<<v-1)) - 1 } // below v, or -1
	if c.hour>>hour&1 != 0 {
		if c.minute>>minute&1 != 0 {
			if s := top(c.second, second+1); s >= 0 {
				return joinClock(hour, minute, s), true
			}
		}
		if m := top(c.minute, minute); m >= 0 {
			return joinClock(hour, m, top(c.second, 60)), true
		}
	}
	h := top(c.hour, hour)
	return joinClock(h, top(c.minute, 60), top(c.second, 60)), h >= 0
}

// days returns the set of matching days of a month: bit d is the d-th.
func (c *calendar) days(year int, month time.Month) uint32 {
	if c.month>>month&1 == 0 {
		return 0
	}
	length := monthLength(year, month)
	weekday := int(floorMod(dayOf(year, month, 1)+int64(time.Thursday), 7)) // 1970-01-01 was a Thursday

	byDate := uint32(c.dayOfMonth)
	for _, rule := range c.dayOfMonthRules {
		byDate |= dateRule(rule, length, weekday)
	}
	week := uint32(c.dayOfWeek) // bit 0 is Sunday; turned so that bit 0 is the first's weekday
	week = (week>>weekday | week<<(7-weekday)) & (1<<7 - 1)
	byWeekday := (week | week<<7 | week<<14 | week<<21 | week<<28) << 1
	for _, rule := range c.dayOfWeekRules {
		byWeekday |= weekdayRule(rule, length, weekday)
	}

	all := uint32(1)<<(length+1) - 2
	if c.either {
		return (byDate | byWeekday) & all
	}
	return byDate & byWeekday & all
}

// dateRule returns the day that L, L-n, LW or nW stands for in a month of a
// length whose first has a weekday (0 is Sunday). A day the month does not have,
// as by 31W in April, is none.
func dateRule(rule gocron.DomConstraint, length, first int) uint32 {
	day := rule.N
	switch rule.Type {
	case gocron.DomLast, gocron.DomLastWeekday:
		day = length
	case gocron.DomLastOffset:
		day = length - rule.N
	case gocron.DomNearestWeekday:
	}
	if day < 1 || day > length {
		return 0
	}
	if rule.Type == gocron.DomLastWeekday || rule.Type == gocron.DomNearestWeekday {
		switch weekday := time.Weekday((first + day - 1) % 7); {
		case weekday == time.Saturday && day > 1:
			day--
		case weekday == time.Saturday:
			day += 2
		case weekday == time.Sunday && day < length:
			day++
		case weekday == time.Sunday:
			day -= 2
		}
	}
	return 1 << day
}

// weekdayRule returns the day that fri#2 or fri#L stands for, if the month has it.
func weekdayRule(rule gocron.DowConstraint, length, first int) uint32 {
	day := 1 + (rule.Weekday-first+7)%7 // the first one
	if rule.N > 0 {
		day += 7 * (rule.N - 1)
	} else {
		day += (length - day) / 7 * 7
	}
	if day > length {
		return 0
	}
	return 1 << day
}

// dayNumber returns the days since 1970-01-01 of a local time.
func dayNumber(local int64) int64 { return (local - floorMod(local, daySeconds)) / daySeconds }

// dateOf and dayOf turn days since 1970-01-01 into a date and back.
func dateOf(day int64) (int, time.Month, int) {
	return time.Unix(day*daySeconds, 0).UTC().Date()
}

func dayOf(year int, month time.Month, date int) int64 {
	return dayNumber(time.Date(year, month, date, 0, 0, 0, 0, time.UTC).Unix())
}

func monthLength(year int, month time.Month) int {
	return time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

func splitClock(clock int) (hour, minute, second int) {
	return clock / 3600, clock / 60 % 60, clock % 60
}

func joinClock(hour, minute, second int) int { return hour*3600 + minute*60 + second }
