package declared

import (
	"cmp"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/systempromptio/scheduler/sql"
)

// window is a partition that is to be: from lower, to before upper. As the table's key
// has them: an instant, or, where its type has no zone, a wall time.
type window struct{ lower, upper time.Time }

// calendar is where the bounds of a table's partitions lie.
type calendar struct {
	every span
	// zone is that of the walls; for a key without a zone, UTC, since it is a wall time.
	zone *time.Location
	// now is the wall time of the plan.
	now time.Time
}

// newCalendar makes it for a key of that type. Partitions of hours of a key with a zone
// are those of UTC: in the hour that a clock shows twice, one of its partitions would be
// of two hours, or of none.
func newCalendar(every span, keyType string, zone *time.Location, now time.Time) calendar {
	if keyType == typeTimestamptz && every.unit == unitHour {
		zone = time.UTC
	}
	c := calendar{every: every, zone: zone, now: wallOf(now, zone)}
	if keyType != typeTimestamptz {
		c.zone = time.UTC
	}
	return c
}

// missing lists what the partitions that exist leave open, from the end of the last one
// that is over until so many steps after the present one, cut where steps begin. What
// was over before the bound keep is not made any more. It stops after most.
func (c calendar) missing(existing []sql.Partition, ahead int, keep *span, most int) []window {
	present := c.every.floor(c.now)
	end := instantOf(c.every.after(present, ahead+1), c.zone)
	from := instantOf(present, c.zone)
	var over time.Time
	for _, p := range existing {
		if isFinite(p.Upper) && !p.Upper.Time.After(from) && p.Upper.Time.After(over) {
			over = p.Upper.Time
		}
	}
	if !over.IsZero() {
		from = over
	}
	if keep != nil {
		if oldest := instantOf(c.every.floor(keep.before(c.now)), c.zone); oldest.After(from) {
			from = oldest
		}
	}
	near := slices.DeleteFunc(slices.Clone(existing), func(p sql.Partition) bool {
		return compareTimes(p.Upper, finite(from)) <= 0 || compareTimes(p.Lower, finite(end)) >= 0
	})
	slices.SortFunc(near, func(p, q sql.Partition) int { return compareTimes(p.Lower, q.Lower) })
	var list []window
	for step := c.every.floor(wallOf(from, c.zone)); len(list) <= most; step = c.every.after(step, 1) {
		lower, upper := latest(instantOf(step, c.zone), from), instantOf(c.every.after(step, 1), c.zone)
		if !lower.Before(end) {
			break
		}
		list = append(list, gaps(window{lower, upper}, near)...)
	}
	return list
}

// gaps is what partitions, in their order, leave open of a window.
func gaps(w window, partitions []sql.Partition) []window {
	var list []window
	at := w.lower
	for _, p := range partitions {
		if compareTimes(p.Upper, finite(at)) <= 0 {
			continue
		}
		if compareTimes(p.Lower, finite(w.upper)) >= 0 {
			break
		}
		if compareTimes(p.Lower, finite(at)) > 0 {
			list = append(list, window{at, p.Lower.Time})
		}
		if !isFinite(p.Upper) {
			return list
		}
		at = p.Upper.Time
	}
	if at.Before(w.upper) {
		list = append(list, window{at, w.upper})
	}
	return list
}

// cutoff is the time at and before which a partition must end to be old.
func (c calendar) cutoff(keep span) time.Time { return instantOf(keep.before(c.now), c.zone) }

// old lists the partitions that end at the cutoff or before it: wholly older.
func (c calendar) old(existing []sql.Partition, keep *span) []sql.Partition {
	if keep == nil {
		return nil
	}
	cutoff := c.cutoff(*keep)
	var list []sql.Partition
	for _, p := range existing {
		if compareTimes(p.Upper, finite(cutoff)) <= 0 {
			list = append(list, p)
		}
	}
	return list
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func finite(t time.Time) pgtype.Timestamptz { return pgtype.Timestamptz{Time: t, Valid: true} }

func isFinite(t pgtype.Timestamptz) bool { return t.InfinityModifier == pgtype.Finite }

func compareTimes(a, b pgtype.Timestamptz) int {
	if !isFinite(a) || !isFinite(b) {
		return cmp.Compare(a.InfinityModifier, b.InfinityModifier)
	}
	return a.Time.Compare(b.Time)
}
