package cron_test

import (
	"testing"
	"time"

	"github.com/systempromptio/scheduler/jobs/cron"
)

func BenchmarkNext(b *testing.B) {
	start := time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
	for _, text := range []string{"* * * * *", "30 2 * * *", "0 0 1 1 *", "0 0 29 2 *", "0 0 29 2 */6", "0 9 L * fri#2", "@every 90s"} {
		for _, zone := range []string{"UTC", "Europe/Berlin"} {
			b.Run(zone+" "+text, func(b *testing.B) {
				s := parse(b, text, zone)
				b.ReportAllocs()
				for b.Loop() {
					s.Next(start)
				}
			})
		}
	}
}

func BenchmarkCountAYear(b *testing.B) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, text := range []string{"* * * * * *", "30 2 * * *", "@every 1s"} {
		b.Run(text, func(b *testing.B) {
			s := parse(b, text, "Europe/Berlin")
			b.ReportAllocs()
			for b.Loop() {
				s.Count(start, start.AddDate(1, 0, 0))
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := cron.Parse("H/15 0-23/2 1,15 jan-jun mon-fri", cron.Options{Name: "job"}); err != nil {
			b.Fatal(err)
		}
	}
}
