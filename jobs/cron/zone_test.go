package cron_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/systempromptio/scheduler/jobs/cron"
)

func TestLoadLocation(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "UTC"} {
		if loc := location(t, name); loc != time.UTC {
			t.Errorf("%q: got %s", name, loc)
		}
	}
	for _, name := range []string{
		"Local", "local", "localtime", "posixrules", "right/Europe/Berlin", "posix/Europe/Berlin",
		"CEST", "Europe/Atlantis", "Europe/Berlin\x00", "Europe\\Berlin", "UTC+1", "+01:00", " ", "\xff", "Europe/Berlín",
		"../../etc/passwd", "../etc/passwd", "Europe/../UTC", "/etc/localtime", "/UTC", "./UTC", "UTC/", "Europe/", "Europe", "/", ".", "..",
		"Europe//Berlin", "/Europe/Berlin", "/usr/share/zoneinfo/UTC", "zoneinfo.zip",
		strings.Repeat("x", 10_000), "right/" + strings.Repeat("x", 10_000),
	} {
		loc, err := cron.LoadLocation(name)
		if err == nil || loc != nil || !strings.Contains(err.Error(), "use an IANA name such as Europe/Berlin") || len(err.Error()) > 1000 {
			t.Errorf("%.40q: got %v, %v", name, loc, err)
		}
	}
}

func TestLoadLocationSuggests(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"europe/berlin": "Europe/Berlin", "EUROPE/BERLIN": "Europe/Berlin", " Europe/Berlin": "Europe/Berlin",
		"Berlin": "Europe/Berlin", "new york": "America/New_York", "america/New York": "America/New_York",
		"utc": "UTC", "Utc": "UTC", "etc/utc": "Etc/UTC", "gmt": "GMT", "cet": "CET", "america/argentina/san_luis": "America/Argentina/San_Luis",
	} {
		_, err := cron.LoadLocation(name)
		if err == nil || !strings.Contains(err.Error(), "did you mean "+want+"?") {
			t.Errorf("%q: got %v, want %s suggested", name, err, want)
		}
	}
}

func TestEveryZoneLoads(t *testing.T) {
	t.Parallel()
	names := cron.LocationNames()
	if len(names) < 590 || !slices.IsSorted(names) || !slices.Contains(names, "UTC") {
		t.Fatalf("got %d names: %s", len(names), names)
	}
	for _, name := range names {
		loc := location(t, name)
		if loc.String() != name {
			t.Errorf("%s: got %s", name, loc)
		}
		if location(t, name) != loc { // ten thousand jobs of one zone must not read it so often
			t.Errorf("%s is read anew each time", name)
		}
	}
	for _, name := range zones {
		location(t, name)
	}
}

func TestLoadLocationConcurrently(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for _, name := range cron.LocationNames() {
				if _, err := cron.LoadLocation(name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

// What the machine holds changes nothing: TestMain has given it a file with which
// Berlin has the clock of Tokyo, and a name that IANA does not have.
func TestTheMachinesZonesAreNotRead(t *testing.T) {
	t.Parallel()
	july := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	for name, load := range map[string]func(string) (*time.Location, error){
		"of the machine": time.LoadLocation, "of this package": cron.LoadLocation,
	} {
		berlin, err := load("Europe/Berlin")
		if err != nil {
			t.Fatal(err)
		}
		_, offset := july.In(berlin).Zone()
		if isTokyo := offset == 9*3600; isTokyo != (name == "of the machine") {
			t.Errorf("the zone %s is %s", name, july.In(berlin))
		}
		if _, err := load("Mars/Olympus"); (err == nil) != (name == "of the machine") {
			t.Errorf("Mars/Olympus, %s: %v", name, err)
		}
	}
}
