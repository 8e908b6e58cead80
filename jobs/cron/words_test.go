package cron_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/systempromptio/scheduler/jobs/cron"
)

func TestWords(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, words string }{
		{"* * * * *", "every minute"},
		{"*/10 * * * *", "every 10 minutes"},
		{"0 */10 * * * *", "every 10 minutes"},
		{"3-59/10 * * * *", "every 10 minutes from minute 3"},
		{"* * * * * *", "every second"},
		{"*/5 * * * * *", "every 5 seconds"},
		{"0 * * * *", "every hour"},
		{"@hourly", "every hour"},
		{"7 * * * *", "at minute 7 of every hour"},
		{"7,37 * * * *", "at minutes 7 and 37 of every hour"},
		{"0 0 3 * * *", "at 03:00 every day"},
		{"@daily", "at 00:00 every day"},
		{"30 2,14 * * *", "at 02:30 and 14:30 every day"},
		{"30 0 4 * * *", "at 04:00:30 every day"},
		{"15 30 4 * * *", "at 04:30:15 every day"},
		{"0 */6 * * *", "every 6 hours"},
		{"7 */6 * * *", "at 00:07, 06:07, 12:07 and 18:07 every day"},
		{"0 */2 * * *", "every 2 hours"},
		{"7 */2 * * *", "at minute 7 of every 2 hours"},
		{"0 9-17 * * 1-5", "every hour from 09:00 to 17:00 on Monday to Friday"},
		{"*/5 9-17 * * *", "every 5 minutes of every hour from 9 to 17"},
		{"* 3 * * *", "every minute of hour 3"},
		{"0 3 * * 0", "at 03:00 on Sunday"},
		{"0 3 * * 7", "at 03:00 on Sunday"},
		{"0 3 * * fri-sun", "at 03:00 on Friday to Sunday"},
		{"0 3 * * mon,wed", "at 03:00 on Monday and Wednesday"},
		{"15 4 1,15 * *", "at 04:15 on the 1st and 15th of the month"},
		{"0 0 L * *", "at 00:00 on the last day of the month"},
		{"0 0 LW * *", "at 00:00 on the last working day of the month"},
		{"0 0 L-3 * *", "at 00:00 on the day 3 days before the last of the month"},
		{"0 0 15W * *", "at 00:00 on the working day nearest to the 15th of the month"},
		{"0 0 * * fri#2", "at 00:00 on the 2nd Friday of the month"},
		{"0 0 * * fri#L", "at 00:00 on the last Friday of the month"},
		{"0 0 13 * 5", "at 00:00 on the 13th of the month, or on Friday"},
		{"0 0 */2 * mon", "at 00:00 on Monday, if that is every 2 days from the 1st of the month"},
		{"0 0 29 2 *", "at 00:00 on the 29th of the month in February"},
		{"0 0 1 */3 *", "at 00:00 on the 1st of the month in January, April, July and October"},
		{"@yearly", "at 00:00 on the 1st of the month in January"},
		{"*/7 * * * *", "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour"},
		{"0 */5 * * *", "at 00:00, 05:00, 10:00, 15:00 and 20:00 every day"},
		{"0 0 15 * 0-6", "at 00:00 every day"},
		{"0 0 1-31 * 1", "at 00:00 every day"},
		{"@every 90s", "every 1 minute 30 seconds"},
		{"@every 1h", "every hour"},
		{"@every 48h", "every 2 days"},
		{"@every 1s", "every second"},
	} {
		schedule, err := cron.Parse(test.text, cron.Options{})
		require.NoError(t, err, test.text)
		require.Equal(t, test.words, schedule.Words(), test.text)
	}
}

// TestWords_anything: whatever can be read has words.
func TestWords_anything(t *testing.T) {
	t.Parallel()
	field := rapid.StringMatching(`\*|\*/[2-9]|[1-9]|[1-3]-[4-9]|[1-4],[5-9]|[1-3]-9/2|H`)
	rapid.Check(t, func(t *rapid.T) {
		text := ""
		for _, name := range []string{"second", "minute", "hour", "day-of-month", "month"} {
			text += field.Draw(t, name) + " "
		}
		text += rapid.SampledFrom([]string{"*", "1", "1-5", "fri#2", "sun,wed", "fri#L", "*/2"}).Draw(t, "day-of-week")
		schedule, err := cron.Parse(text, cron.Options{Name: "job"})
		if err != nil {
			return // what cannot be read is another test's
		}
		require.Regexp(t, `^(every|at) [a-zA-Z0-9:, ]+$`, schedule.Words(), text)
		require.NotContains(t, schedule.Words(), "  ", text)
	})
}
