package cron_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/systempromptio/scheduler/jobs/cron"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
