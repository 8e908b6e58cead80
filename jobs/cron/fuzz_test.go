package cron_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/systempromptio/scheduler/jobs/cron"
)

// FuzzParse: whatever the text, Parse returns a schedule that works or a
// ParseError that names a reason and a fix, and never panics. The seeds are in
// testdata/fuzz/FuzzParse.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, text, zone, name string, second int64) {
		loc, err := cron.LoadLocation(zone)
		if err != nil {
			loc = time.UTC
		}
		s, err := cron.Parse(text, cron.Options{Location: loc, Name: name})
		if err != nil {
			var refused *cron.ParseError
			if s != nil || !errors.As(err, &refused) || refused.Text != text || !strings.Contains(refused.Reason, ";") {
				t.Fatalf("%q: got %v, %#v", text, s, err)
			}
			return
		}
		again, err := cron.Parse(s.String(), cron.Options{Location: loc, Name: name})
		if err != nil || again.String() != s.String() {
			t.Fatalf("%q is not read again: %v, %v", text, again, err)
		}

		start := time.Unix(second, 0)
		at := start
		for n := range 3 {
			next := s.Next(at)
			if next.IsZero() {
				if at.Year() <= 2100 {
					t.Fatalf("%q in %s: nothing after %s", s, loc, at)
				}
				return
			}
			if !next.After(at) || !again.Next(at).Equal(next) {
				t.Fatalf("%q in %s: after %s comes %s", s, loc, at, next)
			}
			at = next
			count, first, last := s.Count(start, at)
			if count != int64(n)+1 || !last.Equal(at) || !first.Equal(s.Next(start)) {
				t.Fatalf("%q in %s: Count(%s, %s) = %d, %s, %s", s, loc, start, at, count, first, last)
			}
		}
	})
}
