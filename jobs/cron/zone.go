package cron

import (
	"archive/zip"
	_ "embed" // for zoneData
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// zoneData is the time zone database of a Go release: one file for each zone. "make
// zones" takes that of the machine's. It is no generated code, since what another
// release of Go holds is no drift.
//
//go:embed zoneinfo.zip
var zoneData string

// zoneFiles has a function for each zone of zoneData, by its name. The function
// reads the zone the first time that it is called.
//
//nolint:gochecknoglobals // nothing changes the map, and a zone is what zoneData says
var zoneFiles = sync.OnceValue(func() map[string]func() (*time.Location, error) {
	archive, err := zip.NewReader(strings.NewReader(zoneData), int64(len(zoneData)))
	if err != nil {
		panic(fmt.Sprintf("cron: the embedded zoneinfo.zip: %v", err))
	}
	zones := make(map[string]func() (*time.Location, error), len(archive.File))
	for _, file := range archive.File {
		zones[file.Name] = sync.OnceValues(func() (*time.Location, error) { return readZone(file) })
	}
	return zones
})

func readZone(file *zip.File) (_ *time.Location, err error) {
	content, err := file.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	data, err := io.ReadAll(content)
	if err != nil {
		return nil, err
	}
	return time.LoadLocationFromTZData(file.Name, data)
}

// LoadLocation returns the time zone of an IANA name such as Europe/Berlin; the
// empty name means UTC. The same name gives the same location again.
//
// Names and rules are those compiled into the program, in every process and on
// every machine. The machine's own time zone database and the variable ZONEINFO
// play no part, unlike in [time.LoadLocation]. Names must be written as IANA does,
// capitals included. Those that stand for something else on another machine
// (Local, localtime) or for clocks with leap seconds (right/...) are refused.
func LoadLocation(name string) (*time.Location, error) {
	const fix = "use an IANA name such as Europe/Berlin or America/New_York, or UTC"
	switch lower := strings.ToLower(name); {
	case name == "", name == "UTC":
		return time.UTC, nil
	case lower == "local", lower == "localtime", lower == "posixrules":
		return nil, fmt.Errorf("time zone %q differs from machine to machine; %s", name, fix)
	case strings.HasPrefix(lower, "right/"), strings.HasPrefix(lower, "posix/"):
		return nil, fmt.Errorf("time zone %s is not an IANA name; %s", shortened(name), fix)
	}
	read, ok := zoneFiles()[name]
	if !ok {
		if meant := similarZone(name); meant != "" {
			return nil, fmt.Errorf("time zone %q is unknown; did you mean %s? Otherwise %s", name, meant, fix)
		}
		return nil, fmt.Errorf("time zone %s is unknown; %s", shortened(name), fix)
	}
	location, err := read()
	if err != nil {
		return nil, fmt.Errorf("read the embedded time zone %q: %w", name, err)
	}
	return location, nil
}

// LocationNames returns every name that LoadLocation knows, sorted.
func LocationNames() []string { return slices.Sorted(maps.Keys(zoneFiles())) }

// similarZone returns the name that somebody may have meant: one that differs in
// nothing but capitals and spaces, or whose last part does.
func similarZone(name string) string {
	name = strings.ReplaceAll(strings.TrimSpace(name), " ", "_")
	for _, known := range LocationNames() {
		if strings.EqualFold(known, name) {
			return known
		}
	}
	for _, known := range LocationNames() {
		if strings.EqualFold(known[strings.LastIndexByte(known, '/')+1:], name) {
			return known
		}
	}
	return ""
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
