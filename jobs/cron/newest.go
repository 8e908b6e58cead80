package cron

import "time"

// Newest returns the last n ticks t with after < t <= upTo, oldest first, in the
// schedule's location: the end of what calling Next again and again would give,
// and all of it if there are no more than n. Memory grows with n alone. Time grows
// with n and with the months that the n ticks lie apart, times the logarithm of
// their number of seconds: not with the ticks between after and upTo.
func (s *Schedule) Newest(n int, after, upTo time.Time) []time.Time {
	first, last := firstAfter(after), lastUpTo(upTo)
	if n < 1 || first > last {
		return nil
	}
	var found []time.Time
	for at := s.newestFrom(int64(n), first, last); ; at++ {
		tick, ok := s.next(at, last)
		if !ok {
			return found
		}
		found = append(found, time.Unix(tick, 0).In(s.location))
		at = tick
	}
}

// newestFrom returns the latest instant, not before first, from which there are n
// ticks or more up to last, or first if there are fewer. A second holds one tick at
// most, so from there it is n ticks exactly, unless first has cut them off.
func (s *Schedule) newestFrom(n, first, last int64) int64 {
	enough := func(from int64) bool {
		count, _, _ := s.ticks(from, last)
		return count >= n
	}
	// Far enough back to begin with: twice as far each time.
	length := int64(1)
	for !enough(max(first, last-length)) {
		if last-length <= first {
			return first
		}
		length *= 2
	}
	// From low there are enough, from high there are not.
	low, high := max(first, last-length), last+1
	for high-low > 1 {
		if middle := low + (high-low)/2; enough(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}
