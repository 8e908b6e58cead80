package cron

import (
	"fmt"
	"math"
	"strings"
	"time"
	_ "time/tzdata" // so that a machine without a time zone database has one
)

// LoadLocation returns the time zone of an IANA name such as Europe/Berlin; the
// empty name means UTC. Names that stand for something else on another machine
// (Local, localtime) or for clocks with leap seconds (right/...) are refused.
//
// The machine's time zone database is used if it has one, as for
// time.LoadLocation, and otherwise the one compiled into the program.
func LoadLocation(name string) (*time.Location, error) {
	const fix = "use an IANA name such as Europe/Berlin or America/New_York, or UTC"
	switch lower := strings.ToLower(name); {
	case lower == "local", lower == "localtime", lower == "posixrules":
		return nil, fmt.Errorf("time zone %q differs from machine to machine; %s", name, fix)
	case strings.HasPrefix(lower, "right/"), strings.HasPrefix(lower, "posix/"):
		return nil, fmt.Errorf("time zone %q is not an IANA name; %s", name, fix)
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("time zone %q is unknown (%w); %s", name, err, fix)
	}
	return location, nil
}

// forever is the end of an offset that no change follows.
const forever = math.MaxInt64

// offsetUntil returns the offset from UTC, in seconds, that is in force at an
// instant, and a later instant up to which it certainly stays in force. There
// may be no change at that end; there is none before it.
func offsetUntil(location *time.Location, at int64) (offset, end int64) {
	t := time.Unix(at, 0).In(location)
	_, seconds := t.Zone()
	_, bound := t.ZoneBounds()
	switch {
	case bound.IsZero():
		return int64(seconds), forever
	case bound.Unix() > at:
		return int64(seconds), bound.Unix()
	}
	// Beyond the changes listed in a zone's file, Go ends every year after 365
	// days, so that on 31 December of a leap year, in UTC, the bound has already
	// passed (time.tzset in zoneinfo.go, Go 1.26). No rule changes a clock in what
	// is left of that day.
	return int64(seconds), at - floorMod(at, daySeconds) + daySeconds
}

// floorMod returns a modulo b, b > 0, never negative.
func floorMod(a, b int64) int64 { return ((a % b) + b) % b }
