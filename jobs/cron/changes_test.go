package cron_test

import (
	"strings"
	"testing"
	"time"
)

// Each case gives the ticks after an instant, in the zone's own time.
func TestChangesOfTheClock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, zone, text, after, want string }{
		// New York: 8 March 2026 2:00 becomes 3:00, 1 November 2:00 becomes 1:00.
		{
			"in the gap", "America/New_York", "30 2 * * *",
			"2026-03-07T02:00:00-05:00", "2026-03-07T02:30:00-05:00 2026-03-08T03:00:00-04:00 2026-03-09T02:30:00-04:00",
		},
		{
			"several in the gap are one", "America/New_York", "0,20,40 2 * * *",
			"2026-03-08T00:00:00-05:00", "2026-03-08T03:00:00-04:00 2026-03-09T02:00:00-04:00",
		},
		{
			"in the gap and right after it", "America/New_York", "0,30 2,3 * * *",
			"2026-03-08T00:00:00-05:00", "2026-03-08T03:00:00-04:00 2026-03-08T03:30:00-04:00 2026-03-09T02:00:00-04:00",
		},
		{
			"seconds in the gap", "America/New_York", "*/20 30 2 * * *",
			"2026-03-08T00:00:00-05:00", "2026-03-08T03:00:00-04:00 2026-03-09T02:30:00-04:00 2026-03-09T02:30:20-04:00",
		},
		{
			"asked in the first second after the gap", "America/New_York", "30 2 * * *",
			"2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00",
		},
		{
			"asked in the last second before the gap", "America/New_York", "59 59 1 * * *",
			"2026-03-08T01:59:59-05:00", "2026-03-09T01:59:59-04:00",
		},
		{
			"a date in the gap once a year", "America/New_York", "30 2 8 3 *",
			"2025-12-01T00:00:00-05:00", "2026-03-08T03:00:00-04:00 2027-03-08T02:30:00-05:00",
		},
		{
			"a full range is fixed times", "America/New_York", "0 0-23 * * *",
			"2026-11-01T00:00:00-04:00", "2026-11-01T01:00:00-04:00 2026-11-01T02:00:00-05:00 2026-11-01T03:00:00-05:00",
		},
		{
			"in the repeated hour", "America/New_York", "30 1 * * *",
			"2026-10-31T12:00:00-04:00", "2026-11-01T01:30:00-04:00 2026-11-02T01:30:00-05:00",
		},
		{
			"asked between the two", "America/New_York", "45 1 * * *",
			"2026-11-01T01:30:00-05:00", "2026-11-02T01:45:00-05:00",
		},
		{
			"every 15 minutes over the gap", "America/New_York", "*/15 * * * *",
			"2026-03-08T01:30:00-05:00", "2026-03-08T01:45:00-05:00 2026-03-08T03:00:00-04:00 2026-03-08T03:15:00-04:00",
		},
		{
			"every 30 minutes over the repeated hour", "America/New_York", "0-59/30 * * * *",
			"2026-11-01T00:40:00-04:00", "2026-11-01T01:00:00-04:00 2026-11-01T01:30:00-04:00 " +
				"2026-11-01T01:00:00-05:00 2026-11-01T01:30:00-05:00 2026-11-01T02:00:00-05:00",
		},
		{
			"a step is a wildcard", "America/New_York", "0-59/30 1 * * *",
			"2026-11-01T00:40:00-04:00", "2026-11-01T01:00:00-04:00 2026-11-01T01:30:00-04:00 " +
				"2026-11-01T01:00:00-05:00 2026-11-01T01:30:00-05:00 2026-11-02T01:00:00-05:00",
		},
		{
			"hourly", "America/New_York", "@hourly",
			"2026-11-01T00:00:00-04:00", "2026-11-01T01:00:00-04:00 2026-11-01T01:00:00-05:00 2026-11-01T02:00:00-05:00",
		},
		{
			"a wildcard in an hour that is left out", "America/New_York", "*/30 2 * * *",
			"2026-03-07T02:15:00-05:00", "2026-03-07T02:30:00-05:00 2026-03-09T02:00:00-04:00",
		},
		{
			"every is real time", "America/New_York", "@every 1h",
			"2026-03-08T00:30:00-05:00", "2026-03-08T01:00:00-05:00 2026-03-08T03:00:00-04:00 2026-03-08T04:00:00-04:00",
		},

		// Berlin: 29 March 2026 2:00 becomes 3:00, 25 October 3:00 becomes 2:00.
		{
			"gap", "Europe/Berlin", "30 2 * * sun",
			"2026-03-28T00:00:00+01:00", "2026-03-29T03:00:00+02:00 2026-04-05T02:30:00+02:00",
		},
		{
			"end of the repeated hour", "Europe/Berlin", "0 3 * * *",
			"2026-10-25T02:59:59+02:00", "2026-10-25T03:00:00+01:00",
		},
		{
			"begin of the repeated hour", "Europe/Berlin", "0 2 * * *",
			"2026-10-25T00:00:00+02:00", "2026-10-25T02:00:00+02:00 2026-10-26T02:00:00+01:00",
		},
		{
			"every two hours", "Europe/Berlin", "0 */2 * * *",
			"2026-10-25T00:00:00+02:00", "2026-10-25T02:00:00+02:00 2026-10-25T02:00:00+01:00 2026-10-25T04:00:00+01:00",
		},
		{
			"before the rules of today", "Europe/Berlin", "30 2 * * *", // 6 April 1980
			"1980-04-06T00:00:00+01:00", "1980-04-06T03:00:00+02:00 1980-04-07T02:30:00+02:00",
		},
		{
			"far ahead", "Europe/Berlin", "30 2 * * *", // 28 March 2100
			"2100-03-28T00:00:00+01:00", "2100-03-28T03:00:00+02:00 2100-03-29T02:30:00+02:00",
		},

		// Beirut: midnight becomes 1:00, and 23:00 of the day before.
		{
			"gap at midnight", "Asia/Beirut", "@daily",
			"2026-03-28T12:00:00+02:00", "2026-03-29T01:00:00+03:00 2026-03-30T00:00:00+03:00",
		},
		{
			"repeated hour before midnight", "Asia/Beirut", "30 23 * * *",
			"2026-10-24T12:00:00+03:00", "2026-10-24T23:30:00+03:00 2026-10-25T23:30:00+02:00",
		},
		{
			"midnight after the repeated hour", "Asia/Beirut", "0 0 * * *",
			"2026-10-24T12:00:00+03:00", "2026-10-25T00:00:00+02:00 2026-10-26T00:00:00+02:00",
		},
		{
			"wildcard at midnight", "Asia/Beirut", "*/30 * * * *",
			"2026-03-28T23:00:00+02:00", "2026-03-28T23:30:00+02:00 2026-03-29T01:00:00+03:00 2026-03-29T01:30:00+03:00",
		},

		// Cairo: no summer time from 2015 to 2022; again since 2023, at midnight.
		{
			"gap at midnight", "Africa/Cairo", "15 0 24 4 *",
			"2025-12-01T00:00:00+02:00", "2026-04-24T01:00:00+03:00 2027-04-24T00:15:00+02:00",
		},
		{
			"years without changes", "Africa/Cairo", "0 0 24 4 *",
			"2020-01-01T00:00:00+02:00", "2020-04-24T00:00:00+02:00 2021-04-24T00:00:00+02:00",
		},
		{
			"repeated hour", "Africa/Cairo", "0 23 * * thu",
			"2026-10-29T00:00:00+03:00", "2026-10-29T23:00:00+03:00 2026-11-05T23:00:00+02:00",
		},

		// Havana: 8 March 2026 0:00 becomes 1:00; 1 November 1:00 becomes 0:00.
		{
			"gap at midnight", "America/Havana", "0,30 0 * * *",
			"2026-03-07T12:00:00-05:00", "2026-03-08T01:00:00-04:00 2026-03-09T00:00:00-04:00",
		},
		{
			"midnight twice", "America/Havana", "0 0 * * *",
			"2026-10-31T12:00:00-04:00", "2026-11-01T00:00:00-04:00 2026-11-02T00:00:00-05:00",
		},
		{
			"first of a month twice", "America/Havana", "@monthly",
			"2026-10-31T12:00:00-04:00", "2026-11-01T00:00:00-04:00 2026-12-01T00:00:00-05:00",
		},

		// Santiago: 6 September 2026 0:00 becomes 1:00; 5 April 0:00 becomes 4 April 23:00.
		{
			"gap at midnight", "America/Santiago", "0 0 * * *",
			"2026-09-05T12:00:00-04:00", "2026-09-06T01:00:00-03:00 2026-09-07T00:00:00-03:00",
		},
		{
			"a day that ends twice", "America/Santiago", "59 23 4 4 *",
			"2026-04-04T12:00:00-03:00", "2026-04-04T23:59:00-03:00 2027-04-04T23:59:00-04:00",
		},
		{
			"a day that ends twice, asked in between", "America/Santiago", "59 23 4 4 *",
			"2026-04-04T23:00:00-04:00", "2027-04-04T23:59:00-04:00",
		},

		// Sao Paulo: 4 November 2018 0:00 becomes 1:00; 18 February 0:00 becomes 17 February 23:00.
		{
			"gap at midnight", "America/Sao_Paulo", "0 0 * * *",
			"2018-11-03T12:00:00-03:00", "2018-11-04T01:00:00-02:00 2018-11-05T00:00:00-02:00",
		},
		{
			"a Saturday that ends twice", "America/Sao_Paulo", "0 23 * * 6",
			"2018-02-17T12:00:00-02:00", "2018-02-17T23:00:00-02:00 2018-02-24T23:00:00-03:00",
		},
		{
			"no summer time since 2019", "America/Sao_Paulo", "0 0 * 11 0",
			"2019-11-01T12:00:00-03:00", "2019-11-03T00:00:00-03:00",
		},

		// Lord Howe: 4 October 2026 2:00 becomes 2:30; 5 April 2:00 becomes 1:30.
		{
			"gap of half an hour", "Australia/Lord_Howe", "0,15,45 2 * * *",
			"2026-10-04T00:00:00+10:30", "2026-10-04T02:30:00+11:00 2026-10-04T02:45:00+11:00 2026-10-05T02:00:00+11:00",
		},
		{
			"repeated half an hour", "Australia/Lord_Howe", "15,45 1 * * *",
			"2026-04-05T00:00:00+11:00", "2026-04-05T01:15:00+11:00 2026-04-05T01:45:00+11:00 2026-04-06T01:15:00+10:30",
		},
		{
			"every 15 minutes", "Australia/Lord_Howe", "*/15 * * * *",
			"2026-04-05T01:30:00+11:00", "2026-04-05T01:45:00+11:00 2026-04-05T01:30:00+10:30 2026-04-05T01:45:00+10:30 2026-04-05T02:00:00+10:30",
		},

		// Apia: after 29 December 2011 came the 31st.
		{
			"a day left out", "Pacific/Apia", "30 9 30 12 *",
			"2011-01-01T00:00:00-10:00", "2011-12-31T00:00:00+14:00 2012-12-30T09:30:00+14:00",
		},
		{
			"daily", "Pacific/Apia", "30 9 * * *",
			"2011-12-29T00:00:00-10:00", "2011-12-29T09:30:00-10:00 2011-12-31T00:00:00+14:00 2011-12-31T09:30:00+14:00",
		},
		{
			"midnight, once", "Pacific/Apia", "@daily",
			"2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00 2012-01-01T00:00:00+14:00",
		},
		{
			"hourly", "Pacific/Apia", "0 * * * *",
			"2011-12-29T22:30:00-10:00", "2011-12-29T23:00:00-10:00 2011-12-31T00:00:00+14:00 2011-12-31T01:00:00+14:00",
		},
		{
			"a wildcard on a day left out", "Pacific/Apia", "0 * 30 12 *",
			"2011-01-01T00:00:00-10:00", "2012-12-30T00:00:00+14:00",
		},

		// Kathmandu: 1 January 1986 0:00 becomes 0:15, and stays at +05:45.
		{
			"gap of a quarter", "Asia/Kathmandu", "5,20 0 * * *",
			"1985-12-31T12:00:00+05:30", "1986-01-01T00:15:00+05:45 1986-01-01T00:20:00+05:45 1986-01-02T00:05:00+05:45",
		},
		{
			"today", "Asia/Kathmandu", "0 12 * * *",
			"2026-06-01T06:15:00Z", "2026-06-02T12:00:00+05:45",
		},

		// Troll: 29 March 2026 1:00 becomes 3:00; 25 October 3:00 becomes 1:00.
		{
			"gap of two hours", "Antarctica/Troll", "0,30 1,2,3 * * *",
			"2026-03-29T00:00:00Z", "2026-03-29T03:00:00+02:00 2026-03-29T03:30:00+02:00 2026-03-30T01:00:00+02:00",
		},
		{
			"two repeated hours", "Antarctica/Troll", "15 1,2,3 * * *",
			"2026-10-25T00:30:00+02:00", "2026-10-25T01:15:00+02:00 2026-10-25T02:15:00+02:00 2026-10-25T03:15:00Z 2026-10-26T01:15:00Z",
		},
		{
			"every two hours", "Antarctica/Troll", "0 */2 * * *",
			"2026-10-25T00:30:00+02:00", "2026-10-25T02:00:00+02:00 2026-10-25T02:00:00Z 2026-10-25T04:00:00Z",
		},

		// Vostok: on 1 February 1994 0:00 became 17:00 of the day before.
		{
			"seven repeated hours", "Antarctica/Vostok", "0 20 * * *",
			"1994-01-31T17:00:00Z", "1994-02-01T20:00:00Z",
		},

		// Monrovia: 7 January 1972 0:00:00 becomes 0:44:30.
		{
			"gap that ends within a minute", "Africa/Monrovia", "0 0 * * *",
			"1972-01-06T01:00:00-00:44", "1972-01-07T00:44:30Z 1972-01-08T00:00:00Z",
		},
		{
			"real time over it", "Africa/Monrovia", "*/10 * * * *",
			"1972-01-07T00:40:00Z", "1972-01-07T00:50:00Z",
		},
	} {
		t.Run(strings.Join([]string{c.zone, c.name, c.text}, " "), func(t *testing.T) {
			t.Parallel()
			s := parse(t, c.text, c.zone)
			start, err := time.Parse(time.RFC3339, c.after)
			if err != nil {
				t.Fatal(err)
			}
			at := start
			want := strings.Fields(c.want)
			for _, w := range want {
				at = s.Next(at)
				if got := at.Format(time.RFC3339); got != w {
					t.Fatalf("got %s, want %s", got, w)
				}
			}
			n, first, last := s.Count(start, at)
			if n != int64(len(want)) || first.Format(time.RFC3339) != want[0] || !last.Equal(at) {
				t.Errorf("Count = %d, %s, %s, want %s", n, first, last, want)
			}
		})
	}
}
