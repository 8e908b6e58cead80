package declared

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A wall time, below, is a time of day and calendar without a zone. It is held as a
// time.Time in UTC.

// unit is a unit of the calendar.
type unit string

const (
	unitHour  unit = "hour"
	unitDay   unit = "day"
	unitWeek  unit = "week"
	unitMonth unit = "month"
	unitYear  unit = "year"
)

// span is a stretch of the calendar, such as 3 months.
type span struct {
	count int
	unit  unit
}

const spanForm = `write a number and hours, days, weeks, months, quarters or years, such as "1 day" or "3 months"`

var spanRE = regexp.MustCompile(`^(?:(\d{1,5}) *)?(hour|day|week|month|quarter|year)s?$`)

func parseSpan(text string) (span, error) {
	match := spanRE.FindStringSubmatch(strings.TrimSpace(text))
	if match == nil {
		return span{}, fmt.Errorf("is %q: %s", text, spanForm)
	}
	s := span{count: 1, unit: unit(match[2])}
	if match[1] != "" {
		s.count, _ = strconv.Atoi(match[1]) // digits
	}
	if s.count == 0 {
		return span{}, fmt.Errorf("is %q, which is no time at all: %s", text, spanForm)
	}
	if s.unit == "quarter" {
		s.count, s.unit = 3*s.count, unitMonth
	}
	return s, nil
}

func (s span) String() string {
	if s.count == 1 {
		return "1 " + string(s.unit)
	}
	return fmt.Sprintf("%d %ss", s.count, s.unit)
}

// checkStep says whether partitions can be of that length.
func (s span) checkStep() error {
	if s.unit == unitHour && 24%s.count != 0 {
		return fmt.Errorf("is %v, which does not divide a day: use 1, 2, 3, 4, 6, 8, 12 or 24 hours", s)
	}
	return nil
}

// The days from which days and weeks are counted where a step has several. The second is
// a Monday.
//
//nolint:gochecknoglobals // nothing changes them
var (
	firstDay    = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)
	firstMonday = time.Date(2001, time.January, 1, 0, 0, 0, 0, time.UTC)
)

// floor is the last wall time, not after the given one, at which a step of s begins.
func (s span) floor(wall time.Time) time.Time {
	year, month, day := wall.Date()
	at := func(year, month, day, hour int) time.Time {
		return time.Date(year, time.Month(month), day, hour, 0, 0, 0, time.UTC)
	}
	switch s.unit {
	case unitHour:
		return at(year, int(month), day, wall.Hour()-wall.Hour()%s.count)
	case unitDay, unitWeek:
		from, days := firstDay, s.count
		if s.unit == unitWeek {
			from, days = firstMonday, 7*s.count
		}
		// Not by Sub: a time.Duration ends after 292 years.
		since := int((at(year, int(month), day, 0).Unix() - from.Unix()) / secondsOfDay)
		return at(year, int(month), day-floorMod(since, days), 0)
	case unitMonth:
		n := 12*year + int(month) - 1
		return at(0, 1+n-floorMod(n, s.count), 1, 0)
	case unitYear:
		return at(year-floorMod(year, s.count), 1, 1, 0)
	}
	return wall
}

const secondsOfDay = 24 * 60 * 60

// floorMod returns a modulo b, b > 0, never negative.
func floorMod(a, b int) int { return (a%b + b) % b }

// after is the wall time n steps after one at which a step begins.
func (s span) after(wall time.Time, n int) time.Time {
	n *= s.count
	switch s.unit {
	case unitHour:
		return wall.Add(time.Duration(n) * time.Hour)
	case unitDay:
		return wall.AddDate(0, 0, n)
	case unitWeek:
		return wall.AddDate(0, 0, 7*n)
	case unitMonth:
		return wall.AddDate(0, n, 0)
	case unitYear:
		return wall.AddDate(n, 0, 0)
	}
	return wall
}

// before is the wall time that lies s before another. A month ago of the 31st is the last
// of a month without one.
func (s span) before(wall time.Time) time.Time {
	switch s.unit {
	case unitMonth, unitYear:
		months := s.count
		if s.unit == unitYear {
			months *= 12
		}
		first := time.Date(wall.Year(), wall.Month()-time.Month(months), 1, wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), time.UTC)
		last := first.AddDate(0, 1, -1).Day()
		return first.AddDate(0, 0, min(wall.Day(), last)-1)
	default:
		return s.after(wall, -1)
	}
}

// wallOf is what a clock in that zone shows at an instant.
func wallOf(at time.Time, zone *time.Location) time.Time {
	at = at.In(zone)
	return time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), time.UTC)
}

// instantOf is the first instant at which a clock in that zone shows the wall time; where
// it leaps over that, the instant of the leap.
func instantOf(wall time.Time, zone *time.Location) time.Time {
	// The zone's offsets around it are those that may be in force.
	var found time.Time
	for _, around := range []time.Duration{-24 * time.Hour, 0, 24 * time.Hour} {
		_, offset := wall.Add(around).In(zone).Zone()
		at := wall.Add(-time.Duration(offset) * time.Second)
		if wallOf(at, zone).Equal(wall) && (found.IsZero() || at.Before(found)) {
			found = at
		}
	}
	if !found.IsZero() {
		return found.UTC()
	}
	_, offset := wall.Add(24 * time.Hour).In(zone).Zone()
	leap, _ := wall.Add(-time.Duration(offset) * time.Second).Add(24 * time.Hour).In(zone).ZoneBounds()
	return leap.UTC()
}

// nameTemplate makes the names of partitions.
type nameTemplate struct {
	text string
	// isDefault: where a partition does not begin with a step, the time of day may be
	// added.
	isDefault bool
}

// nameMax is the length of a name in Postgres, in bytes.
const nameMax = 63

// The names of partitions where no template is given, as other tools have them, too.
const (
	nameDefault     = "{table}_p{YYYYMMDD}"
	nameDefaultHour = "{table}_p{YYYYMMDD_HH24MISS}"
)

var (
	keyRE     = regexp.MustCompile(`\{[^{}]*\}`)
	tokenRE   = regexp.MustCompile(`YYYY|MM|DD|HH24|MI|SS`)
	literalRE = regexp.MustCompile(`^[0-9_-]*$`)
)

// newNameTemplate reads a template for partitions of a length.
func newNameTemplate(text string, every span) (nameTemplate, error) {
	t := nameTemplate{text: text}
	if text == "" {
		t = nameTemplate{text: nameDefault, isDefault: true}
		if every.unit == unitHour {
			t.text = nameDefaultHour
		}
	}
	var tokens []string
	for _, key := range keyRE.FindAllString(t.text, -1) {
		inner := key[1 : len(key)-1]
		if inner == "table" {
			continue
		}
		found := tokenRE.FindAllString(inner, -1)
		if len(found) == 0 || !literalRE.MatchString(tokenRE.ReplaceAllString(inner, "")) {
			return t, fmt.Errorf("is %q, and %s is not known: use {table}, and YYYY, MM, DD, HH24, MI and SS between braces, such as %s", text, key, nameDefault)
		}
		tokens = append(tokens, found...)
	}
	needed := map[unit][]string{
		unitHour: {"YYYY", "MM", "DD", "HH24"}, unitDay: {"YYYY", "MM", "DD"}, unitWeek: {"YYYY", "MM", "DD"},
		unitMonth: {"YYYY", "MM"}, unitYear: {"YYYY"},
	}[every.unit]
	for _, token := range needed {
		if !strings.Contains(strings.Join(tokens, " "), token) {
			return t, fmt.Errorf("is %q, which several partitions of %v would share: put %s between braces, such as %s", text, every, strings.Join(needed, ""), nameDefault)
		}
	}
	if strings.ContainsAny(keyRE.ReplaceAllString(t.text, ""), "{}") || strings.ContainsRune(t.text, 0) || !utf8.ValidString(t.text) {
		return t, fmt.Errorf("is %q: braces come in pairs, around {table} or the parts of a date, and there is no NUL", text)
	}
	if len(t.name("", firstDay)) > nameMax-1 {
		return t, errors.New("is too long: a name has at most 63 bytes, and the table's needs some")
	}
	return t, nil
}

// name is that of the partition of a table that begins at a wall time. The table's name is
// cut where the whole would be too long.
func (t nameTemplate) name(table string, wall time.Time) string {
	text := t.text
	if t.isDefault && t.text == nameDefault && !wall.Equal(wall.Truncate(24*time.Hour)) {
		text = nameDefaultHour
	}
	filled := keyRE.ReplaceAllStringFunc(text, func(key string) string {
		if key == "{table}" {
			return key
		}
		return strings.NewReplacer(
			"YYYY", fmt.Sprintf("%04d", wall.Year()), "MM", fmt.Sprintf("%02d", wall.Month()), "DD", fmt.Sprintf("%02d", wall.Day()),
			"HH24", fmt.Sprintf("%02d", wall.Hour()), "MI", fmt.Sprintf("%02d", wall.Minute()), "SS", fmt.Sprintf("%02d", wall.Second()),
		).Replace(key[1 : len(key)-1])
	})
	n := strings.Count(filled, "{table}")
	for n > 0 && table != "" && len(filled)+n*(len(table)-len("{table}")) > nameMax {
		_, size := utf8.DecodeLastRuneInString(table)
		table = table[:len(table)-size]
	}
	return strings.ReplaceAll(filled, "{table}", table)
}
