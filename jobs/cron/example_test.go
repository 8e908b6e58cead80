package cron_test

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/systempromptio/scheduler/jobs/cron"
)

func Example() {
	berlin, err := cron.LoadLocation("Europe/Berlin")
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := cron.Parse("30 2 * * *", cron.Options{Location: berlin, Name: "cleanup"})
	if err != nil {
		fmt.Println(err)
		return
	}
	// On 29 March 2026 there is no 2:30 in Berlin.
	at := time.Date(2026, 3, 28, 0, 0, 0, 0, berlin)
	for range 3 {
		at = s.Next(at)
		fmt.Println(at)
	}
	// Output:
	// 2026-03-28 02:30:00 +0100 CET
	// 2026-03-29 03:00:00 +0200 CEST
	// 2026-03-30 02:30:00 +0200 CEST
}

func ExampleSchedule_Count() {
	s, err := cron.Parse("@every 90s", cron.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	down := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	missed, first, last := s.Count(down, down.Add(time.Hour))
	fmt.Println(missed, first.Format(time.TimeOnly), last.Format(time.TimeOnly))
	// Output: 40 12:01:30 13:00:00
}

func ExampleSchedule_Newest() {
	s, err := cron.Parse("@every 90s", cron.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	down := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, missed := range s.Newest(3, down, down.Add(time.Hour)) {
		fmt.Println(missed.Format(time.TimeOnly))
	}
	// Output:
	// 12:57:00
	// 12:58:30
	// 13:00:00
}

func ExampleParseError() {
	_, err := cron.Parse("0 0 31 2 *", cron.Options{})
	fmt.Println(err)
	_, err = cron.Parse("*/90 * * * *", cron.Options{})
	fmt.Println(err)
	var refused *cron.ParseError
	fmt.Println(errors.As(err, &refused), refused.Field)
	// Output:
	// cron text "0 0 31 2 *": day-of-month: no date ever matches together with the month and the day of the week, so it would never fire; use a day that the month has, or L for its last day
	// cron text "*/90 * * * *": minute: "*/90" has a step of 90 over 60 values, so only the first would match; use a smaller step, or write that value
	// true minute
}

// In words, for people.
func ExampleSchedule_Words() {
	for _, text := range []string{"*/10 * * * *", "0 3 * * SUN", "@hourly"} {
		var s *cron.Schedule
		s, err := cron.Parse(text, cron.Options{})
		fmt.Println(s, "is", s.Words(), err)
	}
	// Output:
	// */10 * * * * is every 10 minutes <nil>
	// 0 3 * * SUN is at 03:00 on Sunday <nil>
	// @hourly is every hour <nil>
}

// The zones are in the program: a machine without a time zone database will do.
func ExampleLocationNames() {
	fmt.Println(slices.Contains(cron.LocationNames(), "Europe/Berlin"))
	_, err := cron.LoadLocation("Europe/Bärlin")
	fmt.Println(err != nil)
	// Output:
	// true
	// true
}
