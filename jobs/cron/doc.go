// Package cron reads cron text and says when a job is due: the next tick in a
// time zone, and how many ticks a stretch of time holds.
//
// The parsed Schedule is immutable, reads no clock and is safe for concurrent
// use. The same text, name and time zone give the same ticks in every process.
//
// # Text
//
// Five fields, or six with seconds first:
//
//	second        0-59    only in the six-field form; otherwise second 0
//	minute        0-59
//	hour          0-23
//	day-of-month  1-31    also L (last day), L-3, LW, 15W (weekday nearest to the 15th)
//	month         1-12    or jan-dec
//	day-of-week   0-7     or sun-sat; 0 and 7 are Sunday; also fri#2, fri#L (last Friday)
//
// A field is a list, split by commas, of
//
//	v       one value                    v/n     every n-th value from v to the end
//	*       every value                  */n     every n-th value of the field
//	a-b     a range                      a-b/n   every n-th value of the range
//	H       one value by hash            H/n     every n-th value, first one by hash
//	H(a-b)  one value of a range         H(a-b)/n
//	a~b     the same as H(a-b)           a~b/n
//	~       the same as H                ~/n
//
// An end that is missing beside ~, as in ~30 and 10~, is the field's own, as in
// OpenBSD's crontab(5); that of a day-of-month is 31, which not every month has.
//
// Names and letters are read in any case. A range goes upwards; a range of
// weekdays may end on Sunday (fri-sun, 5-7). A step must be smaller than the
// range it divides: */90 minutes would not be what it looks like.
//
// Instead of fields: @yearly (@annually), @monthly, @weekly, @daily
// (@midnight), @hourly, and "@every 90s".
//
// # Day of month and day of week
//
// As Debian's crontab(5) has it: if both fields are restricted, a day on which
// either matches is taken; if at least one of them begins with *, both must
// match. */2 begins with * and so counts as unrestricted: "0 0 */2 * mon" is a
// Monday with an odd day of the month, "0 0 1-31/2 * mon" any Monday and any odd
// day. H, L, W and # are restrictions.
//
// # H
//
// H spreads jobs, so that a thousand hourly ones are not due in the same second.
// It stands for a value chosen by hash: the first eight bytes, big endian, of
// SHA-256 over the field's name, a zero byte and Options.Name, modulo the number
// of values. The field's name is in it so that the minute says nothing about the
// hour. Without a range, H takes day-of-month from 1-28, which every month has,
// and day-of-week from 0-6. For H/n the hash modulo n is where the steps begin.
// Renaming a job moves its ticks. @hourly, @daily and @every are not spread.
//
// # Time zones
//
// LoadLocation knows the zones of the database that is compiled into the program,
// zoneinfo.zip, and asks nothing of the machine: replicas of one version agree,
// whatever their images hold. The file is that of a Go release; "make zones" renews
// it.
//
// # Changes of the clock
//
// As in cron(8), with one rule for changes of every size, be it Lord Howe's half
// an hour or the day that Apia skipped in 2011. What decides is the minute and
// the hour field.
//
// If neither has a wildcard or a step, the schedule names fixed times of day.
// Such a time is due at the first instant at which the zone's clock has reached
// or passed it. So a time that a forward change leaves out is due at the first
// instant after the gap, several in one gap are due once, at that instant, and
// in a repeated hour a time is due the first time only. "0 0 30 12 *" was due in
// Apia in 2011, although that day did not exist, at the first instant of the
// 31st. A full range, such as 0-23, is still a list of fixed times.
//
// If either has a wildcard or a step (*, */n, a-b/n, v/n, H/n), the schedule
// follows real time: an instant is a tick if and only if what the clock shows
// then matches. "*/15 * * * *" stays every 15 minutes. "*/15 2 * * *" is due
// eight times where hour 2 is repeated and not at all where it is left out.
//
// # @every
//
// "@every d" is due at the whole multiples of d since 1970-01-01T00:00:00Z, so
// that a restart or another leader finds the same ticks; the time zone plays no
// part. d is in whole seconds, from one second to 87840h (ten years).
//
// # Limits
//
// Ticks lie between 1970-01-01T00:00:00Z and 2200-01-01T00:00:00Z, the end not
// included, and on whole seconds. A schedule whose last tick is before 2100 is
// refused. Offsets of IANA zones are assumed: a clock is not set back by more
// than 48 hours. Leap seconds do not exist.
//
// Refused with a *ParseError: an expression that never fires (such as "0 0 31 2 *",
// or in Berlin "*/15 2 * 3 sun#L", the hour that is always left out), a time zone
// inside the text, another number of fields, a year field, values out of range,
// inverted ranges, steps of zero, ? (write *), @reboot, and text that is empty,
// too long or not plain ASCII.
package cron
