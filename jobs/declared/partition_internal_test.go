package declared

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cron"
	"github.com/systempromptio/scheduler/sql"
)

func wall(t *testing.T, text string) time.Time {
	t.Helper()
	for _, layout := range []string{time.DateOnly, time.DateTime} {
		if at, err := time.Parse(layout, text); err == nil {
			return at
		}
	}
	t.Fatalf("no time: %s", text)
	return time.Time{}
}

func spanOf(t *testing.T, text string) span {
	t.Helper()
	s, err := parseSpan(text)
	require.NoError(t, err)
	return s
}

func TestSpans(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ every, at, floor, next, before string }{
		{"hour", "2026-11-27 23:51:07", "2026-11-27 23:00:00", "2026-11-28", "2026-11-27 22:51:07"},
		{"6 hours", "2026-11-27 23:51:07", "2026-11-27 18:00:00", "2026-11-28", "2026-11-27 17:51:07"},
		{"1 day", "2026-11-27 23:51:07", "2026-11-27", "2026-11-28", "2026-11-26 23:51:07"},
		{"10 days", "2000-01-10 23:51:07", "2000-01-01", "2000-01-11", "1999-12-31 23:51:07"},
		{"10 days", "1999-12-31", "1999-12-22", "2000-01-01", "1999-12-21"},
		{"week", "2026-11-27 23:51:07", "2026-11-23", "2026-11-30", "2026-11-20 23:51:07"},
		{"2 weeks", "2026-11-27", "2026-11-16", "2026-11-30", "2026-11-13"},
		{"month", "2026-01-31", "2026-01-01", "2026-02-01", "2025-12-31"},
		{"month", "2024-03-31 12:00:00", "2024-03-01", "2024-04-01", "2024-02-29 12:00:00"},
		{"quarter", "2026-05-31", "2026-04-01", "2026-07-01", "2026-02-28"},
		{"5 months", "2026-11-27", "2026-09-01", "2027-02-01", "2026-06-27"},
		{"year", "2024-02-29", "2024-01-01", "2025-01-01", "2023-02-28"},
		{"10 years", "2024-02-29", "2020-01-01", "2030-01-01", "2014-02-28"},
		{"year", "9999-12-31 23:59:59", "9999-01-01", "10000-01-01", "9998-12-31 23:59:59"},
		{"week", "0001-01-01", "0001-01-01", "0001-01-08", "0000-12-25"},
	} {
		s := spanOf(t, tt.every)
		floor := s.floor(wall(t, tt.at))
		require.Equal(t, wall(t, tt.floor), floor, tt)
		if tt.next == "10000-01-01" {
			require.Equal(t, 10000, s.after(floor, 1).Year())
		} else {
			require.Equal(t, wall(t, tt.next), s.after(floor, 1), tt)
		}
		require.Equal(t, wall(t, tt.before), s.before(wall(t, tt.at)), tt)
		require.Equal(t, floor, s.floor(floor), "a step begins where it begins")
	}
	for _, text := range []string{"", "day 1", "0 days", "-1 day", "1.5 days", "1 fortnight", "1d", "999999 days", "1 day 2 hours"} {
		_, err := parseSpan(text)
		require.ErrorContains(t, err, `such as "1 day"`, text)
	}
	require.ErrorContains(t, spanOf(t, "5 hours").checkStep(), "does not divide a day")
}

// In every zone each day begins once, one after the other.
func TestDaysBeginInOrderInEveryZone(t *testing.T) {
	t.Parallel()
	for _, name := range cron.LocationNames() {
		zone, err := cron.LoadLocation(name)
		require.NoError(t, err)
		day := wall(t, "2011-06-01") // Samoa left out a day that year
		last := instantOf(day, zone)
		for range 3 * 366 {
			day = day.AddDate(0, 0, 1)
			at := instantOf(day, zone)
			require.False(t, at.Before(last), "%s: %s begins at %s", name, day, at)
			shown := wallOf(at, zone)
			require.False(t, shown.Before(day), "%s: at %s the clock shows %s, and %s has begun", name, at, shown, day)
			before := wallOf(at.Add(-time.Second), zone)
			require.True(t, before.Before(day), "%s: before %s the clock shows %s: %s had begun", name, at, before, day)
			last = at
		}
	}
}

func TestPartitionNames(t *testing.T) {
	t.Parallel()
	at := wall(t, "2026-11-07 13:05:09")
	for _, tt := range []struct{ template, every, table, name string }{
		{"", "1 day", "events", "events_p20261107_130509"},
		{"", "1 hour", "events", "events_p20261107_130509"},
		{"{table}_{YYYY}_{MM}", "1 month", "Events", "Events_2026_11"},
		{"y{YYYY-MM}", "1 month", "events", "y2026-11"},
		{"", "1 day", strings.Repeat("ä", 40), strings.Repeat("ä", 23) + "_p20261107_130509"},
	} {
		template, err := newNameTemplate(tt.template, spanOf(t, tt.every))
		require.NoError(t, err)
		require.Equal(t, tt.name, template.name(tt.table, at))
		require.LessOrEqual(t, len(template.name(tt.table, at)), nameMax)
	}
	template, err := newNameTemplate("", spanOf(t, "1 month"))
	require.NoError(t, err)
	require.Equal(t, "events_p20261101", template.name("events", wall(t, "2026-11-01")))
	for template, says := range map[string]string{
		"{table}":                               "would share",
		"{table}_{YYYY}":                        "would share",
		"{table}_{yyyymmdd}":                    "{yyyymmdd} is not known",
		"{table}_{YYYYMMDD":                     "would share",
		"{table}{YYYYMMDD}}":                    "braces come in pairs",
		strings.Repeat("x", 60) + "_{YYYYMMDD}": "too long",
		"{table}_{YYYYMMDDx}":                   "is not known",
	} {
		_, err := newNameTemplate(template, spanOf(t, "1 day"))
		require.ErrorContains(t, err, says, template)
	}
}

// bounds makes partitions of texts such as "2026-11-01 2026-12-01"; "-" is no bound.
func bounds(t *testing.T, texts ...string) []sql.Partition {
	t.Helper()
	var list []sql.Partition
	bound := func(text string, infinite pgtype.InfinityModifier) pgtype.Timestamptz {
		if text == "-" {
			return pgtype.Timestamptz{InfinityModifier: infinite, Valid: true}
		}
		return finite(wall(t, strings.ReplaceAll(text, "T", " ")))
	}
	for _, text := range texts {
		lower, upper, _ := strings.Cut(text, " ")
		list = append(list, sql.Partition{Name: text, Lower: bound(lower, pgtype.NegativeInfinity), Upper: bound(upper, pgtype.Infinity)})
	}
	return list
}

func TestMissingPartitions(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		every, keep string
		existing    []sql.Partition
		missing     []string
		old         []string
	}{
		"none yet": {every: "1 day", missing: []string{"2026-11-27 2026-11-28", "2026-11-28 2026-11-29", "2026-11-29 2026-11-30"}},
		"all":      {every: "1 day", existing: bounds(t, "- 2026-11-01", "2026-11-01 -")},
		"missed": {every: "1 week", existing: bounds(t, "2026-11-02 2026-11-09"), missing: []string{
			"2026-11-09 2026-11-16", "2026-11-16 2026-11-23", "2026-11-23 2026-11-30", "2026-11-30 2026-12-07", "2026-12-07 2026-12-14",
		}},
		"missed, and not kept": {every: "1 week", keep: "1 week", existing: bounds(t, "2025-11-03 2025-11-10"), old: []string{"2025-11-03 2025-11-10"}, missing: []string{
			"2026-11-16 2026-11-23", "2026-11-23 2026-11-30", "2026-11-30 2026-12-07", "2026-12-07 2026-12-14",
		}},
		"another step": {every: "1 day", existing: bounds(t, "2026-11-01 2026-11-28"), missing: []string{"2026-11-28 2026-11-29", "2026-11-29 2026-11-30"}},
		"odd bounds": {every: "1 month", existing: bounds(t, "2026-10-20 2026-11-10T12:00:00", "2026-12-24 2027-01-05"), missing: []string{
			"2026-11-10 12:00:00 2026-12-01", "2026-12-01 2026-12-24", "2027-01-05 2027-02-01",
		}},
		"a gap":       {every: "1 day", existing: bounds(t, "- 2026-11-28", "2026-11-29 -"), missing: []string{"2026-11-28 2026-11-29"}},
		"later ones":  {every: "1 day", existing: bounds(t, "2027-01-01 2027-01-02"), missing: []string{"2026-11-27 2026-11-28", "2026-11-28 2026-11-29", "2026-11-29 2026-11-30"}},
		"open below":  {every: "1 year", keep: "1 year", existing: bounds(t, "- 2025-01-01", "2025-01-01 2026-01-01", "2026-01-01 -"), old: []string{"- 2025-01-01"}},
		"not yet old": {every: "1 month", keep: "1 month", existing: bounds(t, "2026-10-01 2026-10-28", "2026-10-28 -")},
		"just old":    {every: "1 month", keep: "1 month", existing: bounds(t, "2026-10-01 2026-10-27", "2026-10-27 2026-10-27T23:00:00", "2026-10-28 -"), old: []string{"2026-10-01 2026-10-27", "2026-10-27 2026-10-27T23:00:00"}, missing: []string{"2026-10-27 23:00:00 2026-10-28"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCalendar(spanOf(t, tt.every), typeTimestamptz, time.UTC, wall(t, "2026-11-27 23:51:00"))
			var keep *span
			if tt.keep != "" {
				s := spanOf(t, tt.keep)
				keep = &s
			}
			var missing, old []string
			short := func(at time.Time) string { return strings.TrimSuffix(at.Format(time.DateTime), " 00:00:00") }
			for _, w := range c.missing(tt.existing, 2, keep, 100) {
				missing = append(missing, short(w.lower)+" "+short(w.upper))
			}
			for _, p := range c.old(tt.existing, keep) {
				old = append(old, p.Name)
			}
			require.Equal(t, tt.missing, missing)
			require.Equal(t, tt.old, old)
		})
	}
}

// Days are those of the zone, hours those of UTC.
func TestPartitionsOfAZone(t *testing.T) {
	t.Parallel()
	zone, err := cron.LoadLocation("America/New_York")
	require.NoError(t, err)
	now := time.Date(2026, time.November, 1, 3, 30, 0, 0, time.UTC) // 31 October there, and the clock goes back in the night to 2 November
	days := newCalendar(spanOf(t, "1 day"), typeTimestamptz, zone, now).missing(nil, 2, nil, 100)
	require.Equal(t, time.Date(2026, time.October, 31, 4, 0, 0, 0, time.UTC), days[0].lower)
	require.Equal(t, 25*time.Hour, days[1].upper.Sub(days[1].lower))
	hours := newCalendar(spanOf(t, "1 hour"), typeTimestamptz, zone, now).missing(nil, 2, nil, 100)
	require.Equal(t, now.Truncate(time.Hour), hours[0].lower)
	dates := newCalendar(spanOf(t, "1 day"), typeDate, zone, now).missing(nil, 0, nil, 100)
	require.Equal(t, wall(t, "2026-10-31"), dates[0].lower)
	require.Len(t, newCalendar(spanOf(t, "1 hour"), typeTimestamp, zone, now).missing(bounds(t, "1900-01-01 1900-01-02"), 1, nil, 100), 101, "no more than asked for")
}

func TestPartitionRefuses(t *testing.T) {
	t.Parallel()
	good := PartitionConfig{Definition: jobs.Definition{Name: "parts", Schedule: "@hourly"}, Table: "events", Every: "1 day", Keep: "90 days"}
	job, err := Partition(good)
	require.NoError(t, err)
	require.NoError(t, jobs.Validate(job))
	for says, change := range map[string]func(*PartitionConfig){
		"partition.table: is empty":     func(c *PartitionConfig) { c.Table = "" },
		`partition.every: is "daily"`:   func(c *PartitionConfig) { c.Every = "daily" },
		"partition.every: is 7 hours":   func(c *PartitionConfig) { c.Every = "7 hours" },
		`partition.keep: is "90d"`:      func(c *PartitionConfig) { c.Keep = "90d" },
		`partition.old: is "delete"`:    func(c *PartitionConfig) { c.Old = "delete" },
		"partition.old: without keep":   func(c *PartitionConfig) { c.Old, c.Keep = OldDrop, "" },
		"partition.ahead: is -1":        func(c *PartitionConfig) { c.Ahead = -1 },
		"partition.ahead: is 1001":      func(c *PartitionConfig) { c.Ahead = 1001 },
		`partition.name: is "x"`:        func(c *PartitionConfig) { c.Name = "x" },
		"partition.timezone: time zone": func(c *PartitionConfig) { c.TimeZone = "Europe/Berlinn" },
		"parameters.days: a partition job has": func(c *PartitionConfig) {
			c.Definition.Parameters = []jobs.Parameter{{Name: "days", Type: jobs.TypeInteger, Default: 1}}
		},
	} {
		config := good
		change(&config)
		_, err := Partition(config)
		require.ErrorContains(t, err, says)
		var field *jobs.FieldError
		require.ErrorAs(t, err, &field)
	}
}
