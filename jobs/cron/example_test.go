package cron_test

import (
	"fmt"
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
	// Output:
	// cron text "0 0 31 2 *": day-of-month: no date ever matches together with the month and the day of the week, so it would never fire; use a day that the month has, or L for its last day
	// cron text "*/90 * * * *": minute: "*/90" has a step of 90 over 60 values, so only the first would match; use a smaller step, or write that value
}
