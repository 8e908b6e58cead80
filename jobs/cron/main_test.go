package cron_test

import (
	"archive/zip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/systempromptio/scheduler/jobs/cron"
)

// TestMain runs the tests on a machine whose time zone database is wrong: it gives
// Berlin the clock of Tokyo. Nothing but TestTheMachinesZonesAreNotRead may notice.
func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "zoneinfo")
	if err == nil {
		err = errors.Join(putTokyo(folder, "Europe/Berlin"), putTokyo(folder, "Mars/Olympus"), os.Setenv("ZONEINFO", folder))
	}
	if err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(folder) // a small folder for temporary files
		os.Exit(code)
	}))
}

// putTokyo writes the rules of Tokyo into a folder, under another zone's name.
func putTokyo(folder, name string) error {
	archive, err := zip.OpenReader("zoneinfo.zip")
	if err != nil {
		return err
	}
	defer archive.Close()
	data, err := fs.ReadFile(archive, "Asia/Tokyo")
	if err != nil {
		return err
	}
	path := filepath.Join(folder, filepath.FromSlash(name))
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o600))
}

// zones are the zones of the property tests: those whose clocks do what others
// do not, and plain ones.
var zones = []string{
	"UTC", "America/New_York", "Europe/Berlin", "Europe/Dublin", "Europe/London",
	"Asia/Beirut", "Africa/Cairo", "Africa/Casablanca", "Africa/El_Aaiun", "Africa/Monrovia",
	"Africa/Sao_Tome", "Africa/Juba", "Africa/Windhoek", "America/Havana", "America/Santiago",
	"America/Sao_Paulo", "America/Asuncion", "America/Caracas", "America/St_Johns", "America/Nuuk",
	"America/Scoresbysund", "America/Anchorage", "America/Argentina/San_Luis", "America/Guyana",
	"America/Montevideo", "Antarctica/Casey", "Antarctica/Troll", "Antarctica/Vostok",
	"Antarctica/Macquarie", "Asia/Amman", "Asia/Dhaka", "Asia/Gaza", "Asia/Kathmandu", "Asia/Kolkata",
	"Asia/Pyongyang", "Asia/Tehran", "Asia/Tokyo", "Asia/Dili", "Australia/Lord_Howe",
	"Australia/Adelaide", "Atlantic/Azores", "Europe/Istanbul", "Europe/Lisbon", "Europe/Moscow",
	"Europe/Samara", "Europe/Volgograd", "Pacific/Apia", "Pacific/Auckland", "Pacific/Chatham",
	"Pacific/Easter", "Pacific/Fiji", "Pacific/Kiritimati", "Pacific/Kwajalein", "Pacific/Norfolk",
	"Pacific/Tongatapu", "Pacific/Enderbury",
}

func location(tb testing.TB, name string) *time.Location {
	tb.Helper()
	loc, err := cron.LoadLocation(name)
	if err != nil {
		tb.Fatal(err)
	}
	return loc
}

func parse(tb testing.TB, text, zone string) *cron.Schedule {
	tb.Helper()
	s, err := cron.Parse(text, cron.Options{Location: location(tb, zone), Name: "job"})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}
