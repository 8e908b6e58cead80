package cron_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/systempromptio/scheduler/jobs/cron"
)

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const whole = ""
	for _, c := range []struct{ text, field, reason string }{
		{"", whole, "is empty; write five fields"},
		{" \t ", whole, "is empty"},
		{strings.Repeat("* ", 600), whole, "has 1199 characters; use at most 1024"},
		{"* * * *", whole, "has 4 fields; write 5 "},
		{"* * * * * * *", whole, "has 7 fields; write 5 "},
		{"*", whole, "has 1 field;"},
		{"0 0 * * *\n", whole, `holds the character '\n'`},
		{"0 0 * *\x00 *", whole, `holds the character '\x00'`},
		{"0\u00a00 * * *", whole, `holds the character '\u00a0'`},
		{"0 0 * * \xff", whole, "holds the character"},
		{"TZ=UTC 0 0 * * *", whole, "set the schedule's time zone instead"},
		{"CRON_TZ=Europe/Berlin 0 0 * * *", whole, "names a time zone"},
		{"tz=UTC", whole, "names a time zone"},
		{"TZ=", whole, "names a time zone"},
		{"@reboot", whole, "@reboot is not a time"},
		{"@fortnightly", whole, "@fortnightly is unknown; use @yearly"},
		{"@", whole, "@ is unknown"},
		{"@daily 5", whole, `remove "5"`},
		{"@every", "interval", "is missing; write an interval such as @every 90s"},
		{"@every ", "interval", "is missing"},
		{"@every 90", "interval", `"90" is not an interval`},
		{"@every soon", "interval", `"soon" is not an interval`},
		{"@every 0s", "interval", "under one second; use at least 1s"},
		{"@every -5m", "interval", "under one second"},
		{"@every 999ms", "interval", "under one second"},
		{"@every 1.5s", "interval", "fraction of a second; use whole seconds"},
		{"@every 87841h", "interval", "over ten years"},
		{"@every 9999999999h", "interval", "is not an interval"},

		{"60 * * * *", "minute", "60 is not within 0-59; use 0-59"},
		{"* 24 * * *", "hour", "24 is not within 0-23"},
		{"* * 0 * *", "day-of-month", "0 is not within 1-31"},
		{"* * 32 * *", "day-of-month", "32 is not within 1-31"},
		{"* * * 13 *", "month", "13 is not within 1-12; use 1-12 or jan-dec"},
		{"* * * 0 *", "month", "0 is not within 1-12"},
		{"* * * * 8", "day-of-week", "8 is not within 0-7"},
		{"60 * * * * *", "second", "60 is not within 0-59"},
		{"1-60 * * * *", "minute", "60 is not within"},
		{"99999999999999999999 * * * *", "minute", "is not within"},
		{"30-10 * * * *", "minute", "the range 30 to 10 goes backwards; write the lower value first, or two ranges such as 0-10,30-59"},
		{"* 22-2 * * *", "hour", "goes backwards; write the lower value first, or two ranges such as 0-2,22-23"},
		{"* * * nov-feb *", "month", "two ranges such as 1-2,11-12"},
		{"* * * * fri-mon", "day-of-week", "two ranges such as 0-1,5-6"},
		{"* * * * fri-0", "day-of-week", "goes backwards"},
		{"* * * * 7-2", "day-of-week", "goes backwards"},
		{"*/0 * * * *", "minute", "step of zero; use 1 or more"},
		{"0-30/0 * * * *", "minute", "step of zero"},
		{"*/60 * * * *", "minute", "a step of 60 over 60 values, so only the first would match"},
		{"0 */36 * * *", "hour", "only the first would match"},
		{"50/15 * * * *", "minute", "only the first would match"},
		{"* * * * */7", "day-of-week", "only the first would match"},
		{"*/ * * * *", "minute", "no number as its step"},
		{"*/x * * * *", "minute", "no number as its step"},
		{"*/-5 * * * *", "minute", "no number as its step"},
		{"*/5/5 * * * *", "minute", "no number as its step"},
		{"1,,2 * * * *", "minute", "empty list item; remove the extra comma"},
		{", * * * *", "minute", "empty list item"},
		{"1, * * * *", "minute", "empty list item"},
		{"- * * * *", "minute", "a number is missing"},
		{"5- * * * *", "minute", "a number is missing"},
		{"-5 * * * *", "minute", "a number is missing"},
		{"1-2-3 * * * *", "minute", `"2-3" is not a value`},
		{"*-5 * * * *", "minute", `"*" is not a value`},
		{"*5 * * * *", "minute", `"*5" is not a value`},
		{"1x * * * *", "minute", `"1x" is not a value; use 0-59`},
		{"jan * * * *", "minute", `"jan" is not a value`},
		{"1.5 * * * *", "minute", `'.' does not belong here`},
		{"+5 * * * *", "minute", `'+' does not belong here`},
		{"0 0 ? * *", "day-of-month", "? is not used here; write *"},
		{"0 0 * january *", "month", `"january" is not a value; use 1-12 or jan-dec`},
		{"0 0 * * sunday", "day-of-week", `"sunday" is not a value`},
		{"0 0 * * 5l", "day-of-week", `"5l" is not a value; use 0-7, sun-sat, fri#2 or fri#L`},

		{"0 0 31 2 *", "day-of-month", "would never fire; use a day that the month has"},
		{"0 0 30 feb *", "day-of-month", "would never fire"},
		{"0 0 31 2,4,6,9,11 *", "day-of-month", "would never fire"},
		{"0 0 30w 2 *", "day-of-month", "would never fire"},
		{"0 0 l-30 2 *", "day-of-month", "would never fire"},
		{"0 0 31 2 */2", "day-of-month", "would never fire"},

		{"0 0 l-31 * *", "day-of-month", "offset must be 1-30"},
		{"0 0 l- * *", "day-of-month", `"l-" is not understood`},
		{"0 0 lx * *", "day-of-month", `"lx" is not understood`},
		{"0 0 32w * *", "day-of-month", "day must be 1-31"},
		{"0 0 w * *", "day-of-month", `"w" is not understood`},
		{"0 0 1-5w * *", "day-of-month", `"1-5w" is not understood`},
		{"0 0 l/2 * *", "day-of-month", "step after L, W or #"},
		{"0 0 * * fri#6", "day-of-week", "occurrence must be 1-5"},
		{"0 0 * * fri#", "day-of-week", `"fri#" is not understood`},
		{"0 0 * * #2", "day-of-week", `"#2" is not understood`},
		{"0 0 * * fri#2/2", "day-of-week", "step after L, W or #"},
		{"0 l * * *", "hour", `"l" is not a value`},
		{"0 0 2#1 * *", "day-of-month", `"2#1" is not a value`},

		{"0 0 0l * *", "day-of-month", `"0l" is not understood`},
		{"0 0 L-0 * *", "day-of-month", "offset must be 1-30"},
		{"0 0 L-3W * *", "day-of-month", `"L-3W" is not understood`},
		{"0 0 LW-3 * *", "day-of-month", `"LW-3" is not understood`},
		{"0 0 W15 * *", "day-of-month", `"W15" is not understood`},
		{"0 0 0W * *", "day-of-month", "day must be 1-31"},
		{"0 0 1-L * *", "day-of-month", `"1-L" is not understood`},
		{"0 0 *L * *", "day-of-month", `"*L" is not understood`},
		{"0 0 * * 0L", "day-of-week", `"0L" is not a value`},
		{"0 0 * * L", "day-of-week", `"L" is not a value`},
		{"0 0 * * FRI#0", "day-of-week", "occurrence must be 1-5"},
		{"0 0 * * FRI#-1", "day-of-week", `"FRI#-1" is not understood`},
		{"0 0 * * fri##2", "day-of-week", `"fri##2" is not understood`},
		{"0 0 * * fri#2#3", "day-of-week", `"fri#2#3" is not understood`},
		{"0 0 * * mon-fri#2", "day-of-week", `"mon-fri#2" is not understood`},
		{"0 0 * * *#1", "day-of-week", `"*#1" is not understood`},
		{"0 0 * * 8#1", "day-of-week", "weekday 8 out of range"},
		{"0 0 * * 7-2", "day-of-week", "two ranges such as 0-2,7-7"},
		{"0 0 29 2 sun TZ=1", whole, "names a time zone"},
		{"0 0 * * * 2026", "day-of-week", "2026 is not within 0-7"},
		{"5-1 * * * *", "minute", "the range 5 to 1 goes backwards"},
		{"18446744073709551617 * * * *", "minute", "is not within 0-59"}, // 1, in 64 bits
		{"4294967296 * * * *", "minute", "is not within 0-59"},
		{"1-999999999999999999999 * * * *", "minute", "is not within 0-59"},
		{"*/18446744073709551617 * * * *", "minute", "a step of 18446744073709551617 over 60 values"},
		{"*/9223372036854775807 * * * *", "minute", "only the first would match"},
		{"h/18446744073709551617 * * * *", "minute", "only the first would match"},
		{"\u0665 * * * *", whole, "use plain ASCII"},   // an Arabic five
		{"\uff15 * * * *", whole, "use plain ASCII"},   // a wide five
		{"0 0 * * \u017fun", whole, "use plain ASCII"}, // ſun, which is SUN in capitals
		{strings.Repeat("1,", 999) + "1 * * * *", whole, "has 2007 characters"},
		{strings.Repeat("1,", 500) + "99 * * * *", "minute", "99 is not within"},
		{strings.Repeat("/", 1016) + " * * * *", "minute", "a number is missing"},

		{"h-5 * * * *", "minute", `"h" is not a value`},
		{"5-h * * * *", "minute", `"h" is not a value`},
		{"h() * * * *", "minute", "is not complete"},
		{"h(*) * * * *", "minute", "is not complete"},
		{"h(1-2)(3-4) * * * *", "minute", `"2)(3-4" is not a value`},
		{"h(1-5/2) * * * *", "minute", "is not complete"},
		{"h/h * * * *", "minute", "no number as its step"},
		{"*~5 * * * *", "minute", `"*" is not a value`},
		{"h5 * * * *", "minute", `"h5" is not a value`},
		{"h( * * * *", "minute", "is not complete; write H(a-b)"},
		{"h(1-5 * * * *", "minute", "is not complete"},
		{"h(5) * * * *", "minute", "is not complete"},
		{"h(30-5) * * * *", "minute", "goes backwards"},
		{"h(0-60) * * * *", "minute", "60 is not within 0-59"},
		{"h/0 * * * *", "minute", "step of zero"},
		{"h/60 * * * *", "minute", "only the first would match"},
		{"h(0-5)/6 * * * *", "minute", "only the first would match"},
		{"60~ * * * *", "minute", "60 is not within 0-59"},
		{"~60 * * * *", "minute", "60 is not within 0-59"},
		{"~x * * * *", "minute", `"x" is not a value`},
		{"~~ * * * *", "minute", `"~" is not a value`},
		{"~/60 * * * *", "minute", "only the first would match"},
		{"50~/10 * * * *", "minute", "a step of 10 over 10 values"},
		{"0 0 * * FRI-Tuesday", "day-of-week", `"Tuesday" is not a value`},
		{"H(5 * * * *", "minute", `"H(5" is not complete`},
		{"@", whole, "@ is unknown"},
		{"5", whole, "has 1 field; write 5"},
		{"5 5", whole, "has 2 fields; write 5"},
		{"30~5 * * * *", "minute", "goes backwards"},
		{"0~1~2 * * * *", "minute", `"1~2" is not a value`},
	} {
		s, err := cron.Parse(c.text, cron.Options{Name: "job"})
		var refused *cron.ParseError
		switch {
		case !errors.As(err, &refused):
			t.Errorf("%q: got %v, %v, want a ParseError", c.text, s, err)
		case s != nil || refused.Text != c.text || refused.Field != c.field || !strings.Contains(refused.Reason, c.reason):
			t.Errorf("%q: got %#v, want field %q and reason %q", c.text, refused, c.field, c.reason)
		case strings.Contains(refused.Reason, "strconv"):
			t.Errorf("%q: %q names what the parser calls", c.text, refused.Reason)
		case !strings.Contains(refused.Reason, ";"):
			t.Errorf("%q: %q names no fix", c.text, refused.Reason)
		case !strings.Contains(err.Error(), c.field) || !strings.Contains(err.Error(), refused.Reason) || len(err.Error()) > 1200:
			t.Errorf("%q: message %q", c.text, err)
		}
	}
}

func TestParseErrorMessage(t *testing.T) {
	t.Parallel()
	_, err := cron.Parse("0 25 * * *", cron.Options{})
	const want = `cron text "0 25 * * *": hour: 25 is not within 0-23; use 0-23`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// In Berlin the last Sunday of March has no hour 2. A wildcard there follows real
// time and would never be due; a fixed time is due after the gap.
func TestParseRefusesWhatTheClockAlwaysLeavesOut(t *testing.T) {
	t.Parallel()
	berlin := location(t, "Europe/Berlin")
	const text = "*/15 2 * 3 sun#L"
	_, err := cron.Parse(text, cron.Options{Location: berlin})
	var refused *cron.ParseError
	if !errors.As(err, &refused) || refused.Field != "hour" || !strings.Contains(refused.Reason, "clock in Europe/Berlin") {
		t.Errorf("got %v", err)
	}
	parse(t, text, "America/New_York")
	parse(t, "*/15 2 * 3 sun#3", "Europe/Berlin")
	fixed := parse(t, "15 2 * 3 sun#L", "Europe/Berlin")
	if got := fixed.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, berlin)).Format(time.RFC3339); got != "2026-03-29T03:00:00+02:00" {
		t.Errorf("got %s", got)
	}
}

func TestParseRefusesLocalAndNamelessHash(t *testing.T) {
	t.Parallel()
	for field, c := range map[string]struct {
		text string
		opts cron.Options
	}{
		"time zone": {"0 0 * * *", cron.Options{Location: time.Local}}, //nolint:gosmopolitan // it is refused
		"minute":    {"H * * * *", cron.Options{}},
		"hour":      {"0 0~5 * * *", cron.Options{}},
	} {
		_, err := cron.Parse(c.text, c.opts)
		var refused *cron.ParseError
		if !errors.As(err, &refused) || refused.Field != field {
			t.Errorf("%q: got %v, want %s refused", c.text, err, field)
		}
	}
}

// Every text on a line means the same.
func TestParseReadsTheSame(t *testing.T) {
	t.Parallel()
	for _, texts := range [][]string{
		{"* * * * *", "0 * * * * *", "*/1 * * * *", " *\t*  * * * ", "0-59/1 * * * *"},
		{"*/15 * * * *", "0/15 * * * *", "0-59/15 * * * *", "0,15,30/15 * * * *"},
		{"0 0 1 1 *", "@yearly", "@annually", "@Yearly", "0 0 1 jan *", "00 00 01 01 *"},
		{"0 0 1 * *", "@monthly"},
		{"0 0 * * 0", "@weekly", "0 0 * * 7", "0 0 * * sun", "0 0 * * 7-7", "0 0 * * sun-sun", "0 0 * * 0,7"},
		{"0 0 * * *", "@daily", "@midnight", " @daily\t"},
		{"0 * * * *", "@hourly"},
		{"0 0 * * 5,6,0", "0 0 * * 5-7", "0 0 * * fri-sun", "0 0 * * FRI-Sun", "0 0 * * fri-7", "0 0 * * sat,fri,sun"},
		{"0 0 * * 5,0", "0 0 * * fri-sun/2"},
		{"0 0 * * 5", "0 0 * * FRI", "0 0 * * fri-fri"},
		{"0 0 * * 4", "0 0 * * THU", "0 0 * * tHu"},
		{"0 0 * * 1,3,5", "0 0 * * 1/2", "0 0 * * mon-fri/2"},
		{"0 0 * * 0,2,4,6", "0 0 * * */2", "0 0 * * 0/2"},
		{"0 0 * 3,6,9,12 *", "0 0 * mar,JUN,Sep,dec *", "0 0 * 3/3 *", "0 0 * MAR-DEC/3 *"},
		{"0 0 L * *", "0 0 l * *", "0 0 31,l * *"},
		{"0 0 15W * *", "0 0 15w * *"},
		{"0 0 * * 5#L", "0 0 * * fri#l", "0 0 * * FRI#L"},
		{"0 0 * * 0#2", "0 0 * * 7#2", "0 0 * * sun#2"},
		{"@every 90s", "@every 1m30s", "@every\t90s", "@EVERY  90s"},
		{"H h * * *", "h H * * *"},
		{"H(0-29) * * * *", "0~29 * * * *", "h(0-29) * * * *"},
		{"H(0-29)/10 * * * *", "0~29/10 * * * *"},
		{"0 0 * * H(mon-fri)", "0 0 * * 1~5"},
		{"H h H h *", "~ ~ ~ ~ *"},
		{"0 0 * * H", "0 0 * * ~"},
		{"H/15 * * * *", "~/15 * * * *"},
		{"0~30 10~23 * * *", "~30 10~ * * *"},
		{"0 0 10~31 1~6 *", "0 0 10~ ~6 *", "0 0 10~ ~JUN *"},
		{"0 0 * * 5~6", "0 0 * * Fri~"},
		{"0 0 * * 7", "0 0 * * 7~"},
	} {
		for _, text := range texts {
			one, other := parse(t, texts[0], "Europe/Berlin"), parse(t, text, "Europe/Berlin")
			at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			for range 50 {
				want, got := one.Next(at), other.Next(at)
				if !got.Equal(want) {
					t.Errorf("%q: after %s comes %s, but %s for %q", text, at, got, want, texts[0])
					break
				}
				at = want
			}
			if other.String() != strings.Trim(text, " \t") {
				t.Errorf("String() = %q, want %q", other, text)
			}
		}
	}
}

// crontab(5): either day field matches if both are restricted, that is, if
// neither begins with *.
func TestDayOfMonthAndDayOfWeek(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{ // January 2026 begins on a Thursday
		{"0 0 13 * fri", "2 9 13 16 23 30"},
		{"0 0 * * fri", "2 9 16 23 30"},
		{"0 0 13 * *", "13"},
		{"0 0 */2 * fri", "9 23"},
		{"0 0 1-31/2 * fri", "1 2 3 5 7 9 11 13 15 16 17 19 21 23 25 27 29 30 31"},
		{"0 0 13 * */5", ""},
		{"0 0 16 * */5", "16"},
		{"0 0 *,13 * fri", "2 9 16 23 30"},
		{"0 0 13,* * fri", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31"},
		{"0 0 L * fri#2", "9 31"},
		{"0 0 * * fri#L,mon#1", "5 30"},
		{"0 0 LW,1W,10W,18W * *", "1 9 19 30"},
		{"0 0 L-2,3W * *", "2 29"},
		{"0 0 * * fri#5,sun#5", "30"},
	} {
		s := parse(t, c.text, "UTC")
		var days []string
		for at := s.Next(time.Date(2025, 12, 31, 23, 59, 59, 0, time.UTC)); at.Year() == 2026 && at.Month() == time.January; at = s.Next(at) {
			days = append(days, at.Format("2"))
		}
		if got := strings.Join(days, " "); got != c.want {
			t.Errorf("%q: got %s, want %s", c.text, got, c.want)
		}
	}
}
