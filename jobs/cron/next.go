package cron

import (
	"iter"
	"math"
	"time"
)

const (
	// horizon is the first instant without ticks, 2200-01-01T00:00:00Z.
	horizon = 7258118400
	// assured is the instant up to which a schedule must have ticks, 2100-01-01T00:00:00Z.
	assured = 4102444800
	// lookback is how far back, in seconds, a clock may have shown a later time
	// than it does now: more than any zone's clock was ever set back.
	lookback = 48 * 60 * 60
)

// stretch is a run of instants, in seconds since 1970, in which the offset from
// UTC does not change, so that local time is the instant plus the offset.
type stretch struct {
	first, last, offset int64
	// passed is the highest local time that needs no tick any more. For fixed
	// times of day it is the highest that the clock has shown before first: below
	// first's own local time by one second if the clock went on evenly, by more
	// after a gap, and above it while an hour is being repeated. Otherwise it is
	// always the local time before that of first.
	passed int64
}

// stretches yields what lies between two instants, both included, in order.
func (s *Schedule) stretches(first, last int64) iter.Seq[stretch] {
	return func(yield func(stretch) bool) {
		passed := int64(math.MinInt64)
		for at := first - lookback; at <= last; {
			offset, end := offsetUntil(s.location, at)
			if end <= first {
				passed = max(passed, end-1+offset)
				at = end
				continue
			}
			if at < first {
				passed = max(passed, first-1+offset)
				at = first
			}
			if !s.fixed {
				passed = at + offset - 1
			}
			run := stretch{first: at, last: min(end-1, last), offset: offset, passed: passed}
			if !yield(run) {
				return
			}
			passed = max(passed, run.last+offset)
			at = run.last + 1
		}
	}
}

// Next returns the first tick strictly after an instant, in the schedule's
// location. It returns the zero time if there is none before the horizon, the
// year 2200; a parsed schedule always has one after any instant before 2100. For
// an instant before 1970 it returns the first tick there is.
func (s *Schedule) Next(after time.Time) time.Time {
	tick, ok := s.next(firstAfter(after), horizon-1)
	if !ok {
		return time.Time{}
	}
	return time.Unix(tick, 0).In(s.location)
}

// firstAfter returns the first whole second after an instant, within the limits.
func firstAfter(t time.Time) int64 { return max(min(t.Unix(), horizon)+1, 0) }

// next returns the first tick between two instants, both included.
func (s *Schedule) next(first, last int64) (int64, bool) {
	if first > last {
		return 0, false
	}
	if s.interval > 0 {
		tick := first + floorMod(-first, s.interval)
		return tick, tick <= last
	}
	// No local time from searched to before match matches.
	searched, match := int64(math.MaxInt64), int64(math.MinInt64)
	for run := range s.stretches(first, last) {
		if from := run.passed + 1; from < searched || from > match {
			var ok bool
			if match, ok = s.calendar.next(from); !ok {
				return 0, false
			}
			searched = from
		}
		if tick := max(run.first, match-run.offset); tick <= run.last {
			return tick, true
		}
	}
	return 0, false
}

// Count returns how many ticks t there are with after < t <= upTo, and the first
// and the last of them in the schedule's location, or zero times if there are
// none. It is what calling Next again and again would give, at a cost that grows
// with the months in between and not with the ticks: a year of ticks at every
// second takes microseconds and no memory.
func (s *Schedule) Count(after, upTo time.Time) (n int64, first, last time.Time) {
	n, begin, end := s.ticks(firstAfter(after), lastUpTo(upTo))
	if n == 0 {
		return 0, time.Time{}, time.Time{}
	}
	return n, time.Unix(begin, 0).In(s.location), time.Unix(end, 0).In(s.location)
}

// lastUpTo returns the last whole second up to an instant, within the limits.
func lastUpTo(t time.Time) int64 { return min(t.Unix(), horizon-1) }

// ticks returns how many ticks there are between two instants, both included,
// and the first and the last of them.
func (s *Schedule) ticks(first, last int64) (n, begin, end int64) {
	begin, ok := s.next(first, last)
	switch {
	case !ok:
		return 0, 0, 0
	case s.interval > 0:
		n = (last-begin)/s.interval + 1
		return n, begin, begin + (n-1)*s.interval
	}
	n, end = s.count(begin, last)
	return n, begin, end
}

// count counts the ticks between two instants, both included, and returns the
// last one.
func (s *Schedule) count(first, last int64) (n, end int64) {
	for run := range s.stretches(first, last) {
		// All that the clock jumped over, to the time it shows at first, is due at first.
		begin, stop := run.first+run.offset, run.last+run.offset
		found := min(s.calendar.count(run.passed+1, begin), 1) +
			s.calendar.count(max(run.passed, begin)+1, stop)
		if found > 0 {
			n += found
			end = max(run.first, s.calendar.previous(stop)-run.offset)
		}
	}
	return n, end
}
